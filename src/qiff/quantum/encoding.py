"""Encodings: gates that carry vectors onto qubits equivariantly."""

import abc
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._types import Vectors
from .gate import Gate
from .symmetry import AbstractGroup, orbits


class AbstractEncoding(abc.ABC):
    """One encoding layer with `n_scales` trainable scales."""

    @property
    @abc.abstractmethod
    def n_scales(self) -> int: ...

    @abc.abstractmethod
    def gates(self) -> tuple[Gate, ...]:
        """Gates in order of application; slots count from 0."""

    @abc.abstractmethod
    def angles(
        self, scales: Float[Array, " n_scales"], vectors: Vectors
    ) -> Float[Array, " n_slots"]:
        """Angles of `gates()` in radians."""


@dataclass(frozen=True)
class Spin(AbstractEncoding):
    r"""Qubit $q$ is rotated by $\exp(-\tfrac{i}{2}\,\alpha_{o(q)}\, x_{q \bmod n}\cdot\sigma)$.

    One scale $\alpha_o$ (radians per Å) for each orbit of qubits under the group.

    Reference: Le et al. 2023, Eqs. 8 to 10.
    """

    group: AbstractGroup
    n_qubits: int

    @property
    def orbit_of_qubit(self) -> tuple[int, ...]:
        found = orbits(((q,) for q in range(self.n_qubits)), self.group, self.n_qubits)
        index = {q: i for i, orbit in enumerate(found) for (q,) in orbit}
        return tuple(index[q] for q in range(self.n_qubits))

    @property
    def n_scales(self) -> int:
        return max(self.orbit_of_qubit) + 1

    def gates(self) -> tuple[Gate, ...]:
        return tuple(Gate("spin", (q,), slot=3 * q) for q in range(self.n_qubits))

    def angles(
        self, scales: Float[Array, " n_scales"], vectors: Vectors
    ) -> Float[Array, " n_slots"]:
        scale_of_qubit = scales[np.array(self.orbit_of_qubit)]
        carried = jnp.stack([vectors[q % self.group.n_vectors] for q in range(self.n_qubits)])
        return jnp.ravel(scale_of_qubit[:, None] * carried)


ENCODINGS: dict[str, type[AbstractEncoding]] = {"spin": Spin}
