"""The loss: mean squared errors of energies and forces, weighted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import InputError, check_at_least
from ..atoms.frames import Frames
from ..model.derivatives import energy, energy_and_forces
from ..model.potential import AbstractPotential


@dataclass(frozen=True)
class Loss:
    r"""$L = w_E\,\langle (E - \hat E)^2 \rangle + w_F\,\langle |F - \hat F|^2/3N \rangle$.

    With `forces_weight` zero no forces are computed; with `energy_weight` zero forces alone
    are learned and the energy is fixed up to a constant. The mean of the forces is over all
    components of all atoms of a batch.

    Args:
        energy_weight: $w_E$ in 1/eV².
        forces_weight: $w_F$ in Å²/eV².

    Raises:
        InputError: a weight is negative, or both are zero; or forces are wanted and absent.

    Reference: Le et al. 2023, Sec. III.3.
    """

    energy_weight: float = 1.0
    forces_weight: float = 1.0

    def __post_init__(self):
        check_at_least("energy_weight", self.energy_weight, 0)
        check_at_least("forces_weight", self.forces_weight, 0)
        if self.energy_weight == self.forces_weight == 0:
            raise InputError("`energy_weight` and `forces_weight` must not both be 0.")

    def __call__(self, potential: AbstractPotential, frames: Frames) -> Float[Array, ""]:
        """The loss that training lowers; energies of the frames are `relative` to the potential."""
        return self._combine(potential, frames, lambda error, real: jnp.mean(error**2, where=real))

    def validation_loss(self, potential: AbstractPotential, frames: Frames) -> Float[Array, ""]:
        """The same of squared mean absolute errors: what validations are compared by.

        A mean square over a small validation part is decided by its one or two worst frames.
        """
        return self._combine(
            potential, frames, lambda error, real: jnp.mean(jnp.abs(error), where=real) ** 2
        )

    def _combine(
        self, potential: AbstractPotential, frames: Frames, size: Callable[[Array, Any], Array]
    ) -> Float[Array, ""]:
        if not self.forces_weight:
            energies = jax.vmap(energy, (None, 0))(potential, frames.graph)
            return self.energy_weight * size(energies - frames.labels["energy"], None)
        if "forces" not in frames.labels:
            raise InputError("`frames` must have forces to learn from, but have none.")
        energies, forces = jax.vmap(energy_and_forces, (None, 0))(potential, frames.graph)
        return self.energy_weight * size(
            energies - frames.labels["energy"], None
        ) + self.forces_weight * size(
            forces - frames.labels["forces"], frames.graph.numbers[..., None] > 0
        )


def relative(frames: Frames, potential: AbstractPotential) -> Frames:
    """Frames whose energies are beyond the offset of a potential: small enough for float32."""
    offsets = [potential.reference_energy(numbers) for numbers in np.asarray(frames.graph.numbers)]
    shifted = np.asarray(frames.labels["energy"]) - np.array(offsets)
    return Frames(frames.graph, {**frames.labels, "energy": shifted})
