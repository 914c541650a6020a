"""Graphs: what a potential sees of a configuration, and labelled stacks of them for training.

Configurations of different sizes are stacked by filling up with atoms of number 0, which have
no energy, feel no force and are nobody's neighbour.
"""

from collections.abc import Sequence

import ase
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._checks import InputError
from .data.dataset import labels

_FEW = 32  # up to so many atoms all others are listed, and the table never changes
_ROUND = 8  # longer rows are filled up to a multiple, so that few shapes have to be compiled


class Graph(eqx.Module):
    """One configuration: positions in Å, atomic numbers, neighbours; or a stack of them.

    Row `i` of `neighbours` holds the indices of the atoms around atom `i`, filled up with `i`
    itself. It may list more than the neighbours within the cutoff of a potential, and has no
    columns for one that looks at whole molecules. Arrays are numpy on the way in and JAX arrays
    inside transformations.
    """

    positions: Float[np.ndarray, "*frames n_atoms 3"]
    numbers: Int[np.ndarray, "*frames n_atoms"]
    neighbours: Int[np.ndarray, "*frames n_atoms n_neighbours"]


class Frames(eqx.Module):
    """Labelled configurations, stacked: energies in eV, forces in eV/Å or absent."""

    graph: Graph
    energy: Float[np.ndarray, " n_frames"]
    forces: Float[np.ndarray, "n_frames n_atoms 3"] | None

    def __len__(self) -> int:
        return len(self.energy)


def graph(
    frames: ase.Atoms | Sequence[ase.Atoms], dtype: str = "float64", cutoff: float = 0.0
) -> Graph:
    """The graph of one configuration, or the stack of those of several.

    Args:
        frames: one configuration, or several.
        dtype: of the positions.
        cutoff: distance in Å up to which neighbours are listed, see `AbstractPotential.cutoff`.
    """
    if isinstance(frames, ase.Atoms):
        table = neighbours(frames.positions, cutoff)
        return Graph(frames.positions.astype(dtype), frames.numbers.astype("int32"), table)
    n_atoms = max((len(atoms) for atoms in frames), default=0)
    tables = [neighbours(atoms.positions, cutoff) for atoms in frames]
    n_columns = max((table.shape[1] for table in tables), default=0)
    filled = np.tile(np.arange(n_atoms, dtype=np.int32)[:, None], (len(frames), 1, n_columns))
    for row, table in zip(filled, tables, strict=True):
        row[: table.shape[0], : table.shape[1]] = table
    return Graph(
        _fill([atoms.positions for atoms in frames], n_atoms).astype(dtype),
        _fill([atoms.numbers for atoms in frames], n_atoms).astype("int32"),
        filled,
    )


def neighbours(
    positions: Float[np.ndarray, "n_atoms 3"], cutoff: float
) -> Int[np.ndarray, "n_atoms n_neighbours"]:
    """The table of `Graph`: of few atoms all others, of many those within `cutoff`."""
    n_atoms = len(positions)
    if _lasting(n_atoms, cutoff):
        return others(n_atoms, cutoff)
    from scipy.spatial import KDTree

    near = KDTree(positions).query_pairs(cutoff, output_type="ndarray")
    pairs = np.concatenate([near, near[:, ::-1]])
    pairs = pairs[np.lexsort(pairs.T[::-1])]
    counts = np.bincount(pairs[:, 0], minlength=n_atoms)
    width = -(-max(1, counts.max()) // _ROUND) * _ROUND
    table = np.repeat(np.arange(n_atoms, dtype=np.int32)[:, None], width, axis=1)
    table[np.arange(width) < counts[:, None]] = pairs[:, 1]
    return table


def _lasting(n_atoms: int, cutoff: float) -> bool:
    """Whether the table of `neighbours` is the same wherever atoms go."""
    return n_atoms <= _FEW or not cutoff


def others(n_atoms: int, cutoff: float) -> Int[np.ndarray, "n_atoms n_neighbours"]:
    """The table of neighbours that holds wherever atoms go: all others, or none without a cutoff.

    An atom alone lists itself.
    """
    if not cutoff:
        return np.empty((n_atoms, 0), np.int32)
    row, column = np.ogrid[:n_atoms, : max(1, n_atoms - 1)]
    return (column + (column >= row) * (n_atoms > 1)).astype(np.int32)


class VerletList(eqx.Module):
    """A table of neighbours that holds while no atom is further than `slack` from `positions`.

    Without a slack it holds everywhere. Reference: Verlet, Phys. Rev. 159, 98 (1967).
    """

    table: Int[np.ndarray, "n_atoms n_neighbours"]
    positions: Float[np.ndarray, "n_atoms 3"]
    slack: Float[np.ndarray, ""] | None

    @classmethod
    def of(cls, positions: np.ndarray, cutoff: float, skin: float) -> "VerletList":
        """Neighbours within `cutoff` and `skin`, both in Å; all others if atoms are few."""
        if _lasting(len(positions), cutoff):
            return cls(neighbours(positions, cutoff), positions, None)
        return cls(neighbours(positions, cutoff + skin), positions, np.array(skin / 2))

    def holds(self, positions: Float[Array, "n_atoms 3"]) -> Bool[Array, ""]:
        """Whether it does; also for NaN, which is an explosion."""
        if self.slack is None:
            return jnp.array(True)
        return ~jnp.any(((positions - self.positions) ** 2).sum(-1) > self.slack**2)


def stack(frames: Sequence[ase.Atoms], dtype: str = "float64", cutoff: float = 0.0) -> Frames:
    """Labelled frames, as `dataset.read` gives them, as one stack.

    Args:
        frames: configurations of any sizes.
        dtype: of positions and forces.
        cutoff: of the potential, see `graph`.

    Raises:
        InputError: a configuration has no energy.
    """
    for index, atoms in enumerate(frames):
        if "energy" not in labels(atoms):
            raise InputError(f"`frames` must all have an energy, but frame {index} has none.")
    stacked = graph(frames, dtype, cutoff)
    forces = [labels(atoms)["forces"] for atoms in frames if "forces" in labels(atoms)]
    complete = len(forces) == len(frames)
    return Frames(
        graph=stacked,
        energy=np.array([labels(atoms)["energy"] for atoms in frames]),
        forces=_fill(forces, stacked.numbers.shape[1]).astype(dtype) if complete else None,
    )


def _fill(rows: Sequence[np.ndarray], n_atoms: int) -> np.ndarray:
    """Arrays over atoms as one, filled up with zeros."""
    filled = np.zeros((len(rows), n_atoms, *rows[0].shape[1:]), rows[0].dtype)
    for place, row in zip(filled, rows, strict=True):
        place[: len(row)] = row
    return filled
