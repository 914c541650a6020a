"""Ansätze: trainable layers. A layer names gates; it never touches a state."""

import abc
from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Float

from .._checks import InputError
from .._types import Pair, Qubits
from .gate import Gate
from .symmetry import AbstractGroup, orbits


class AbstractAnsatz(abc.ABC):
    """One trainable layer: gates of one angle each, tied to `n_weights` weights.

    `tied_gates()` lists each gate with the index of its weight, in order of application.
    """

    @property
    @abc.abstractmethod
    def n_weights(self) -> int: ...

    @abc.abstractmethod
    def tied_gates(self) -> tuple[tuple[str, Qubits, int], ...]:
        """Name, qubits and index of the weight of each gate."""

    def gates(self) -> tuple[Gate, ...]:
        """Gates in order of application; slots count from 0."""
        return tuple(
            Gate(name, qubits, slot) for slot, (name, qubits, _) in enumerate(self.tied_gates())
        )

    def angles(self, weights: Float[Array, " n_weights"]) -> Float[Array, " n_slots"]:
        """Angles of `gates()` in radians."""
        return weights[np.array([weight for _, _, weight in self.tied_gates()])]


@dataclass(frozen=True)
class Exchange(AbstractAnsatz):
    r"""Heisenberg exchange on pairs of qubits, one weight for each orbit of pairs.

    $$ U(j) = \prod_o \prod_{(a,b)\in o} e^{-i j_o (X_aX_b + Y_aY_b + Z_aZ_b)} $$

    commutes with every common rotation and, because the pairs of an orbit share their weight,
    with every permutation of the group. `pairs` are completed to whole orbits.

    Raises:
        InputError: pairs of one orbit share a qubit; their gates would not commute and their
            order would break the symmetry.

    Reference: Le et al. 2023, Eqs. 11 and 14.
    """

    group: AbstractGroup
    n_qubits: int
    pairs: tuple[Pair, ...]

    def __post_init__(self):
        for orbit in self.orbits:
            if len({q for pair in orbit for q in pair}) < 2 * len(orbit):
                raise InputError(f"Pairs of an orbit must not share qubits, but {orbit} do.")

    @property
    def orbits(self) -> tuple[tuple[Qubits, ...], ...]:
        return orbits(self.pairs, self.group, self.n_qubits)

    @property
    def n_weights(self) -> int:
        return len(self.orbits)

    def tied_gates(self) -> tuple[tuple[str, Qubits, int], ...]:
        return tuple(
            ("exchange", pair, weight) for weight, orbit in enumerate(self.orbits) for pair in orbit
        )


@dataclass(frozen=True)
class CommonRz(AbstractAnsatz):
    r"""$R_z(\epsilon)$ on every qubit, one common weight: breaks the rotation symmetry.

    Reference: Le et al. 2023, Eq. 15.
    """

    n_qubits: int

    @property
    def n_weights(self) -> int:
        return 1

    def tied_gates(self) -> tuple[tuple[str, Qubits, int], ...]:
        return tuple(("rz", (q,), 0) for q in range(self.n_qubits))


@dataclass(frozen=True)
class Sequence(AbstractAnsatz):
    """Several ansätze one after the other, each with weights of its own."""

    parts: tuple[AbstractAnsatz, ...]

    @property
    def n_weights(self) -> int:
        return sum(part.n_weights for part in self.parts)

    def tied_gates(self) -> tuple[tuple[str, Qubits, int], ...]:
        found, n_weights = [], 0
        for part in self.parts:
            found += [(name, qubits, n_weights + w) for name, qubits, w in part.tied_gates()]
            n_weights += part.n_weights
        return tuple(found)


ANSATZE: dict[str, type[AbstractAnsatz]] = {
    "exchange": Exchange,
    "common_rz": CommonRz,
    "sequence": Sequence,
}
