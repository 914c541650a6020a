"""Energy and forces of moving atoms: the one place where dynamics meets graphs and potentials."""

import ase
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._types import Energy, Forces, Numbers
from ..atoms.graph import Graph
from ..atoms.neighbours import VerletList
from ..model.derivatives import energy_and_forces
from ..model.potential import AbstractPotential
from ..model.predict import dtype
from .state import Vectors


class ForceEvaluator(eqx.Module):
    """Energy and forces of given atoms as a function of their positions.

    The potential computes in the precision of its weights, everything else is float64.

    Args:
        potential: any potential.
        reference_energy: of these atoms, in eV.
        numbers: atomic numbers.
        neighbours: a list that is used as long as it is complete, see `complete`.
    """

    potential: AbstractPotential
    reference_energy: Energy
    numbers: Numbers
    neighbours: VerletList

    def __call__(self, positions: Vectors) -> tuple[Energy, Forces]:
        """Energy in eV, with the reference energy, and forces in eV/Å."""
        rounded, table = positions.astype(dtype(self.potential)), self.neighbours.table
        graph = Graph(positions=rounded, numbers=self.numbers, **table._asdict())
        energy, forces = energy_and_forces(self.potential, graph)
        return (
            self.reference_energy + energy.astype(positions.dtype),
            forces.astype(positions.dtype),
        )

    def complete(self, positions: Vectors) -> Bool[Array, ""]:
        """Whether the list still holds every neighbour; true for NaN, which is an explosion."""
        return self.neighbours.is_complete(jnp.asarray(positions))

    def with_new_neighbours(
        self, positions: Float[np.ndarray, "n_atoms 3"], skin: float
    ) -> "ForceEvaluator":
        """The same with neighbours listed at these positions, up to `skin` Å beyond the cutoff."""
        neighbours = VerletList.of(positions, self.potential.cutoff, skin)
        return eqx.tree_at(lambda evaluator: evaluator.neighbours, self, neighbours)


def force_evaluator(potential: AbstractPotential, atoms: ase.Atoms, skin: float) -> ForceEvaluator:
    """A `ForceEvaluator` for these atoms.

    Args:
        potential: any potential.
        atoms: the start.
        skin: distance in Å beyond the cutoff up to which neighbours are listed.
    """
    return ForceEvaluator(
        potential,
        jnp.asarray(potential.reference_energy(atoms.numbers)),
        jnp.asarray(atoms.numbers.astype("int32")),
        VerletList.of(atoms.positions, potential.cutoff, skin),
    )
