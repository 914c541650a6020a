"""Energy, forces and stress of configurations: the one place that differentiates a potential."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..atoms.graph import Graph, side_by_side, strained
from .potential import AbstractPotential


class Derivatives(NamedTuple):
    """Of one configuration, or of each of a stack, by property; see `PROPERTIES`.

    Args:
        energy: in eV, beyond `AbstractPotential.reference_energy`.
        forces: in eV/Å.
        stress: in eV/Å³, in the order xx, yy, zz, yz, xz, xy; None without a cell.
    """

    energy: Float[Array, "*frames"]
    forces: Float[Array, "*frames n_atoms 3"]
    stress: Float[Array, "*frames 6"] | None = None

    def properties(self) -> dict[str, Array]:
        """By key, those that there are."""
        return {key: value for key, value in self._asdict().items() if value is not None}


def energy(potential: AbstractPotential, graph: Graph) -> Float[Array, "*frames"]:
    r"""$E = \sum_i E_i$ in eV of one configuration, or of each of a stack, beyond
    `AbstractPotential.reference_energy`.

    A stack is computed as one configuration whose parts do not see each other if the potential is
    local.
    """
    numbers = jnp.asarray(graph.numbers)
    if numbers.ndim == 1:
        return potential(graph).sum()
    if not potential.is_local:
        return jax.vmap(lambda one: energy(potential, one))(graph)
    return potential(side_by_side(graph)).reshape(numbers.shape).sum(-1)


def derivatives(potential: AbstractPotential, graph: Graph) -> Derivatives:
    r"""Energy, forces and stress from one gradient; of one configuration, or of each of a stack.

    $$ F = -\frac{\partial E}{\partial R}, \qquad
       \sigma = \frac1V \frac{\partial E}{\partial\epsilon} $$

    of $E(R(1 + \epsilon), h(1 + \epsilon))$ at $\epsilon = 0$, with the volume $V = |\det h|$.
    """
    positions = jnp.asarray(graph.positions)

    def total(positions: Array, strain: Array | None) -> tuple[Array, Array]:
        moved = graph.at(positions)
        found = energy(potential, moved if strain is None else strained(moved, strain))
        return found.sum(), found  # no configuration changes the energy of another

    if graph.cell is None:
        (_, value), gradient = jax.value_and_grad(total, has_aux=True)(positions, None)
        return Derivatives(value, -gradient)
    cell = jnp.asarray(graph.cell)
    strain = jnp.zeros(cell.shape, positions.dtype)
    of_both = jax.value_and_grad(total, (0, 1), has_aux=True)
    (_, value), (gradient, virial) = of_both(positions, strain)
    xx, xy, xz, yy, yz, zz = (virial[..., i, j] for i, j in zip(*np.triu_indices(3), strict=True))
    stress = jnp.stack([xx, yy, zz, yz, xz, xy], axis=-1)
    return Derivatives(value, -gradient, stress / jnp.abs(jnp.linalg.det(cell))[..., None])


def energy_and_forces(potential: AbstractPotential, graph: Graph) -> tuple[Array, Array]:
    """The first two of `derivatives`."""
    found = derivatives(potential, graph)
    return found.energy, found.forces
