r"""Twirling: the symmetric part of any operator, and its Pauli words.

$$ \mathcal{T}_G(A) = \int_G U_g A U_g^\dagger\, dg $$

is the projection onto the operators that commute with the group: any generator becomes one whose
gate is equivariant. Reference: Meyer et al. 2023, PRX Quantum 4, 010328.
"""

from itertools import product

import numpy as np
from jaxtyping import Num

from .._checks import InputError
from .gate import PAULIS
from .observable import PauliSum
from .symmetry import AbstractGroup

_LETTERS = (np.eye(2), *PAULIS)


def twirl(operator: Num[np.ndarray, "dim dim"], group: AbstractGroup) -> Num[np.ndarray, "dim dim"]:
    """The mean of an operator over a group, exact up to rounding for finite groups and SU(2).

    Args:
        operator: a matrix on whole qubits, qubit 0 the most significant bit.
        group: see `AbstractGroup.average`.

    Raises:
        InputError: the operator is no square matrix on at least one qubit per vector.
    """
    n_qubits = _n_qubits(operator)
    mean = np.zeros_like(operator, dtype=complex)
    for weight, element in group.average(n_qubits):
        unitary = element.operator(n_qubits)
        mean += weight * unitary @ operator @ unitary.conj().T
    return mean


def pauli_sum(operator: Num[np.ndarray, "dim dim"], *, negligible: float = 1e-12) -> PauliSum:
    r"""A Hermitian matrix as Pauli words, $c_P = 2^{-n}\,\mathrm{tr}(P A)$.

    Args:
        operator: the matrix.
        negligible: words with smaller coefficients are left out.

    Raises:
        InputError: the operator is not Hermitian on whole qubits, or is zero.
    """
    n_qubits = _n_qubits(operator)
    if np.abs(operator - operator.conj().T).max() > 1e-10 * max(1, np.abs(operator).max()):
        raise InputError("`operator` must be Hermitian, but is not.")
    rows_by_columns = [axis + n_qubits * side for axis in range(n_qubits) for side in (0, 1)]
    tensor = operator.reshape((2,) * 2 * n_qubits).transpose(rows_by_columns)
    tensor = tensor.reshape((4,) * n_qubits)
    letters = np.array([letter.T.reshape(-1) for letter in _LETTERS])
    for axis in range(n_qubits):
        tensor = np.moveaxis(np.tensordot(letters, tensor, (1, axis)), 0, axis)
    words = map("".join, product("IXYZ", repeat=n_qubits))
    coefficients = np.real(tensor.reshape(-1)) / 2**n_qubits
    terms = [(float(c), w) for c, w in zip(coefficients, words, strict=True) if abs(c) > negligible]
    if not terms:
        raise InputError("`operator` must not be zero.")
    return PauliSum(tuple(terms))


def _n_qubits(operator: np.ndarray) -> int:
    n_qubits = len(operator).bit_length() - 1
    if operator.shape != (2**n_qubits,) * 2 or n_qubits < 1:
        raise InputError(
            f"`operator` must be a square matrix on whole qubits, but has shape {operator.shape}."
        )
    return n_qubits
