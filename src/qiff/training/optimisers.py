"""Optimisers and schedules of the learning rate, each a registry."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from jaxtyping import Array, Float
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


def muon(rate: optax.Schedule) -> optax.GradientTransformation:
    """Muon makes the updates of matrices orthogonal, so that weak directions learn as fast as
    strong ones; all other weights are updated by Adam.

    It is that of optax, which iterates once for every array, with one iteration for all.

    Args:
        rate: the learning rate at a step.

    Reference: Jordan et al., https://kellerjordan.github.io/posts/muon/ (2024).
    """
    momentum = optax.contrib.muon(rate, ns_steps=0, muon_weight_dimension_numbers=_matrices)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        updates, state = momentum.update(updates, state, params)
        return _orthogonal(updates), state

    return optax.GradientTransformation(momentum.init, update)


def _orthogonal(updates: Any) -> Any:
    """The matrices of a tree with orthogonal rows or columns, and with the norm of a row before."""
    leaves, structure = jax.tree.flatten(updates)
    together = defaultdict(list)
    for index, leaf in enumerate(leaves):
        if leaf.ndim in (2, 3):
            n_rows = min(leaf.shape[-2:])
            together[-(-n_rows // _ROWS) * _ROWS].append(index)
    for n_rows, indices in together.items():
        found = _wide([leaves[index] for index in indices], n_rows)
        stacked = _iterated(jnp.concatenate(found))
        parts = jnp.split(stacked, np.cumsum([len(part) for part in found])[:-1])
        for index, part in zip(indices, parts, strict=True):
            leaves[index] = _restored(part, leaves[index].shape)
    return jax.tree.unflatten(structure, leaves)


def _wide(arrays: list[Array], n_rows: int) -> list[Float[Array, "n n_rows n_columns"]]:
    """Matrices with no more rows than columns, padded with zeros to a common shape."""
    n_columns = max(max(array.shape[-2:]) for array in arrays)
    return [
        jnp.pad(wide, ((0, 0), (0, n_rows - wide.shape[1]), (0, n_columns - wide.shape[2])))
        for wide in map(_with_more_columns, arrays)
    ]


def _with_more_columns(array: Array) -> Float[Array, "n n_rows n_columns"]:
    matrices = array.reshape(-1, *array.shape[-2:])
    return matrices.mT if array.shape[-2] > array.shape[-1] else matrices


def _restored(wide: Array, shape: tuple[int, ...]) -> Array:
    """An array of this shape from its matrices in `_wide`."""
    small, large = sorted(shape[-2:])
    matrices = wide[:, :small, :large]
    return (matrices.mT if shape[-2] > shape[-1] else matrices).reshape(shape)


def _iterated(matrices: Float[Array, "n n_rows n_columns"]) -> Float[Array, "n n_rows n_columns"]:
    r"""Five iterations $X \to aX + bAX + cA^2X$ with $A = XX^T$ of matrices divided by their norm.

    All are polynomials of the first $A$, so the products are of matrices of its size.
    """
    gram = jnp.einsum("nij,nkj->nik", matrices, matrices)
    gram /= jnp.trace(gram, axis1=1, axis2=2)[:, None, None] + _TINY  # the square of the norm
    one = jnp.eye(gram.shape[-1], dtype=gram.dtype)
    a, b, c = _COEFFICIENTS
    total = one
    for _ in range(5):
        factor = a * one + b * gram + c * gram @ gram
        total, gram = factor @ total, factor @ gram @ factor
    return total @ matrices


_ROWS = 16
_TINY = 1e-30
_COEFFICIENTS = 3.4445, -4.7750, 2.0315

OPTIMISERS: dict[str, Callable[[optax.Schedule], optax.GradientTransformation]] = {
    "adam": optax.adam,
    "muon": muon,
}
"""From the learning rate at a step to the update of the weights."""
