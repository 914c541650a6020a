"""Checks that the record of a gate agrees with itself: matrix, generators and shift rule."""

import jax
import jax.numpy as jnp
import numpy as np

from .._precision import enable_x64
from .engine import expectations
from .gate import GATES, Gate
from .observable import PauliSum
from .program import Program
from .shift import shifts
from .state import Singlets
from .unitary import unitaries


def check_gate(name: str) -> None:
    r"""Check that the record of a registered gate agrees with itself.

    Its matrix is unitary and equals $\exp(-i\sum_k a_k G_k)$ of its generators, and its shift rule
    gives the derivative of an expectation value; to 1e-12 in float64, at random angles and at zero.

    Args:
        name: a key of `GATES`.

    Raises:
        AssertionError: naming the gate and what does not agree.
        InputError: the gate has no generators, or no shift rule follows from them.
    """
    kind, rng = GATES[name], np.random.default_rng(0)
    for angles in (rng.normal(size=(1, kind.n_angles)), np.zeros((1, kind.n_angles))):
        with enable_x64(True):
            matrix = np.asarray(kind.matrix(jnp.asarray(angles[0])))
        apart = np.abs(matrix - unitaries(name, angles)[0]).max()
        assert apart < 1e-12, f"`{name}`: the matrix is not that of its generators, by {apart:.2g}."
        if kind.n_angles:
            found, expected = _slopes(name, angles[0])
            wrong = np.abs(found - expected).max()
            assert wrong < 1e-12, f"`{name}`: the shift rule is not the derivative, by {wrong:.2g}."


def _slopes(name: str, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of an expectation value by the shift rule and by differentiation."""
    kind, n = GATES[name], max(2, GATES[name].n_qubits)
    spins = tuple(Gate("spin", (q,), 3 * q) for q in range(n))
    observable = PauliSum(((0.7, "X" * n), (0.4, "Z" + "Y" * (n - 1)), (0.3, "Y" + "I" * (n - 1))))
    gates = (*spins, Gate(name, tuple(range(kind.n_qubits)), 3 * n))
    program = Program(Singlets(n, ()), gates, (), 0, (observable,))
    at = np.concatenate([np.linspace(0.3, 1.9, 3 * n), angles])
    own = range(3 * n, program.n_slots)
    with enable_x64(True):
        value = lambda a: expectations(program, a, engine="xla")[0]
        expected = np.asarray(jax.grad(value)(jnp.asarray(at)))[own.start :]
        shifted = shifts(program, at[None], own)
        values = np.array([float(value(jnp.asarray(a))) for a in shifted.angles[0]])
    return shifted.weights[0][own.start :] @ values, expected
