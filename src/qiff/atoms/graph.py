"""Graphs: what a potential sees of a configuration, or of a stack of configurations."""

from collections.abc import Sequence
from typing import NamedTuple

import ase
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from ase.cell import Cell
from jaxtyping import Array, Bool, Float, Int

from .._checks import InputError
from .._types import AnyArray
from .neighbours import neighbour_table, pairs_within

TOO_CLOSE = 0.2  # Å; no two atoms of a molecule come this near
_SEARCHED = 1.0  # Å; for a shorter distance the library divides space into too many boxes
_LOWEST = 0.5  # Å; below it there are too many images of an atom within a cutoff


class Graph(eqx.Module):
    """One configuration, or a stack of them with a leading axis; all arguments by keyword.

    Configurations of different sizes are stacked by padding: with atoms of number 0, which have
    no energy, no force and no neighbours, and with entries of the neighbour table
    that `mask` leaves out.

    Args:
        positions: in Å.
        numbers: atomic numbers; 0 for padding.
        neighbours: row `i` lists the indices of the neighbours of atom `i`. It may list more than
            those within the cutoff of a potential, and has no columns for a potential of the
            whole molecule.
        mask: which entries of `neighbours` are neighbours. An atom can be its own neighbour, as a
            periodic image.
        shifts: the image of each neighbour in units of the cell vectors; None without a cell.
        cell: rows are the cell vectors in Å; None without a cell.
        block: how many atoms a potential may compute at a time; None for all at once.
    """

    positions: Float[AnyArray, "*frames n_atoms 3"]
    numbers: Int[AnyArray, "*frames n_atoms"]
    neighbours: Int[AnyArray, "*frames n_atoms n_neighbours"]
    mask: Bool[AnyArray, "*frames n_atoms n_neighbours"]
    shifts: Int[AnyArray, "*frames n_atoms n_neighbours 3"] | None = None
    cell: Float[AnyArray, "*frames 3 3"] | None = None
    block: int | None = eqx.field(static=True, default=None)

    def __init__(self, *, positions, numbers, neighbours, mask, shifts=None, cell=None, block=None):
        self.positions, self.numbers = positions, numbers
        self.neighbours, self.mask = neighbours, mask
        self.shifts, self.cell, self.block = shifts, cell, block

    def at(self, positions: Float[AnyArray, "*frames n_atoms 3"]) -> "Graph":
        """The same atoms with the same neighbours at other positions."""
        return eqx.tree_at(lambda graph: graph.positions, self, positions)


def displacements(graph: Graph) -> Float[Array, "n_atoms n_neighbours 3"]:
    r"""$d_{ij} = r_j - r_i + S_{ij} h$ in Å, with image shifts $S$ and cell rows $h$.

    Entries that the mask of the graph leaves out are without meaning.
    """
    positions = jnp.asarray(graph.positions)
    apart = positions[jnp.asarray(graph.neighbours)] - positions[:, None]
    if graph.cell is None or graph.shifts is None:
        return apart
    cell = jnp.asarray(graph.cell)
    return apart + jnp.asarray(graph.shifts, cell.dtype) @ cell


def strained(graph: Graph, strain: Float[Array, "*frames 3 3"]) -> Graph:
    r"""The graph under a homogeneous strain: $r \to r(1+\epsilon)$ and $h \to h(1+\epsilon)$.

    Only the symmetric part of $\epsilon$ counts; its antisymmetric part would be a rotation.
    """
    symmetric = (strain + jnp.swapaxes(strain, -1, -2)) / 2
    deformation = jnp.eye(3, dtype=strain.dtype) + symmetric
    positions = jnp.asarray(graph.positions) @ deformation
    if graph.cell is None:
        return graph.at(positions)
    cell = jnp.asarray(graph.cell) @ deformation
    return eqx.tree_at(lambda g: (g.positions, g.cell), graph, (positions, cell))


def side_by_side(graph: Graph) -> Graph:
    """A stack as one configuration, whose parts do not see each other.

    The images of neighbours are in Å then, in a cell of unit vectors.
    """
    positions, neighbours = jnp.asarray(graph.positions), jnp.asarray(graph.neighbours)
    n_frames, n_atoms = graph.numbers.shape
    first = n_atoms * np.arange(n_frames, dtype=neighbours.dtype)
    shifts = cell = None
    if graph.cell is not None and graph.shifts is not None:
        shifts = jnp.asarray(graph.shifts, positions.dtype) @ jnp.asarray(graph.cell)[:, None]
        cell = jnp.eye(3, dtype=positions.dtype)
    joined = lambda values: values.reshape(n_frames * n_atoms, *values.shape[2:])
    return Graph(
        positions=joined(positions),
        numbers=joined(jnp.asarray(graph.numbers)),
        neighbours=joined(neighbours + first[:, None, None]),
        mask=joined(jnp.asarray(graph.mask)),
        shifts=None if shifts is None else joined(shifts),
        cell=cell,
        block=graph.block,
    )


class Size(NamedTuple):
    """What a stack of configurations has room for.

    Args:
        n_atoms: atoms of a configuration.
        n_neighbours: neighbours of an atom.
        periodic: cells and images.
    """

    n_atoms: int = 0
    n_neighbours: int = 0
    periodic: bool = False


