"""Neighbour tables: which atoms, or periodic images of atoms, are near which."""

import math
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._checks import InputError
from .._types import AnyArray

_FEW = 32  # up to so many atoms of a molecule all others are listed, and the table never changes
_FARTHEST = 1e100  # Å, extent of a molecule
_OUTSIDE = 1e8  # Å, limit of coordinates for vesin, which counts periods with 32 bits
_ROOM = 1.1  # times the most neighbours of an atom: columns of the list of a periodic system
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
    """The pairs of atoms within a cutoff in Å; see `neighbour_table`.

    Raises:
        InputError: the cell is too long, or the atoms are too far apart.
    """
    with np.errstate(over="ignore"):
        heights = _heights(positions, cell, pbc)
    if cell is None and heights.max() < _FARTHEST:
        return _pairs_of_molecule(cutoff, positions)
    farthest = np.abs(positions).max(initial=0)
    widths = [n * cutoff for n in (1, 2, 4) if _in_grid(heights, n * cutoff)]
    if cell is None or not widths or farthest >= _OUTSIDE:
        volume = " × ".join(f"{height:.3g}" for height in heights)
        raise InputError(
            f"Neighbours cannot be searched in {volume} Å, up to {farthest:.3g} Å from the origin; "
            "check the positions, the cell and the length unit."
        )
    searched = widths[0]
    from vesin import NeighborList

    first, second, images, distances = NeighborList(cutoff=searched, full_list=True).compute(
        points=np.asarray(positions, float),
        box=np.asarray(cell, float),
        periodic=pbc,
        quantities="ijSd",
    )
    first, second, images = (np.asarray(values, np.int64) for values in (first, second, images))
    if searched > cutoff:
        near = distances < cutoff
        first, second, images, distances = (x[near] for x in (first, second, images, distances))
    return Pairs(first, second, images, np.asarray(distances))


def _heights(
    positions: Float[np.ndarray, "n_atoms 3"],
    cell: Float[np.ndarray, "3 3"] | None,
    pbc: Bool[np.ndarray, "3"],
) -> Float[np.ndarray, "3"]:
    """Of the cell in Å, and of the atoms where there is no period."""
    if not len(positions):
        return np.zeros(3)
    if cell is None:
        return np.ptp(positions, axis=0)
    inverse = np.linalg.inv(cell)
    lengths = np.linalg.norm(inverse, axis=0)
    return np.where(pbc, 1 / lengths, np.ptp(positions @ (inverse / lengths), axis=0))


def _in_grid(heights: Float[np.ndarray, "3"], cutoff: float) -> bool:
    """Whether vesin can divide a volume: into 1e5 parts at most, none of no width, which would
    end the process."""
    numbers = np.maximum(1, heights / cutoff)
    with np.errstate(over="ignore"):
        return bool(2 * np.cbrt(numbers.prod() / 1e5) < max(2.0, numbers.min()))


def _pairs_of_molecule(cutoff: float, positions: Float[np.ndarray, "n_atoms 3"]) -> Pairs:
    """`pairs_within` without a cell: no grid, so atoms may be as far apart as they like."""
    from scipy.spatial import KDTree

    tree = KDTree(positions)
    found = tree.query_pairs(cutoff, output_type="ndarray")
    first, second = np.concatenate([found, found[:, ::-1]]).T.astype(np.int64)
    distances = np.linalg.norm(positions[second] - positions[first], axis=1)
    return Pairs(first, second, np.zeros((len(first), 3), np.int64), distances)


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


def widened(table: NeighbourTable, width: int) -> NeighbourTable:
    """The table padded to at least `width` columns."""
    n_atoms, n_columns = table.mask.shape
    if width <= n_columns:
        return table
    further = (n_atoms, width - n_columns)
    itself = np.broadcast_to(np.arange(n_atoms, dtype=np.int32)[:, None], further)
    neighbours = np.concatenate([table.neighbours, itself], axis=1)
    mask = np.concatenate([table.mask, np.zeros(further, bool)], axis=1)
    if table.shifts is None:
        return NeighbourTable(neighbours, mask, None)
    shifts = np.concatenate([table.shifts, np.zeros((*further, 3), np.int32)], axis=1)
    return NeighbourTable(neighbours, mask, shifts)


