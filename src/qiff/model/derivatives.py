"""Energy, forces and stress of one configuration: the one place that differentiates a potential."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Energy, Forces
from ..atoms.graph import Graph, strained
from .potential import AbstractPotential


class Derivatives(NamedTuple):
    """Energy in eV beyond `reference_energy`, forces in eV/Å, and the derivative in the strain.

    `virial` is $\\partial E/\\partial\\epsilon$ in eV, the stress times the volume; None without a
    cell.
    """

    energy: Energy
    forces: Forces
    virial: Float[Array, "3 3"] | None


def energy(potential: AbstractPotential, graph: Graph) -> Energy:
    r"""$E = \sum_i E_i$ of one configuration in eV, beyond `AbstractPotential.reference_energy`."""
    return potential(graph).sum()


def derivatives(potential: AbstractPotential, graph: Graph) -> Derivatives:
    r"""$E$, $F = -\partial E/\partial R$ and $\partial E/\partial\epsilon$ from one gradient.

    Both derivatives are of $E(R(1 + \epsilon), h(1 + \epsilon))$ at $\epsilon = 0$.
    """
    positions = jnp.asarray(graph.positions)
    if graph.cell is None:
        value, gradient = jax.value_and_grad(lambda x: energy(potential, graph.at(x)))(positions)
        return Derivatives(value, -gradient, None)

    def of_both(positions: Array, strain: Array) -> Energy:
        return energy(potential, strained(graph.at(positions), strain))

    value, (gradient, virial) = jax.value_and_grad(of_both, (0, 1))(
        positions, jnp.zeros((3, 3), positions.dtype)
    )
    return Derivatives(value, -gradient, virial)


def energy_and_forces(potential: AbstractPotential, graph: Graph) -> tuple[Energy, Forces]:
    """The first two of `derivatives`."""
    found = derivatives(potential, graph)
    return found.energy, found.forces
