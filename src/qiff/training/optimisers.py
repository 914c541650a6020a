"""Optimisers and schedules of the learning rate, each a registry."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import optax
import optax.contrib
from optax.contrib import MuonDimensionNumbers

SCHEDULES: dict[str, Callable[[float, int], optax.Schedule]] = {
    "cosine": optax.cosine_decay_schedule,
    "constant": lambda rate, steps: optax.constant_schedule(rate),
}
"""From the initial learning rate and the number of steps to the learning rate at a step."""


def _matrices(weights: Any) -> Any:
    """The axes of each array that form a matrix: the last two of two or three."""
    axes = {2: MuonDimensionNumbers(0, 1), 3: MuonDimensionNumbers(1, 2)}
    return jax.tree.map(lambda weight: axes.get(weight.ndim), weights)


OPTIMISERS: dict[str, Callable[[optax.Schedule], optax.GradientTransformation]] = {
    "adam": optax.adam,
    "muon": partial(optax.contrib.muon, muon_weight_dimension_numbers=_matrices),
}
"""Muon makes the updates of matrices orthogonal, so that weak directions learn as fast as strong
ones (Jordan et al. 2024); all other weights are updated by Adam."""
