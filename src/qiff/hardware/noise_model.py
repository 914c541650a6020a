"""The noise of a device as chances of errors after gates, learned from measured circuits."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._checks import check_at_least
from .._precision import enable_x64
from .._types import Pair, Qubits
from ..quantum.engines.noisy import Errors, channels, expectations
from ..quantum.program import Program
from .measure import Laboratory

START = Errors(0.04, 0.01, 0.01)
"""Where the fit begins, $p_0$."""
PULL = 1e-2
r"""$\eta$."""


def learn_errors(
    laboratory: Laboratory,
    program: Program,
    angles: Float[np.ndarray, "n_rows n_slots"],
    open_slots: Qubits,
    shots: int,
) -> dict[Pair, Errors]:
    r"""Chances of errors after the gates on each pair of qubits, from measured circuits.

    $$ \min_p \sum_{ro} \left(f_{ro} - o_{ro}(p)\right)^2 + \eta^2 |p - p_0|^2 $$

    with the measured expectation values $f$ and those of a simulation with errors, $o(p)$. The last
    term is small, and decides on errors that no circuit shows.

    Args:
        laboratory: measures; errors of the readout are to be corrected, gates not folded.
        program: gates and observables.
        angles: of circuits like those that are to be measured later.
        open_slots: angles that differ between circuits.
        shots: of each circuit.

    Returns:
        The errors by pair of qubits, for `quantum.engines.noisy.noisy`.
    """
    from scipy.optimize import least_squares

    check_at_least("shots", shots, 2)
    shared = laboratory.shared(program, np.full(len(angles), shots))
    measured = laboratory.measure(program, angles, shared, open_slots).values
    on_two = [gate.qubits for gate in program.gates() if len(gate.qubits) == 2]
    pairs: list[Pair] = sorted({(min(qubits), max(qubits)) for qubits in on_two})
    simulate = jax.jit(
        lambda of, angles: jax.vmap(lambda row: expectations(of, program, row))(angles)
    )

    def errors(chances: np.ndarray) -> dict[Pair, Errors]:
        return {
            pair: Errors(*map(float, row))
            for pair, row in zip(pairs, chances.reshape(-1, 3), strict=True)
        }

    def off(chances: np.ndarray) -> np.ndarray:
        found = simulate(channels(errors(chances)), jnp.asarray(angles))
        pull = PULL * (chances - np.tile(START, len(pairs)))
        return np.concatenate([(np.asarray(found) - measured).ravel(), pull])

    with enable_x64(True):
        found = least_squares(off, np.tile(START, len(pairs)), bounds=(0, 1), diff_step=1e-3)
    return errors(found.x)