def sizes(
    stacked: Graph,
) -> tuple[Int[np.ndarray, " n_frames"], Int[np.ndarray, " n_frames"]]:
    """Atoms of each configuration of a stack, and columns of its neighbour table that are used."""
    mask = np.asarray(stacked.mask)
    columns = np.arange(1, mask.shape[-1] + 1)
    n_used = (mask.any(-2) * columns).max(-1, initial=0)
    return (np.asarray(stacked.numbers) > 0).sum(-1), n_used


def graph(
    frames: ase.Atoms | Sequence[ase.Atoms],
    dtype: str = "float64",
    cutoff: float | None = None,
    at_least: Size = Size(),  # noqa: B008 (not changed)
) -> Graph:
    """The graph of one configuration, or the stack of those of several.

    Args:
        frames: one configuration, or several.
        dtype: of positions and cell.
        cutoff: distance in Å up to which neighbours are listed, see `AbstractPotential.cutoff`.
        at_least: what there has to be room for, whether these configurations need it or not.
    """
    if isinstance(frames, ase.Atoms):
        return jax.tree.map(lambda values: values[0], graph([frames], dtype, cutoff, at_least))
    periodic = cutoff is not None and any(atoms.pbc.any() for atoms in frames)
    periodic |= at_least.periodic
    cells = [complete_cell(atoms.cell.array) if periodic else None for atoms in frames]
    tables = [
        neighbour_table(atoms.positions, cutoff, cell, atoms.pbc)
        for atoms, cell in zip(frames, cells, strict=True)
    ]
    n_atoms = max([at_least.n_atoms, *map(len, frames)])
    n_columns = max([at_least.n_neighbours, *(table.mask.shape[1] for table in tables)])
    itself = np.tile(np.arange(n_atoms, dtype=np.int32)[:, None], (len(frames), 1, n_columns))
    shifts = [table.shifts for table in tables if table.shifts is not None]
    return Graph(
        positions=padded([np.asarray(rounded(a.positions, dtype)) for a in frames], (n_atoms, 3)),
        numbers=padded([atoms.numbers for atoms in frames], (n_atoms,)).astype("int32"),
        neighbours=padded([table.neighbours for table in tables], itself.shape[1:], itself),
        mask=padded([table.mask for table in tables], (n_atoms, n_columns)),
        shifts=padded(shifts, (n_atoms, n_columns, 3)) if periodic else None,
        cell=np.array(cells, dtype) if periodic else None,
    )


def rounded(positions: Float[AnyArray, "n_atoms 3"], dtype: str) -> Float[AnyArray, "n_atoms 3"]:
    """Positions in a precision; in float32 relative to the first atom, so that the distances of a
    molecule far from the origin keep their digits."""
    return positions if dtype == "float64" else (positions - positions[:1]).astype(dtype)


def has_volume(atoms: ase.Atoms) -> bool:
    """Whether a configuration is periodic in a cell with a volume, and so has a stress."""
    return bool(atoms.pbc.any() and atoms.cell.rank == 3 and atoms.cell.volume > 0)


def check_cell(atoms: ase.Atoms, place: str) -> None:
    """Raise unless a cell is finite and its periodic vectors are linearly independent.

    Raises:
        InputError: naming `place` and what is wrong.
    """
    if not np.all(np.isfinite(atoms.cell.array)):
        raise InputError(f"{place}: the cell must be finite, but has NaN or infinity.")
    periodic = atoms.cell.array[atoms.pbc]
    if np.linalg.matrix_rank(periodic) < len(periodic):
        raise InputError(
            f"{place}: is periodic (pbc = {atoms.pbc.tolist()}), but its cell vectors "
            f"{periodic.tolist()} are zero or linearly dependent; give a cell or set pbc to false."
        )
    if not len(periodic):
        return
    with np.errstate(all="ignore"):
        inverse = np.linalg.inv(complete_cell(atoms.cell.array))
        heights = 1 / np.linalg.norm(inverse, axis=0)[atoms.pbc]
    if not heights.min() >= _LOWEST:
        raise InputError(
            f"{place}: the cell must be at least {_LOWEST:g} Å high along periodic vectors, but is "
            f"{heights.min():.3g}; check the length unit."
        )


def check_apart(atoms: ase.Atoms, place: str) -> None:
    """Raise unless all atoms are at least `TOO_CLOSE` apart.

    Raises:
        InputError: naming `place` and two atoms.
    """
    try:
        near = pairs_within(_SEARCHED, atoms.positions, cell_of(atoms), atoms.pbc)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None
    if near.distances.min(initial=np.inf) < TOO_CLOSE:
        nearest = near.distances.argmin()
        i, j = sorted((near.first[nearest], near.second[nearest]))
        raise InputError(
            f"{place}: atoms {i} and {j} are {near.distances[nearest]:.3g} Å apart; "
            "check the positions and the length unit."
        )


def cell_of(atoms: ase.Atoms) -> Float[np.ndarray, "3 3"] | None:
    """Cell vectors in Å as rows, those that are zero completed; None if nothing is periodic."""
    return complete_cell(atoms.cell.array) if atoms.pbc.any() else None


def complete_cell(cell: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """Cell vectors as rows, those that are zero replaced by unit vectors at right angles."""
    return Cell(cell).complete().array


def padded(
    rows: Sequence[np.ndarray], shape: tuple[int, ...], padding: np.ndarray | None = None
) -> np.ndarray:
    """Arrays of different sizes as one stack, the rest being `padding`, or zero."""
    if padding is None:
        padding = np.zeros((len(rows), *shape), rows[0].dtype if rows else float)
    stacked = padding.copy()
    for index, row in enumerate(rows):
        stacked[index, *map(slice, row.shape)] = row
    return stacked
