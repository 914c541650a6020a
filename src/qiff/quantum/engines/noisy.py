"""Circuits with noise: a density matrix, with a channel after every gate on two qubits.

A potential whose circuits have this engine, `with_engine(potential, noisy(errors))`, is trained,
predicted and differentiated like every other: on what a noisy device would measure. It is no entry
of `ENGINES`: a model file names the device that it was trained for in no way.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from ..._types import Angles, Expectations, Pair
from ..gate import GATES, Gate
from ..observable import PauliSum
from ..program import Program
from .record import Engine
from .xla import apply

MAX_QUBITS = 12
Channels = Mapping[str, Any]
"""The matrix of a channel by the qubits of a gate, see `label`."""


class Errors(NamedTuple):
    """Chances of errors after a gate on two qubits.

    Args:
        depolarising: that both qubits become fully mixed.
        damping: that a qubit in 1 decays to 0.
        dephasing: that a qubit loses its phase.
    """

    depolarising: float = 0.0
    damping: float = 0.0
    dephasing: float = 0.0

    def channel(self) -> Float[np.ndarray, "16 16"]:
        r"""The matrix of the channel on $\rho_{ab,a'b'}$ as a vector."""
        keep, decay = np.diag([1.0, np.sqrt(1 - self.damping)]), np.zeros((2, 2))
        decay[0, 1] = np.sqrt(self.damping)
        one = np.kron(keep, keep) + np.kron(decay, decay)
        one = np.diag([1.0, 1 - self.dephasing, 1 - self.dephasing, 1.0]) @ one
        tensor = one.reshape(2, 2, 2, 2)
        both = np.einsum("abcd,efgh->aebfcgdh", tensor, tensor).reshape(16, 16)
        unit = np.eye(4).ravel()
        mixed = np.outer(unit, unit) / 4
        return ((1 - self.depolarising) * np.eye(16) + self.depolarising * mixed) @ both


def label(pair: Pair) -> str:
    """The name of a pair of qubits, in any order."""
    return "-".join(map(str, sorted(pair)))


def channels(errors: Mapping[Pair, Errors]) -> dict[str, Float[np.ndarray, "16 16"]]:
    """The channel after the gates on each pair of qubits."""
    return {label(pair): of.channel() for pair, of in errors.items()}


def noisy(errors: Mapping[Pair, Errors]) -> Engine:
    """The engine of circuits with errors after gates on two qubits.

    Args:
        errors: of the gates on each pair of qubits; others have none.
    """
    return Engine("noisy", partial(expectations, channels(errors)), supports=_supports)


def _supports(program: Program) -> str | None:
    if program.n_qubits > MAX_QUBITS:
        return f"it simulates at most {MAX_QUBITS} qubits, but the circuit has {program.n_qubits}"
    return None


def expectations(channels: Channels, program: Program, angles: Angles) -> Expectations:
    """Expectation values of a program with a channel after each gate on two qubits."""
    vector = program.state.vector()
    start = jnp.asarray(np.outer(vector, vector.conj()).ravel(), _complex(angles))
    first, layers = jnp.split(angles, [program.n_first_slots])
    layers = layers.reshape(program.n_layers, program.n_layer_slots)

    def layer(rho: Array, angles: Array) -> tuple[Array, None]:
        return _run(channels, program.layer, angles, rho), None

    rho, _ = jax.lax.scan(layer, _run(channels, program.first, first, start), layers)
    rho = rho.reshape(len(vector), len(vector))
    return jnp.stack([_trace(observable, rho) for observable in program.observables])


def _run(channels: Channels, gates: tuple[Gate, ...], angles: Array, rho: Array) -> Array:
    n_qubits = (rho.size.bit_length() - 1) // 2
    for gate in gates:
        matrix = GATES[gate.name].matrix(angles[np.array(gate.slots, int)])
        columns = tuple(q + n_qubits for q in gate.qubits)
        rho = apply(matrix.conj(), columns, apply(matrix, gate.qubits, rho))
        name = label(gate.qubits) if len(gate.qubits) == 2 else ""
        if name in channels:
            rho = apply(jnp.asarray(channels[name], rho.dtype), (*gate.qubits, *columns), rho)
    return rho


def _trace(observable: PauliSum, rho: Complex[Array, "dim dim"]) -> Float[Array, ""]:
    index = np.arange(len(rho))
    terms = (
        (factors.astype(rho.dtype) * rho[index ^ mask, index]).sum().real
        for mask, factors in observable.diagonals().items()
        if np.any(factors)
    )
    return sum(terms, jnp.zeros((), rho.real.dtype))


def _complex(angles: Array) -> jnp.dtype:
    return jnp.result_type(angles, jnp.complex64)
