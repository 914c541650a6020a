"""Stacks of labelled configurations: what training and validation compute with."""

from collections.abc import Mapping, Sequence

import ase
import equinox as eqx
import numpy as np
from jaxtyping import Float

from .._checks import InputError
from .._types import AnyArray
from .graph import Graph, graph, padded
from .properties import PROPERTIES, labels

WEIGHT = "weight"
"""Key in `info` of a configuration: its weight in the loss."""


class Frames(eqx.Module):
    """Labelled configurations, stacked.

    Args:
        graph: of all configurations.
        labels: by the key of a property, see `PROPERTIES`; rows of padding atoms are zero, and
            the labels of a configuration that has none are NaN.
        weights: of each configuration in the loss; None if all are 1.
    """

    graph: Graph
    labels: Mapping[str, Float[AnyArray, "n_frames ..."]]
    weights: Float[AnyArray, " n_frames"] | None = None

    def __len__(self) -> int:
        return len(self.graph.numbers)


def stack(
    frames: Sequence[ase.Atoms], dtype: str = "float64", cutoff: float | None = None
) -> Frames:
    """Labelled configurations, as `qiff.read` gives them, as one stack.

    Args:
        frames: configurations of any sizes. Their weights in the loss are `weight` in `info`.
        dtype: of positions and cells; labels are in float64.
        cutoff: of the potential, see `AbstractPotential.cutoff`.

    Raises:
        InputError: a configuration has no energy.
    """
    for index, atoms in enumerate(frames):
        if "energy" not in labels(atoms):
            raise InputError(f"`frames` must all have an energy, but frame {index} has none.")
    stacked = graph(frames, dtype, cutoff)
    n_atoms = stacked.numbers.shape[1]
    found = {}
    for key, one in PROPERTIES.items():
        if any(key in labels(atoms) for atoms in frames):
            absent = lambda atoms, one=one: np.full(one.full_shape(len(atoms)), np.nan)
            values = [np.asarray(labels(a).get(key, absent(a)), float) for a in frames]
            found[key] = padded(values, one.full_shape(n_atoms))
    weights = np.array([weight(atoms) for atoms in frames])
    return Frames(stacked, found, weights if np.any(weights != 1) else None)


def weight(atoms: ase.Atoms) -> float:
    """The weight of a configuration in the loss: `weight` in its `info`, or 1."""
    return float(atoms.info.get(WEIGHT, 1.0))
