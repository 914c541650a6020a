"""Energy, forces and stress of one configuration: the one place that differentiates a potential."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._types import Energy, Forces
from ..atoms.graph import Graph, strained
from .potential import AbstractPotential


class Derivatives(NamedTuple):
    """Of one configuration, by property; see `PROPERTIES`.

    Args:
        energy: in eV, beyond `AbstractPotential.reference_energy`.
        forces: in eV/Å.
        stress: in eV/Å³, in the order xx, yy, zz, yz, xz, xy; None without a cell.
    """

    energy: Energy
    forces: Forces
    stress: Float[Array, "6"] | None = None

    def properties(self) -> dict[str, Array]:
        """By key, those that there are."""
        return {key: value for key, value in self._asdict().items() if value is not None}


def energy(potential: AbstractPotential, graph: Graph) -> Energy:
    r"""$E = \sum_i E_i$ of one configuration in eV, beyond `AbstractPotential.reference_energy`."""
    return potential(graph).sum()


def derivatives(potential: AbstractPotential, graph: Graph) -> Derivatives:
    r"""Energy, forces and stress from one gradient.

    $$ F = -\frac{\partial E}{\partial R}, \qquad
       \sigma = \frac1V \frac{\partial E}{\partial\epsilon} $$

    of $E(R(1 + \epsilon), h(1 + \epsilon))$ at $\epsilon = 0$, with the volume $V = |\det h|$.
    """
    positions = jnp.asarray(graph.positions)
    if graph.cell is None:
        value, gradient = jax.value_and_grad(lambda x: energy(potential, graph.at(x)))(positions)
        return Derivatives(value, -gradient)

    def of_both(positions: Array, strain: Array) -> Energy:
        return energy(potential, strained(graph.at(positions), strain))

    strain = jnp.zeros((3, 3), positions.dtype)
    value, (gradient, virial) = jax.value_and_grad(of_both, (0, 1))(positions, strain)
    volume = jnp.abs(jnp.linalg.det(jnp.asarray(graph.cell)))
    xx, xy, xz, yy, yz, zz = virial[np.triu_indices(3)] / volume
    return Derivatives(value, -gradient, jnp.stack([xx, yy, zz, yz, xz, xy]))


def energy_and_forces(potential: AbstractPotential, graph: Graph) -> tuple[Energy, Forces]:
    """The first two of `derivatives`."""
    found = derivatives(potential, graph)
    return found.energy, found.forces