class VerletList(eqx.Module):
    r"""A neighbour table up to cutoff plus skin, complete while atoms and cell have moved little.

    Listed at positions $r^0$ and cell rows $h_0$, with cutoff $c$ and skin $s$: a pair that is not
    listed was apart by $d^0 = r^0_j - r^0_i + S h_0$, longer than $c + s$. At positions $r$ and
    cell rows $h$, with the deformation $F = h_0^{-1} h$ and $u = r - r^0 F$, it is apart by

    $$ d = d^0 F + u_j - u_i, \qquad
       |d| \ge \sigma_\mathrm{min}(F)\,|d^0| - 2 \max_i |u_i| $$

    for every image $S$. The smallest singular value $\sigma_\mathrm{min}$ is the root of the
    smallest eigenvalue of $G = F F^T$, which by Gershgorin's theorem is at least
    $g = \min_a (G_{aa} - \sum_{b \ne a} |G_{ab}|)$: exactly the smallest eigenvalue where cells
    change in their lengths alone. The table therefore holds every pair within the cutoff while

    $$ 2 \max_i |u_i| \le \sqrt{\max(g, 0)}\,(c + s) - c, $$

    which is $\max_i |u_i| \le s/2$ as long as the cell has not changed.

    Reference: Verlet, Phys. Rev. 159, 98 (1967), for a constant cell.

    Args:
        table: the neighbours.
        positions: where atoms were listed, in Å.
        cutoff: in Å; without meaning if there is no skin.
        skin: in Å; None if the table is complete wherever atoms move.
        cell: rows are the cell vectors in Å when atoms were listed; None without a cell.
        translations: lattice vector that was taken from each atom to bring it into the cell, in
            units of the cell vectors; None without a cell. `table.shifts` are those of atoms in
            the cell.
    """

    table: NeighbourTable
    positions: Float[AnyArray, "n_atoms 3"]
    cutoff: Float[AnyArray, ""]
    skin: Float[AnyArray, ""] | None
    cell: Float[AnyArray, "3 3"] | None = None
    translations: Float[AnyArray, "n_atoms 3"] | None = None

    @classmethod
    def of(
        cls,
        positions: Float[np.ndarray, "n_atoms 3"],
        cell: Float[np.ndarray, "3 3"] | None,
        pbc: Bool[np.ndarray, "3"],
        cutoff: float | None,
        skin: float,
        width: int = 0,
    ) -> "VerletList":
        """Neighbours within cutoff plus skin; of a small molecule all other atoms.

        Args:
            positions: in Å; they need not be in the cell.
            cell: rows are the cell vectors in Å; None without a cell.
            pbc: which cell vectors are periodic.
            cutoff: in Å; None for a potential of the whole molecule, which lists no neighbours.
            skin: in Å.
            width: the least number of columns of the table of a periodic system, for instance
                that of a list before: each width is compiled anew. A table that needs more has
                room for further neighbours.
        """
        if cutoff is None or (cell is None and _is_permanent(len(positions), cutoff)):
            table = neighbour_table(positions, cutoff)
            return cls(table, positions, np.array(np.inf), None, cell, None)
        lengths = np.array(float(cutoff)), np.array(float(skin))
        if cell is None:
            return cls(neighbour_table(positions, cutoff + skin), positions, *lengths)
        translations = np.floor(positions @ np.linalg.inv(cell)) * pbc
        table = neighbour_table(positions - translations @ cell, cutoff + skin, cell, pbc)
        if table.mask.shape[1] > width:
            most = int(table.mask.sum(1).max(initial=0))
            width = -(-int(_ROOM * most + 1) // _ROUND) * _ROUND
        return cls(widened(table, width), positions, *lengths, cell, translations)

    def in_cell(
        self, positions: Float[Array, "n_atoms 3"], cell: Float[AnyArray, "3 3"] | None
    ) -> Float[Array, "n_atoms 3"]:
        """The images of atoms that `table.shifts` belong to, near the cell; never far from it, so
        that they can be rounded to float32."""
        if cell is None or self.translations is None:
            return positions
        return positions - jnp.asarray(self.translations) @ jnp.asarray(cell)

    def is_complete(
        self, positions: Float[Array, "n_atoms 3"], cell: Float[AnyArray, "3 3"] | None = None
    ) -> Bool[Array, ""]:
        """Whether no neighbour can be missing; also true for NaN, which is an explosion."""
        if self.skin is None:
            return jnp.array(True)
        if cell is None or self.cell is None:
            return ~jnp.any(((positions - self.positions) ** 2).sum(-1) > (self.skin / 2) ** 2)
        deformation = jnp.linalg.inv(jnp.asarray(self.cell)) @ jnp.asarray(cell)
        moved = positions - jnp.asarray(self.positions) @ deformation
        largest = jnp.sqrt((moved**2).sum(-1).max())
        least = jnp.sqrt(jnp.maximum(_least_eigenvalue(deformation @ deformation.T), 0))
        return ~(2 * largest > least * (self.cutoff + self.skin) - self.cutoff)


def _least_eigenvalue(symmetric: Float[Array, "3 3"]) -> Float[Array, ""]:
    """A lower bound of the eigenvalues of a symmetric matrix with a positive diagonal."""
    return (2 * jnp.diag(symmetric) - jnp.abs(symmetric).sum(1)).min()
