"""The reference engine: plain JAX operations on one state vector, `scan` over layers."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from ..._types import Angles, Expectations, Qubits, StateVector
from ..gate import GATES, Gate
from ..observable import PauliSum
from ..program import Program
from .record import Engine


def expectations(program: Program, angles: Angles) -> Expectations:
    """See `qiff.quantum.engine.expectations`."""
    first, layers = jnp.split(angles, [program.n_first_slots])
    layers = layers.reshape(program.n_layers, program.n_layer_slots)
    start = jnp.asarray(program.state.vector(), jnp.result_type(angles, jnp.complex64))

    def layer(state: StateVector, angles: Float[Array, " n_slots"]) -> tuple[StateVector, None]:
        return run(program.layer, angles, state), None

    state, _ = jax.lax.scan(layer, run(program.first, first, start), layers)
    return jnp.stack([expectation(observable, state) for observable in program.observables])


def run(
    gates: tuple[Gate, ...], angles: Float[Array, " n_slots"], state: StateVector
) -> StateVector:
    """Apply gates in order. The matrices of all gates of a kind are computed together."""
    matrices = {
        name: iter(jax.vmap(kind.matrix)(angles[slots]))
        for name, kind in GATES.items()
        if len(slots := np.array([gate.slots for gate in gates if gate.name == name], int))
    }
    for gate in gates:
        state = apply(next(matrices[gate.name]), gate.qubits, state)
    return state


def apply(matrix: Complex[Array, "size size"], qubits: Qubits, state: StateVector) -> StateVector:
    """Apply a matrix to some qubits of a state, viewed as a tensor of rank at most 2k + 1.

    Product and sum over the matrix row are left to XLA to fuse: on a CPU this compiles and runs
    about twice as fast as a batch of tiny matrix products.
    """
    order, k, n_qubits = sorted(qubits), len(qubits), state.size.bit_length() - 1
    gaps = np.diff([-1, *order, n_qubits]) - 1
    shape = [size for gap in gaps[:-1] for size in (2**gap, 2)] + [2 ** gaps[-1]]
    axes = [2 * order.index(q) + 1 for q in qubits]
    front = jnp.moveaxis(state.reshape(shape), axes, list(range(k)))
    columns = front.reshape(2**k, -1)
    moved = (matrix[:, :, None] * columns[None]).sum(1)
    return jnp.moveaxis(moved.reshape(front.shape), list(range(k)), axes).reshape(-1)


def expectation(observable: PauliSum, state: StateVector) -> Float[Array, ""]:
    r"""$\langle\psi|O|\psi\rangle$."""
    index = np.arange(state.size)
    terms = (
        jnp.vdot(state, factors.astype(state.dtype) * state[index ^ mask]).real
        for mask, factors in observable.diagonals().items()
        if np.any(factors)
    )
    return sum(terms, jnp.zeros((), state.real.dtype))


MAX_QUBITS = 27
"""State vectors of more qubits, several for each derivative, do not fit in the usual memory."""


def supports(program: Program) -> str | None:
    """Why a program cannot be simulated, or None if it can."""
    if program.n_qubits > MAX_QUBITS:
        return f"it simulates at most {MAX_QUBITS} qubits, but the circuit has {program.n_qubits}"
    return None


ENGINE = Engine(
    "xla", expectations, supports=supports, details=lambda: f"on {jax.default_backend()}"
)
