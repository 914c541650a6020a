"""Shift rules: derivatives from the values of circuits alone, for every gate with angles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qiff._checks import InputError
from qiff.quantum.engine import expectations
from qiff.quantum.gate import GATES, GateKind
from qiff.quantum.shift import rule_of, shifts
from qiff.quantum.unitary import unitaries

from .test_engines import programs, random_angles

WITH_ANGLES = [name for name in GATES if GATES[name].n_angles]


@pytest.mark.parametrize("name", GATES)
def test_matrices_in_numpy_are_those_of_the_gates(name):
    angles = np.random.default_rng(0).normal(size=(3, GATES[name].n_angles))
    wanted = jax.vmap(GATES[name].matrix)(jnp.asarray(angles))
    found = unitaries(name, angles)
    np.testing.assert_allclose(found, wanted, atol=1e-13)


@pytest.mark.parametrize("size", [0, 1e-9, 6])
@pytest.mark.parametrize("name", WITH_ANGLES)
def test_shifted_gate_is_half_the_gate_an_eighth_turn_and_the_other_half(name, size):
    rule, angles = rule_of(name), size * np.random.default_rng(1).normal(size=GATES[name].n_angles)
    matrix = lambda at: np.asarray(GATES[name].matrix(jnp.asarray(at)))
    half = matrix(angles / 2)
    for direction, both in zip(rule.directions, rule.shifted(angles), strict=True):
        eighth = np.linalg.eigvals(matrix(4 * direction))  # exp(-iπB) for B² = 1, up to a phase
        np.testing.assert_allclose(eighth, eighth[0], atol=1e-12)
        for sign, found in zip((1, -1), both, strict=True):
            wanted = half @ matrix(sign * direction) @ half
            overlap = np.trace(wanted.conj().T @ matrix(found)) / len(wanted)
            assert abs(abs(overlap) - 1) < 1e-13


@pytest.mark.parametrize(
    ("generators", "message"),
    [
        (np.diag([0, 1, 1, 3])[None], "must have 2 different eigenvalues .*, but has 3"),
        (np.stack([np.diag([0, 1, 0, 0])] * 2), "has 2 angles: add its shift rule to RULES"),
        (None, "give `generators` in GATES"),
    ],
)
def test_a_gate_from_which_no_rule_follows_is_an_error(generators, message, monkeypatch):
    n_angles = 1 if generators is None else len(generators)
    kind = GateKind(2, n_angles, lambda a: jnp.eye(4), generators=generators)
    monkeypatch.setitem(GATES, "new", kind)
    with pytest.raises(InputError, match=message):
        rule_of("new")


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
