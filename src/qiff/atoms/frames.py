"""Stacks of labelled configurations: what training and validation compute with."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import ase
import equinox as eqx
import numpy as np
from jaxtyping import Float

from .._checks import InputError
from .._types import AnyArray
from .graph import Graph, Size, graph, padded
from .properties import PROPERTIES, Property, labels

WEIGHTS = ("weight", "config_weight")
"""Keys in `info` of a configuration: its weight in the loss."""


class Frames(eqx.Module):
    """Labelled configurations, stacked.

    Args:
        graph: of all configurations.
        labels: by the key of a property, see `PROPERTIES`; rows of padding atoms are zero, and
            the labels of a configuration that has none are NaN.
        weights: of each configuration in the loss, by the key of a property; those of a property
            are absent if all are 1.
    """

    graph: Graph
    labels: Mapping[str, Float[AnyArray, "n_frames ..."]]
    weights: Mapping[str, Float[AnyArray, " n_frames"]] = eqx.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.graph.numbers)


class Layout(NamedTuple):
    """What a stack of labelled configurations has room for.

    Args:
        size: of the graph.
        labelled: keys of properties.
        weighted: keys of properties with weights.
    """

    size: Size = Size()
    labelled: frozenset[str] = frozenset()
    weighted: frozenset[str] = frozenset()


def stack(
    frames: Sequence[ase.Atoms],
    dtype: str = "float64",
    cutoff: float | None = None,
    at_least: Layout = Layout(),  # noqa: B008 (not changed)
) -> Frames:
    """Labelled configurations, as `qiff.read` gives them, as one stack.

    Args:
        frames: configurations of any sizes. For their weights in the loss see `weight`.
        dtype: of positions and cells; labels are in float64.
        cutoff: of the potential, see `AbstractPotential.cutoff`.
        at_least: what there has to be room for, whether these configurations need it or not.

    Returns:
        The graph of all frames and their labels, in the order of `frames`.

    Raises:
        InputError: a weight is negative or no number.
    """
    stacked = graph(frames, dtype, cutoff, at_least.size)
    n_atoms = stacked.numbers.shape[1]
    found = {}
    for key, one in PROPERTIES.items():
        if key in at_least.labelled or any(key in labels(atoms) for atoms in frames):
            absent = lambda atoms, one=one: np.full(one.full_shape(len(atoms)), np.nan)
            values = [np.asarray(labels(a).get(key, absent(a)), float) for a in frames]
            found[key] = padded(values, one.full_shape(n_atoms))
    weights = {
        key: np.array([weight(atoms, one, f"frame {index}") for index, atoms in enumerate(frames)])
        for key, one in PROPERTIES.items()
        if key in found
    }
    kept = {k: w for k, w in weights.items() if k in at_least.weighted or np.any(w != 1)}
    return Frames(stacked, found, kept)


def cut(frames: Frames, size: Size) -> Frames:
    """A stack without the padding beyond a size, which has room for all its configurations.

    Args:
        frames: with any number of leading axes.
        size: of the graph.
    """
    graph, (n_atoms, n_neighbours, _) = frames.graph, size
    shifts = None if graph.shifts is None else graph.shifts[..., :n_atoms, :n_neighbours, :]
    shorter = replace(
        graph,
        positions=graph.positions[..., :n_atoms, :],
        numbers=graph.numbers[..., :n_atoms],
        neighbours=graph.neighbours[..., :n_atoms, :n_neighbours],
        mask=graph.mask[..., :n_atoms, :n_neighbours],
        shifts=shifts,
    )
    labels = {
        key: values[..., :n_atoms, :] if PROPERTIES[key].per_atom else values
        for key, values in frames.labels.items()
    }
    return replace(frames, graph=shorter, labels=labels)


def weight(atoms: ase.Atoms, one: Property, place: str) -> float:
    """The weight of a property of a configuration in the loss.

    The product of what `info` has under `WEIGHTS` and under the `weight_names` of the property.

    Raises:
        InputError: a weight is negative or no number; `place` is named.
    """
    product = 1.0
    for name in (*WEIGHTS, *one.weight_names):
        value = atoms.info.get(name, 1.0)
        try:
            factor = float(value)
        except (TypeError, ValueError):
            factor = np.nan
        if not (np.isfinite(factor) and factor >= 0):
            raise InputError(f"{place}: `{name}` must be a number of at least 0, but is {value!r}.")
        product *= factor
    return product
