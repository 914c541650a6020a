"""Shift rules: derivatives from the values of circuits alone, for every gate with angles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qiff.quantum.engine import expectations
from qiff.quantum.gate import GATES
from qiff.quantum.shift import RULES, shifts
from qiff.quantum.shots import _matrices

from .test_engines import programs, random_angles


def test_every_gate_with_angles_has_a_rule():
    assert set(RULES) == {name for name, kind in GATES.items() if kind.n_angles}


@pytest.mark.parametrize("name", GATES)
def test_matrices_in_numpy_are_those_of_the_gates(name):
    angles = np.random.default_rng(0).normal(size=(3, GATES[name].n_angles))
    wanted = jax.vmap(GATES[name].matrix)(jnp.asarray(angles))
    found = np.broadcast_to(_matrices(name, angles), wanted.shape)
    np.testing.assert_allclose(found, wanted, atol=1e-13)


@pytest.mark.parametrize("size", [0, 1e-9, 6])
@pytest.mark.parametrize("name", RULES)
def test_shifted_gate_is_half_the_gate_an_eighth_turn_and_the_other_half(name, size):
    rule, angles = RULES[name], size * np.random.default_rng(1).normal(size=GATES[name].n_angles)
    matrix = lambda at: np.asarray(GATES[name].matrix(jnp.asarray(at)))
    half = matrix(angles / 2)
    for direction, both in zip(rule.directions, rule.shifted(angles), strict=True):
        eighth = np.linalg.eigvals(matrix(4 * direction))  # exp(-iπB) for B² = 1, up to a phase
        np.testing.assert_allclose(eighth, eighth[0], atol=1e-12)
        for sign, found in zip((1, -1), both, strict=True):
            wanted = half @ matrix(sign * direction) @ half
            overlap = np.trace(wanted.conj().T @ matrix(found)) / len(wanted)
            assert abs(abs(overlap) - 1) < 1e-13


def check(program, seed):
    angles = random_angles(program, 2, seed, (0.0, 0.3, 2.1))
    found = shifts(program, angles)
    n_rows = sum(2 * gate.kind.n_angles for gate in program.gates())
    assert found.angles.shape == (2, n_rows, program.n_slots)
    values = jax.vmap(jax.vmap(lambda a: expectations(program, a)))(jnp.asarray(found.angles))
    measured = np.einsum("bkr,bro->bok", found.weights, values)
    exact = jax.vmap(jax.jacrev(lambda a: expectations(program, a)))(jnp.asarray(angles))
    np.testing.assert_allclose(measured, exact, atol=1e-10)
    return found, values, exact


@settings(max_examples=2, deadline=None, derandomize=True)
@given(programs(max_qubits=3), st.integers(0, 2**32 - 1))
def test_random_circuits(program, seed):
    check(program, seed)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(programs(max_qubits=4), st.integers(0, 2**32 - 1))
def test_many_random_circuits(program, seed):
    check(program, seed)
