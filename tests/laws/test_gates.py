"""Gates: unitary, equal to the exponential of their generator, smooth at zero."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from qiff._checks import InputError
from qiff.model.predict import enable_x64
from qiff.quantum.equivariance import gate_defect
from qiff.quantum.gate import GATES, PAULIS, Gate, GateKind, mirror, spin
from qiff.quantum.symmetry import Rotations
from qiff.quantum.unitary import generators, unitaries

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
SIZES = (0.0, 1e-9, 1e-3, 0.3, np.sqrt(0.1), 2.0, 40.0)


@pytest.fixture(params=["float64", "float32"])
def precision(request):
    with enable_x64(request.param == "float64"):
        yield request.param


def symmetric(entries: np.ndarray) -> np.ndarray:
    xx, xy, xz, yy, yz, zz = entries
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def generator(name: str, at: np.ndarray) -> np.ndarray:
    """By hand where it is written above, else as the gate declares it."""
    return GENERATORS[name](at) if name in GENERATORS else np.tensordot(at, generators(name), 1)


def angles(name: str, size: float = 1.0) -> np.ndarray:
    direction = np.random.default_rng(1).normal(size=GATES[name].n_angles)
    return size * direction / max(np.linalg.norm(direction), 1e-300)


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("size", SIZES)
def test_gate_is_the_exponential_of_its_generator(name, size, precision):
    at = angles(name, size)
    matrix = np.asarray(GATES[name].matrix(jnp.asarray(at)))
    assert matrix.dtype == {"float64": np.complex128, "float32": np.complex64}[precision]
    bound = {"float64": 1e-13, "float32": 4e-6}[precision]
    if GATES[name].n_angles or name in GENERATORS:
        np.testing.assert_allclose(matrix, expm(-1j * generator(name, at)), atol=bound)
    bound = {"float64": 1e-14, "float32": 3e-6}[precision]
    np.testing.assert_allclose(matrix @ matrix.conj().T, np.eye(len(matrix)), atol=bound)


@pytest.mark.parametrize("name", GENERATORS)
def test_matrices_in_numpy_are_the_same(name):
    at = np.array([angles(name, size) for size in (*SIZES, 0.3)])
    wanted = [expm(-1j * GENERATORS[name](a)) for a in at]
    np.testing.assert_allclose(unitaries(name, at), wanted, atol=1e-13)


def test_a_gate_without_generators_is_not_measured(monkeypatch):
    for n_angles, how in ((1, "`generators`"), (0, "its matrix by `fixed`")):
        monkeypatch.setitem(GATES, "new", GateKind(1, n_angles, spin))
        with pytest.raises(InputError, match=f"`new` can be simulated, .*: give {how} in GATES"):
            unitaries("new", np.zeros((2, n_angles)))


def derivatives(matrix, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and second derivatives of a matrix function at several angles, as real numbers."""
    parts = lambda a: jnp.stack([matrix(a).real, matrix(a).imag])
    first, second = jax.jacfwd(parts), jax.jacfwd(jax.jacfwd(parts))
    both = jax.jit(jax.vmap(lambda a: (first(a), second(a))))(jnp.asarray(at))
    return np.asarray(both[0]), np.asarray(both[1])


@pytest.mark.parametrize("name", [name for name in GATES if GATES[name].n_angles])
def test_derivatives_are_those_of_the_exponential(name, precision):
    """Against autodiff of the power series of the exponential, itself smooth everywhere."""

    def series(a):
        exponent: Any = sum(
            a[k] * jnp.asarray(generator(name, unit)) for k, unit in enumerate(units)
        )
        small = -1j * exponent / 2**12
        terms = [jnp.eye(len(small), dtype=complex)]
        for k in range(1, 8):
            terms.append(terms[-1] @ small / k)
        return jax.lax.fori_loop(0, 12, lambda _, m: m @ m, sum(terms))

    units = np.eye(GATES[name].n_angles)
    at = np.array([angles(name, size) for size in SIZES])
    found = derivatives(GATES[name].matrix, at)
    with enable_x64(True):
        wanted = derivatives(series, at)
    for matrix_order, series_order in zip(found, wanted, strict=True):
        bound = {"float64": 1e-9, "float32": 2e-5}[precision]
        np.testing.assert_allclose(matrix_order, series_order, atol=bound)


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


@pytest.mark.parametrize("name", [name for name, kind in GATES.items() if kind.rank is not None])
def test_a_common_rotation_of_the_qubits_rotates_what_the_angles_carry(name, precision):
    bound = {"float64": 1e-14, "float32": 2e-6}[precision]
    assert gate_defect(GATES[name], GATES[name].rank or 0) < bound


def backwards(kind: GateKind) -> GateKind:
    return replace(kind, matrix=lambda angles: kind.matrix(angles[::-1]))


@pytest.mark.parametrize("name", [name for name in GATES if GATES[name].rank])
def test_control_angles_in_another_order_are_no_tensor(name):
    assert gate_defect(backwards(GATES[name]), GATES[name].rank or 0) > 1e-2


@pytest.mark.parametrize("name", [name for name in GATES if GATES[name].rank is None])
def test_control_gates_without_a_rank_carry_no_tensor(name):
    """So that none forgets to declare its rank; without angles there is nothing to carry."""
    ranks = [rank for rank, n_angles in enumerate((1, 3, 6)) if n_angles == GATES[name].n_angles]
    assert all(gate_defect(GATES[name], rank) > 1e-2 for rank in ranks)


def test_a_rank_must_fit_the_angles():
    with pytest.raises(InputError, match=r"of rank 1 must have 3 angle\(s\), but has 1"):
        GateKind(1, 1, spin, rank=1)


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
