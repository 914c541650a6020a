"""Neighbour tables: which atoms, or periodic images of atoms, are near which."""

import math
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._types import AnyArray

_FEW = 32  # up to so many atoms of a molecule all others are listed, and the table never changes
_ROUND = 8  # longer rows are padded to a multiple of this, so that few shapes have to be compiled


class NeighbourTable(NamedTuple):
    """Row `i` lists the neighbours of atom `i`, padded with entries that `mask` leaves out.

    Its fields are arguments of `Graph`.

    Args:
        neighbours: index of each neighbour.
        mask: which entries are neighbours. A periodic image of the atom itself is one.
        shifts: the image of each neighbour in units of the cell vectors; None without a cell.
    """

    neighbours: Int[np.ndarray, "n_atoms n_neighbours"]
    mask: Bool[np.ndarray, "n_atoms n_neighbours"]
    shifts: Int[np.ndarray, "n_atoms n_neighbours 3"] | None


def neighbour_table(
    positions: Float[np.ndarray, "n_atoms 3"],
    cutoff: float | None,
    cell: Float[np.ndarray, "3 3"] | None = None,
    pbc: Bool[np.ndarray, "3"] = np.zeros(3, bool),  # noqa: B008 (not changed)
) -> NeighbourTable:
    """The neighbours within a cutoff; of a small molecule all other atoms.

    Args:
        positions: in Å.
        cutoff: in Å; None for a potential of the whole molecule, which lists no neighbours.
        cell: rows are the cell vectors in Å; None without a cell.
        pbc: which cell vectors are periodic.
    """
    n_atoms = len(positions)
    if cutoff is None or (cell is None and _is_permanent(n_atoms, cutoff)):
        return all_pairs(n_atoms, cutoff)
    first, second, images, _ = pairs_within(cutoff, positions, cell, pbc)
    pairs = first * n_atoms + second
    order = np.argsort(pairs) if cell is None else np.lexsort((*images.T[::-1], pairs))
    first, second, images = first[order], second[order], images[order]
    counts = np.bincount(first, minlength=n_atoms)
    width = -(-max(1, counts.max()) // _ROUND) * _ROUND
    mask = np.arange(width) < counts[:, None]
    neighbours = np.repeat(np.arange(n_atoms, dtype=np.int32)[:, None], width, axis=1)
    neighbours[mask] = second
    if cell is None:
        return NeighbourTable(neighbours, mask, None)
    shifts = np.zeros((n_atoms, width, 3), np.int32)
    shifts[mask] = images
    return NeighbourTable(neighbours, mask, shifts)


class Pairs(NamedTuple):
    """Pairs of atoms, each in both orders; an atom is paired with its own periodic images.

    Args:
        first, second: indices of the atoms.
        images: of the second atom, in units of the cell vectors.
        distances: in Å.
    """

    first: Int[np.ndarray, " n_pairs"]
    second: Int[np.ndarray, " n_pairs"]
    images: Int[np.ndarray, "n_pairs 3"]
    distances: Float[np.ndarray, " n_pairs"]


def pairs_within(
    cutoff: float,
    positions: Float[np.ndarray, "n_atoms 3"],
    cell: Float[np.ndarray, "3 3"] | None = None,
    pbc: Bool[np.ndarray, "3"] = np.zeros(3, bool),  # noqa: B008 (not changed)
) -> Pairs:
    """The pairs of atoms within a cutoff in Å; see `neighbour_table`."""
    from vesin import NeighborList

    first, second, images, distances = NeighborList(cutoff=cutoff, full_list=True).compute(
        points=np.asarray(positions, float),
        box=np.zeros((3, 3)) if cell is None else np.asarray(cell, float),
        periodic=pbc if cell is not None else np.zeros(3, bool),
        quantities="ijSd",
    )
    first, second, images = (np.asarray(values, np.int64) for values in (first, second, images))
    return Pairs(first, second, images, np.asarray(distances))


def _is_permanent(n_atoms: int, cutoff: float | None) -> bool:
    """Whether the table of a molecule is the same wherever its atoms move."""
    return n_atoms <= _FEW or cutoff is None or math.isinf(cutoff)


def all_pairs(n_atoms: int, cutoff: float | None) -> NeighbourTable:
    """All other atoms as neighbours, whatever the positions; none without a cutoff."""
    if cutoff is None:
        empty = np.empty((n_atoms, 0), np.int32)
        return NeighbourTable(empty, empty.astype(bool), None)
    row, column = np.ogrid[:n_atoms, : max(1, n_atoms - 1)]
    neighbours = (column + (column >= row) * (n_atoms > 1)).astype(np.int32)
    return NeighbourTable(neighbours, np.full(neighbours.shape, n_atoms > 1), None)


class VerletList(eqx.Module):
    """A neighbour table that is complete while no atom has moved further than `slack`.

    Without a slack it is always complete. Reference: Verlet, Phys. Rev. 159, 98 (1967).
    """

    table: NeighbourTable
    positions: Float[AnyArray, "n_atoms 3"]
    slack: Float[AnyArray, ""] | None

    @classmethod
    def of(
        cls, positions: Float[np.ndarray, "n_atoms 3"], cutoff: float | None, skin: float
    ) -> "VerletList":
        """Neighbours within cutoff plus skin, both in Å; of a small molecule all other atoms."""
        if cutoff is None or _is_permanent(len(positions), cutoff):
            return cls(neighbour_table(positions, cutoff), positions, None)
        return cls(neighbour_table(positions, cutoff + skin), positions, np.array(skin / 2))

    def is_complete(self, positions: Float[Array, "n_atoms 3"]) -> Bool[Array, ""]:
        """Whether no neighbour can be missing; also true for NaN, which is an explosion."""
        if self.slack is None:
            return jnp.array(True)
        return ~jnp.any(((positions - self.positions) ** 2).sum(-1) > self.slack**2)
