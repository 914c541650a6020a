"""Observables: what is measured at the end of a circuit, as sums of Pauli words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex

from .._checks import InputError
from .._types import Pair

_PHASES = {"I": (1, 1), "X": (1, 1), "Y": (-1j, 1j), "Z": (1, -1)}


@dataclass(frozen=True)
class PauliSum:
    r"""$O = \sum_t c_t P_t$, each word $P_t$ a string over I, X, Y, Z with qubit 0 first.

    Raises:
        InputError: there is no term, or the words have different lengths or other letters.
    """

    terms: tuple[tuple[float, str], ...]

    def __post_init__(self):
        words = [word for _, word in self.terms]
        if len({len(w) for w in words}) != 1 or set("".join(words)) - set(_PHASES):
            raise InputError(
                f"`terms` need words over I, X, Y, Z of one common length, but are {words}."
            )

    @property
    def n_qubits(self) -> int:
        return len(self.terms[0][1])

    @property
    def is_isotropic(self) -> bool:
        """Whether it is a sum of `pair_exchange`, which common rotations leave unchanged."""
        totals: dict[tuple[int, ...], dict[str, float]] = {}
        for coefficient, word in self.terms:
            letters = set(word) - {"I"}
            on = tuple(q for q, letter in enumerate(word) if letter != "I")
            if len(on) != 2 or len(letters) != 1:
                return False
            found = totals.setdefault(on, dict.fromkeys("XYZ", 0.0))
            found[letters.pop()] += coefficient
        return all(len(set(found.values())) == 1 for found in totals.values())

    def diagonals(self) -> dict[int, Complex[np.ndarray, " dim"]]:
        r"""The operator as $(O\psi)_k = \sum_m d_m[k]\, \psi_{k \oplus m}$: flip mask to factors.

        Words that flip the same qubits share a mask, so $XX+YY+ZZ$ costs two terms, not three.
        """
        found: dict[int, np.ndarray] = {}
        for coefficient, word in self.terms:
            mask = int("".join("1" if p in "XY" else "0" for p in word), 2)
            factors = np.array([coefficient], complex)
            for letter in word:
                factors = np.kron(factors, _PHASES[letter])
            found[mask] = found.get(mask, 0) + factors
        return found

    def matrix(self) -> Complex[np.ndarray, "dim dim"]:
        """The operator as a dense matrix, qubit 0 the most significant bit."""
        index = np.arange(2**self.n_qubits)
        matrix = np.zeros((len(index), len(index)), complex)
        for mask, factors in self.diagonals().items():
            matrix[index, index ^ mask] += factors
        return matrix


def pair_exchange(pair: Pair, n_qubits: int) -> PauliSum:
    r"""$X_aX_b + Y_aY_b + Z_aZ_b$: −3 on the singlet, 1 on triplets. (Le et al. 2023, Eq. 13.)"""
    words = ("".join(p if q in pair else "I" for q in range(n_qubits)) for p in "XYZ")
    return PauliSum(tuple((1.0, word) for word in words))


def mean_exchange(pairs: Sequence[Pair], n_qubits: int) -> PauliSum:
    """The mean of `pair_exchange` over several pairs, such as an orbit."""
    terms = [term for pair in pairs for term in pair_exchange(pair, n_qubits).terms]
    return PauliSum(tuple((coefficient / len(pairs), word) for coefficient, word in terms))


def mean_z(n_qubits: int) -> PauliSum:
    r"""$\frac1n \sum_q Z_q$: what a circuit without symmetry measures."""
    words = ("I" * q + "Z" + "I" * (n_qubits - q - 1) for q in range(n_qubits))
    return PauliSum(tuple((1 / n_qubits, word) for word in words))


def vector(qubit: int, n_qubits: int) -> tuple[PauliSum, PauliSum, PauliSum]:
    r"""$X_q, Y_q, Z_q$: their expectation values are a vector that turns with the data.

    It is axial, as an angular momentum is: a reflection of the data changes its sign besides.
    """
    words = ("".join(p if q == qubit else "I" for q in range(n_qubits)) for p in "XYZ")
    x, y, z = (PauliSum(((1.0, word),)) for word in words)
    return x, y, z


OBSERVABLES = {
    "pair_exchange": pair_exchange,
    "mean_exchange": mean_exchange,
    "mean_z": mean_z,
}
