"""Gates: unitary, equal to the exponential of their generator, smooth at zero."""

from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from qiff._checks import InputError
from qiff.quantum.gate import GATES, PAULIS, Gate, mirror, quadrupole, spin
from qiff.quantum.symmetry import Rotations

PAIR = sum(np.kron(p, p) for p in PAULIS)

GENERATORS = {
    "spin": lambda v: 0.5 * np.einsum("a,aij->ij", v, PAULIS),
    "exchange": lambda j: j[0] * PAIR,
    "rx": lambda a: 0.5 * a[0] * PAULIS[0],
    "ry": lambda a: 0.5 * a[0] * PAULIS[1],
    "rz": lambda a: 0.5 * a[0] * PAULIS[2],
    "mirror": lambda v: 0.5 * np.einsum("a,aij,kl->ikjl", v, PAULIS, PAULIS[0]).reshape(4, 4),
    "quadrupole": lambda q: np.einsum("ab,aij,bkl->ikjl", symmetric(q), PAULIS, PAULIS).reshape(
        4, 4
    ),
    "cz": lambda a: np.pi * np.diag([0, 0, 0, 1]),
    "cnot": lambda a: np.pi / 2 * np.kron(np.diag([0, 1]), np.eye(2) - PAULIS[0]),
}
ROTATION_INVARIANT = {"exchange"}
SIZES = (0.0, 1e-9, 1e-3, 0.3, np.sqrt(0.1), 2.0, 40.0)


def symmetric(entries: np.ndarray) -> np.ndarray:
    xx, xy, xz, yy, yz, zz = entries
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def angles(name: str, size: float = 1.0) -> np.ndarray:
    direction = np.random.default_rng(1).normal(size=GATES[name].n_angles)
    return size * direction / max(np.linalg.norm(direction), 1e-300)


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("size", SIZES)
def test_gate_is_the_exponential_of_its_generator(name, size):
    matrix = GATES[name].matrix(jnp.asarray(angles(name, size)))
    np.testing.assert_allclose(matrix, expm(-1j * GENERATORS[name](angles(name, size))), atol=1e-13)
    np.testing.assert_allclose(matrix @ matrix.conj().T, np.eye(len(matrix)), atol=1e-14)


def derivatives(matrix, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and second derivatives of a matrix function at several angles, as real numbers."""
    parts = lambda a: jnp.stack([matrix(a).real, matrix(a).imag])
    first, second = jax.jacfwd(parts), jax.jacfwd(jax.jacfwd(parts))
    return jax.jit(jax.vmap(lambda a: (first(a), second(a))))(jnp.asarray(at))


@pytest.mark.parametrize("name", [name for name in GATES if GATES[name].n_angles])
def test_derivatives_are_those_of_the_exponential(name):
    """Against autodiff of the power series of the exponential, itself smooth everywhere."""

    def series(a):
        generator = sum(a[k] * jnp.asarray(GENERATORS[name](unit)) for k, unit in enumerate(units))
        small = -1j * generator / 2**12
        terms = [jnp.eye(len(small), dtype=complex)]
        for k in range(1, 8):
            terms.append(terms[-1] @ small / k)
        return jax.lax.fori_loop(0, 12, lambda _, m: m @ m, sum(terms))

    units = np.eye(GATES[name].n_angles)
    at = np.array([angles(name, size) for size in SIZES])
    for matrix_order, series_order in zip(
        derivatives(GATES[name].matrix, at), derivatives(series, at), strict=True
    ):
        np.testing.assert_allclose(matrix_order, series_order, atol=1e-9)


def test_spin_keeps_its_second_derivative_at_zero():
    _, second = derivatives(spin, np.zeros((1, 3)))
    np.testing.assert_allclose(second[0, 0, 0, 0], -np.eye(3) / 4, atol=1e-15)


def test_control_a_constant_branch_at_zero_loses_the_second_derivative():
    def cosine_with_branch(vector):
        square = vector @ vector
        length = jnp.sqrt(jnp.where(square == 0, 1.0, square))
        return jnp.where(square == 0, 1.0, jnp.cos(length / 2))

    hessian = jax.hessian(cosine_with_branch)(jnp.zeros(3))
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(hessian, -np.eye(3) / 4, atol=1e-15)


@pytest.mark.parametrize("name", GATES)
def test_only_rotation_invariant_gates_commute_with_a_common_rotation(name):
    matrix = np.asarray(GATES[name].matrix(jnp.asarray(angles(name))))
    unitary = Rotations(1).sample(np.random.default_rng(0)).unitary
    common = reduce(np.kron, [unitary] * GATES[name].n_qubits)
    commutator = np.abs(common @ matrix - matrix @ common).max()
    assert (commutator < 1e-14) == (name in ROTATION_INVARIANT)


def test_spin_is_equivariant():
    element = Rotations(1).sample(np.random.default_rng(0))
    vector = angles("spin")
    rotated = spin(jnp.asarray(element.rotation @ vector))
    u = element.unitary
    np.testing.assert_allclose(rotated, u @ spin(jnp.asarray(vector)) @ u.conj().T, atol=1e-14)
    backwards = spin(jnp.asarray(element.rotation.T @ vector))  # control: the opposite rotation
    assert np.abs(backwards - rotated).max() > 1e-2


def test_quadrupole_is_equivariant():
    element = Rotations(1).sample(np.random.default_rng(0))
    entries, upper = angles("quadrupole"), np.triu_indices(3)
    turned = element.rotation @ symmetric(entries) @ element.rotation.T
    common = np.kron(element.unitary, element.unitary)
    expected = common @ quadrupole(jnp.asarray(entries)) @ common.conj().T
    np.testing.assert_allclose(quadrupole(jnp.asarray(turned[upper])), expected, atol=1e-14)
    back = element.rotation.T @ symmetric(entries) @ element.rotation  # control
    assert np.abs(quadrupole(jnp.asarray(back[upper])) - expected).max() > 1e-2


def test_mirror_is_equivariant_under_rotations_and_reflections():
    element = Rotations(1).sample(np.random.default_rng(0))
    vector = angles("mirror")
    reflected = mirror(jnp.asarray(vector * [1, -1, 1]))
    rotated = mirror(jnp.asarray(element.rotation @ vector))
    turn, flip = np.kron(element.unitary, np.eye(2)), np.kron(PAULIS[1], PAULIS[2])
    matrix = np.asarray(mirror(jnp.asarray(vector)))
    np.testing.assert_allclose(rotated, turn @ matrix @ turn.conj().T, atol=1e-14)
    np.testing.assert_allclose(reflected, flip @ matrix @ flip.conj().T, atol=1e-14)
    alone = np.kron(PAULIS[1], np.eye(2))  # control: without the ancilla it is no reflection
    assert np.abs(alone @ matrix @ alone - reflected).max() > 1e-2


@pytest.mark.parametrize(
    ("name", "qubits", "message"),
    [
        ("spinn", (0,), "did you mean `spin`"),
        ("exchange", (0,), "acts on 2 distinct"),
        ("exchange", (1, 1), "acts on 2 distinct"),
    ],
)
def test_wrong_gates_are_refused(name, qubits, message):
    with pytest.raises(InputError, match=message):
        Gate(name, qubits, 0)
