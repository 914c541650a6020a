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


class Frames(eqx.Module):
    """Labelled configurations, stacked.

    Args:
        graph: of all configurations.
        labels: by the key of a property, see `PROPERTIES`; rows of padding atoms are zero.
    """

    graph: Graph
    labels: Mapping[str, Float[AnyArray, "n_frames ..."]]

    def __len__(self) -> int:
        return len(self.graph.numbers)


def stack(
    frames: Sequence[ase.Atoms], dtype: str = "float64", cutoff: float | None = None
) -> Frames:
    """Labelled configurations, as `qiff.read` gives them, as one stack.

    It has the labels that all of them have.

    Args:
        frames: configurations of any sizes.
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
        values = [np.asarray(labels(atoms)[key]) for atoms in frames if key in labels(atoms)]
        if len(values) == len(frames):
            found[key] = padded(values, one.full_shape(n_atoms)).astype("float64")
    return Frames(stacked, found)
