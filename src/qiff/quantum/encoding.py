"""Encodings: gates whose angles are data; those of vectors are equivariant."""

import abc
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._checks import InputError
from .gate import Gate
from .symmetry import AbstractGroup, count_data_qubits, orbits


class AbstractEncoding(abc.ABC):
    """One encoding layer with `n_scales` trainable scales."""

    @property
    @abc.abstractmethod
    def n_scales(self) -> int: ...

    @property
    @abc.abstractmethod
    def data_shape(self) -> tuple[int, ...]:
        """Shape of what is encoded."""

    @abc.abstractmethod
    def gates(self) -> tuple[Gate, ...]:
        """Gates in order of application; slots count from 0."""

    @abc.abstractmethod
    def labels(self) -> tuple[str, ...]:
        """Scale and data of each gate, for drawings."""

    @property
    @abc.abstractmethod
    def scale_of_slot(self) -> Int[np.ndarray, " n_slots"]:
        """Which scale each angle has as a factor."""

    @property
    @abc.abstractmethod
    def number_of_slot(self) -> Int[np.ndarray, " n_slots"]:
        """Which number of the data each angle is proportional to, in the order of `jnp.ravel`."""

    def angles(self, scales: Float[Array, " n_scales"], data: Array) -> Float[Array, " n_slots"]:
        """Angles of `gates()` in radians."""
        return scales[self.scale_of_slot] * jnp.ravel(data)[self.number_of_slot]


class AbstractVectorEncoding(AbstractEncoding):
    """Data qubit `q` encodes vector `q % n_vectors`; one gate of three angles for each qubit.

    Each orbit of qubits under the group has one scale, in radians per Å.
    """

    group: AbstractGroup
    n_qubits: int

    @property
    def data_shape(self) -> tuple[int, ...]:
        return self.group.n_vectors, 3

    @property
    def n_data(self) -> int:
        """Data qubits: those that are no ancillas."""
        return count_data_qubits(self.n_qubits, self.group.n_vectors)

    @property
    def orbit_of_qubit(self) -> tuple[int, ...]:
        """Index of the scale of each data qubit."""
        found = orbits(((q,) for q in range(self.n_data)), self.group, self.n_qubits)
        index = {q: i for i, orbit in enumerate(found) for (q,) in orbit}
        return tuple(index[q] for q in range(self.n_data))

    @property
    def n_scales(self) -> int:
        return max(self.orbit_of_qubit) + 1

    def labels(self) -> tuple[str, ...]:
        n_vectors = self.group.n_vectors
        return tuple(f"α{orbit}x{q % n_vectors}" for q, orbit in enumerate(self.orbit_of_qubit))

    @property
    def scale_of_slot(self) -> Int[np.ndarray, " n_slots"]:
        return np.repeat(self.orbit_of_qubit, 3)

    @property
    def number_of_slot(self) -> Int[np.ndarray, " n_slots"]:
        return np.arange(3 * self.n_data) % (3 * self.group.n_vectors)


@dataclass(frozen=True)
class Spin(AbstractVectorEncoding):
    r"""Qubit $q$ is rotated by $\exp(-\tfrac{i}{2}\,\alpha_{o(q)}\, x_{q \bmod n}\cdot\sigma)$.

    Reference: Le et al. 2023, Eqs. 8 to 10.
    """

    group: AbstractGroup
    n_qubits: int

    def gates(self) -> tuple[Gate, ...]:
        return tuple(Gate("spin", (q,), slot=3 * q) for q in range(self.n_data))


@dataclass(frozen=True)
class Mirror(AbstractVectorEncoding):
    r"""As `Spin`, each data qubit together with the ancilla: equivariant under reflections too.

    $$ \exp(-\tfrac{i}{2}\,\alpha_{o(q)}\, (x_{q \bmod n}\cdot\sigma_q)\, X_m) $$

    The last qubit is the ancilla $m$. The gates of one layer commute.

    Raises:
        InputError: there is not exactly one ancilla.

    Reference: reconstructed from Le et al. 2023, Sec. II.6, Eq. 16.
    """

    group: AbstractGroup
    n_qubits: int

    def __post_init__(self):
        if self.n_qubits - self.n_data != 1:
            raise InputError(
                f"`n_qubits` must be one ancilla more than a multiple of {self.group.n_vectors} "
                f"vectors, but is {self.n_qubits}."
            )

    def gates(self) -> tuple[Gate, ...]:
        ancilla = self.n_qubits - 1
        return tuple(Gate("mirror", (q, ancilla), slot=3 * q) for q in range(ancilla))


@dataclass(frozen=True)
class AxisRotations(AbstractEncoding):
    r"""Qubit $q$ is rotated by $R_x(\alpha_q\, x_{q \bmod n})$ for numbers $x$: no symmetry.

    Args:
        n_features: length of $x$.
        n_qubits: each with its own scale.

    Reference: the generic encoding of Kiss et al. 2022, reconstructed.
    """

    n_features: int
    n_qubits: int

    @property
    def data_shape(self) -> tuple[int, ...]:
        return (self.n_features,)

    @property
    def n_scales(self) -> int:
        return self.n_qubits

    def gates(self) -> tuple[Gate, ...]:
        return tuple(Gate("rx", (q,), slot=q) for q in range(self.n_qubits))

    def labels(self) -> tuple[str, ...]:
        return tuple(f"α{q}x{q % self.n_features}" for q in range(self.n_qubits))

    @property
    def scale_of_slot(self) -> Int[np.ndarray, " n_slots"]:
        return np.arange(self.n_qubits)

    @property
    def number_of_slot(self) -> Int[np.ndarray, " n_slots"]:
        return np.arange(self.n_qubits) % self.n_features


ENCODINGS: dict[str, type[AbstractEncoding]] = {
    "spin": Spin,
    "mirror": Mirror,
    "axis_rotations": AxisRotations,
}
