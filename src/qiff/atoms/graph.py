"""Graphs: what a potential sees of a configuration, and labelled stacks of them for training."""

from collections.abc import Sequence

import ase
import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from .._checks import InputError
from .dataset import labels


class Graph(eqx.Module):
    """One configuration: positions in Å and atomic numbers; or a stack of them.

    Arrays are numpy on the way in and JAX arrays inside transformations.
    """

    positions: Float[np.ndarray, "*frames n_atoms 3"]
    numbers: Int[np.ndarray, "*frames n_atoms"]


class Frames(eqx.Module):
    """Labelled configurations of equal size, stacked: energies in eV, forces in eV/Å or absent."""

    graph: Graph
    energy: Float[np.ndarray, " n_frames"]
    forces: Float[np.ndarray, "n_frames n_atoms 3"] | None

    def __len__(self) -> int:
        return len(self.energy)


def graph(frames: ase.Atoms | Sequence[ase.Atoms], dtype: str = "float64") -> Graph:
    """The graph of one configuration, or the stack of those of several.

    Raises:
        InputError: the configurations have different numbers of atoms.
    """
    if isinstance(frames, ase.Atoms):
        return Graph(frames.positions.astype(dtype), frames.numbers.astype("int32"))
    sizes = {len(atoms) for atoms in frames}
    if len(sizes) != 1:
        raise InputError(f"`frames` must have equal numbers of atoms, but have {sorted(sizes)}.")
    return Graph(
        np.stack([atoms.positions for atoms in frames]).astype(dtype),
        np.stack([atoms.numbers for atoms in frames]).astype("int32"),
    )


def stack(frames: Sequence[ase.Atoms], dtype: str = "float64") -> Frames:
    """Labelled frames, as `dataset.read` gives them, as one stack.

    Raises:
        InputError: the configurations have different numbers of atoms, or one has no energy.
    """
    stacked = graph(frames, dtype)
    for index, atoms in enumerate(frames):
        if "energy" not in labels(atoms):
            raise InputError(f"`frames` must all have an energy, but frame {index} has none.")
    forces = [labels(atoms)["forces"] for atoms in frames if "forces" in labels(atoms)]
    return Frames(
        graph=stacked,
        energy=np.array([labels(atoms)["energy"] for atoms in frames]),
        forces=np.stack(forces).astype(dtype) if len(forces) == len(frames) else None,
    )
