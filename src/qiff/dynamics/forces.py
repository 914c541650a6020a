"""Energy, forces and stress of moving atoms: where dynamics meets graphs and potentials."""

from typing import NamedTuple

import ase
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._types import Energy, Numbers
from ..atoms.graph import Graph, has_volume, rounded
from ..atoms.neighbours import VerletList
from ..model.blocks import with_blocks
from ..model.derivatives import Derivatives, derivatives
from ..model.potential import AbstractPotential
from ..model.predict import dtype
from .state import Cell, Vectors


class Listing(NamedTuple):
    """How neighbours are listed: the arguments of `VerletList.of` that change in a simulation.

    Args:
        positions: of atoms, in Å.
        cell: rows are the cell vectors in Å; None if nothing is periodic.
        skin: distance in Å beyond the cutoff up to which neighbours are listed.
        width: least number of columns of the table.
    """

    positions: Float[np.ndarray, "n_atoms 3"]
    cell: Float[np.ndarray, "3 3"] | None
    skin: float
    width: int = 0


class ForceEvaluator(eqx.Module):
    """Energy, forces and stress of given atoms as a function of their positions and cell.

    The potential computes in the precision of its weights, everything else is float64.

    Args:
        potential: any potential.
        reference_energy: of these atoms, in eV.
        numbers: atomic numbers.
        neighbours: a list that is used as long as it is complete, see `complete`.
        pbc: which cell vectors are periodic.
        in_volume: whether there is a stress, see `has_volume`.
    """

    potential: AbstractPotential
    reference_energy: Energy
    numbers: Numbers
    neighbours: VerletList
    pbc: tuple[bool, bool, bool] = eqx.field(static=True)
    in_volume: bool = eqx.field(static=True)

    def __call__(self, positions: Vectors, cell: Cell | None) -> Derivatives:
        """Energy in eV, with the reference energy, forces in eV/Å and stress in eV/Å³.

        Args:
            positions: in Å.
            cell: rows are the cell vectors in Å; None if nothing is periodic.
        """
        name, table = dtype(self.potential), self.neighbours.table
        positions = jnp.asarray(positions)
        at = rounded(self.neighbours.in_cell(positions, cell), name)
        box = None if cell is None else jnp.asarray(cell, name)
        graph = Graph(positions=at, numbers=self.numbers, cell=box, **table._asdict())
        found = derivatives(self.potential, with_blocks(graph))
        stress = found.stress if self.in_volume else None
        return Derivatives(
            self.reference_energy + found.energy.astype(positions.dtype),
            found.forces.astype(positions.dtype),
            None if stress is None else stress.astype(positions.dtype),
        )

    def complete(self, positions: Vectors, cell: Cell | None) -> Bool[Array, ""]:
        """Whether the list still holds every neighbour; true for NaN, which is an explosion."""
        return self.neighbours.is_complete(jnp.asarray(positions), cell)

    @property
    def width(self) -> int:
        """Columns of the table of neighbours."""
        return self.neighbours.table.mask.shape[1]

    def with_neighbours(self, listing: Listing) -> "ForceEvaluator":
        """The same with other neighbours."""
        neighbours = _listed(listing, np.array(self.pbc), self.potential.cutoff)
        return eqx.tree_at(lambda evaluator: evaluator.neighbours, self, neighbours)


def force_evaluator(
    potential: AbstractPotential, atoms: ase.Atoms, listing: Listing
) -> ForceEvaluator:
    """A `ForceEvaluator` for these atoms.

    Args:
        potential: any potential.
        atoms: elements and which cell vectors are periodic are taken from them.
        listing: how neighbours are listed.
    """
    return ForceEvaluator(
        potential,
        jnp.asarray(potential.reference_energy(atoms.numbers)),
        jnp.asarray(atoms.numbers.astype("int32")),
        _listed(listing, atoms.pbc, potential.cutoff),
        tuple(atoms.pbc.tolist()),
        bool(has_volume(atoms)),
    )


def _listed(listing: Listing, pbc: Bool[np.ndarray, "3"], cutoff: float | None) -> VerletList:
    positions, cell, skin, width = listing
    return VerletList.of(positions, cell, pbc, cutoff, skin, width)
