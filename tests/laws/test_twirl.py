"""Twirling: what is known by hand, by Schur-Weyl duality, and by random sampling."""

from itertools import permutations

import numpy as np
import pytest

from qiff._checks import InputError
from qiff.quantum.observable import PauliSum, pair_exchange
from qiff.quantum.symmetry import Permutations, Product, Reflections, Rotations, alike
from qiff.quantum.twirl import pauli_sum, twirl

from .examples import DIMER, WATER

RNG = np.random.default_rng(1)


def hermitian(n_qubits: int) -> np.ndarray:
    matrix = RNG.normal(size=(2**n_qubits,) * 2) + 1j * RNG.normal(size=(2**n_qubits,) * 2)
    return matrix + matrix.conj().T


def test_rotations_make_heisenberg_of_xx():
    """The mean of X⊗X over SU(2) is (XX+YY+ZZ)/3: the exchange generator of Le et al. 2023."""
    mean = twirl(PauliSum(((1.0, "XX"),)).matrix(), Rotations(2))
    np.testing.assert_allclose(mean, pair_exchange((0, 1), 2).matrix() / 3, atol=1e-14)
    assert {word: round(c, 12) for c, word in pauli_sum(mean).terms} == {
        word: round(1 / 3, 12) for word in ("XX", "YY", "ZZ")
    }


@pytest.mark.parametrize("n_qubits", [1, 2, 3, 4, 5])
def test_rotations_project_onto_permutations_of_qubits(n_qubits):
    """Schur-Weyl duality: what commutes with every common rotation is a sum of permutations."""
    operator = hermitian(n_qubits)
    mean = twirl(operator, Rotations(1))
    swaps = [swap_matrix(order) for order in permutations(range(n_qubits))]
    basis, *_ = np.linalg.svd(np.array([swap.reshape(-1) for swap in swaps]).T, full_matrices=False)
    rank = np.linalg.matrix_rank(np.array([swap.reshape(-1) for swap in swaps]))
    basis = basis[:, :rank]
    wanted = (basis @ (basis.conj().T @ operator.reshape(-1))).reshape(operator.shape)
    np.testing.assert_allclose(mean, wanted, atol=1e-12)


def swap_matrix(order) -> np.ndarray:
    identity = np.eye(2 ** len(order)).reshape((2,) * len(order) + (-1,))
    return identity.transpose(*order, len(order)).reshape(2 ** len(order), -1)


@pytest.mark.parametrize(
    ("group", "n_qubits"),
    [
        (WATER, 4),
        (alike("HHH"), 3),
        (Reflections(2), 3),
        (Product((Rotations(2), Reflections(2))), 3),
        (Permutations(((1, 2, 0),), 3), 4),
    ],
)
def test_twirling_is_a_projection_onto_what_commutes(group, n_qubits):
    operator = hermitian(n_qubits)
    mean = twirl(operator, group)
    np.testing.assert_allclose(twirl(mean, group), mean, atol=1e-12)
    np.testing.assert_allclose(mean, mean.conj().T, atol=1e-12)
    np.testing.assert_allclose(np.trace(mean), np.trace(operator), atol=1e-10)
    rng = np.random.default_rng(0)
    for _ in range(4):
        unitary = group.sample(rng).operator(n_qubits)
        np.testing.assert_allclose(unitary @ mean, mean @ unitary, atol=1e-12)
    assert (
        max(
            np.abs(u @ operator - operator @ u).max()
            for u in (group.sample(rng).operator(n_qubits) for _ in range(8))
        )
        > 1e-2
    )  # control


def test_weights_of_a_mean_are_one():
    for group in (WATER, DIMER, Rotations(3)):
        np.testing.assert_allclose(sum(weight for weight, _ in group.average(3)), 1)


def test_pauli_words_give_the_matrix_back():
    operator = hermitian(3)
    np.testing.assert_allclose(pauli_sum(operator).matrix(), operator, atol=1e-13)


def test_wrong_operators_are_refused():
    with pytest.raises(InputError, match="square matrix on whole qubits"):
        twirl(np.eye(3), Rotations(1))
    with pytest.raises(InputError, match="must be Hermitian"):
        pauli_sum(np.array([[0, 1], [0, 0]]))
    with pytest.raises(InputError, match="must not be zero"):
        pauli_sum(np.zeros((2, 2)))
