"""Ansätze: trainable layers, as lists of gates."""

import abc
from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Float

from .._checks import InputError, check_at_least
from .._types import Pair, Qubits
from .gate import Gate
from .symmetry import AbstractGroup, orbits

TiedGate = tuple[str, Qubits, int | None]
"""Name and qubits of a gate and the index of its weight; None for a gate without an angle."""


class AbstractAnsatz(abc.ABC):
    """One trainable layer: gates of one angle each, tied to `n_weights` weights."""

    @property
    @abc.abstractmethod
    def n_weights(self) -> int: ...

    @abc.abstractmethod
    def tied_gates(self) -> tuple[TiedGate, ...]:
        """The gates in order of application."""

    def gates(self) -> tuple[Gate, ...]:
        """Gates in order of application; slots count from 0."""
        found, slot = [], 0
        for name, qubits, _ in self.tied_gates():
            found.append(Gate(name, qubits, slot))
            slot += found[-1].kind.n_angles
        return tuple(found)

    def angles(self, weights: Float[Array, " n_weights"]) -> Float[Array, " n_slots"]:
        """Angles of `gates()` in radians."""
        return weights[np.array([w for _, _, w in self.tied_gates() if w is not None])]


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

    def tied_gates(self) -> tuple[TiedGate, ...]:
        return tuple(
            ("exchange", pair, weight) for weight, orbit in enumerate(self.orbits) for pair in orbit
        )


@dataclass(frozen=True)
class CommonRz(AbstractAnsatz):
    r"""$R_z(\epsilon)$ on `qubits`, one common weight.

    On data qubits it breaks the rotation symmetry; on an ancilla it respects every group.

    Reference: Le et al. 2023, Eqs. 15 and 17.
    """

    qubits: Qubits

    @property
    def n_weights(self) -> int:
        return 1

    def tied_gates(self) -> tuple[TiedGate, ...]:
        return tuple(("rz", (q,), 0) for q in self.qubits)


@dataclass(frozen=True)
class HardwareEfficient(AbstractAnsatz):
    r"""$R_y R_z$ on every qubit with weights of their own, then a ring of controlled nots.

    It has no symmetry.

    Reference: the generic ansatz of Kiss et al. 2022, reconstructed.
    """

    n_qubits: int

    def __post_init__(self):
        check_at_least("n_qubits", self.n_qubits, 2)

    @property
    def n_weights(self) -> int:
        return 2 * self.n_qubits

    def tied_gates(self) -> tuple[TiedGate, ...]:
        qubits = range(self.n_qubits)
        turns = [(name, (q,), 2 * q + k) for q in qubits for k, name in enumerate(("ry", "rz"))]
        ring = dict.fromkeys(tuple(sorted((q, (q + 1) % self.n_qubits))) for q in qubits)
        return (*turns, *(("cnot", pair, None) for pair in ring))


@dataclass(frozen=True)
class Sequence(AbstractAnsatz):
    """Several ansätze one after the other, each with weights of its own."""

    parts: tuple[AbstractAnsatz, ...]

    @property
    def n_weights(self) -> int:
        return sum(part.n_weights for part in self.parts)

    def tied_gates(self) -> tuple[TiedGate, ...]:
        found, n_weights = [], 0
        for part in self.parts:
            found += [
                (name, qubits, None if w is None else n_weights + w)
                for name, qubits, w in part.tied_gates()
            ]
            n_weights += part.n_weights
        return tuple(found)


ANSATZE: dict[str, type[AbstractAnsatz]] = {
    "exchange": Exchange,
    "common_rz": CommonRz,
    "hardware_efficient": HardwareEfficient,
    "sequence": Sequence,
}
