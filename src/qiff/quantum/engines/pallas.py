"""Kernels for GPUs: one circuit in every thread, its states in registers, written in Pallas.

The three kernels of `reverse`. The gradient is that of the adjoint method: gates are undone one
by one, so that two states are kept whatever the depth. The second kernel is its derivative along
a direction, gate by gate. Layers are a loop within the kernels.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..gate import Gate
from ..program import Program
from . import lanes
from .record import Engine
from .reverse import Columns, row_counts, twice_differentiable

MAX_QUBITS = 8
BLOCK = 32
"""Samples that an instance of a kernel simulates, one in each thread of a warp. Larger blocks would
leave most of a GPU idle where samples are few."""

Jet = tuple[Any, ...]
"""A tree of lanes; or two, the second being the derivative of the first along a direction."""
Rows = Sequence[Any]
"""References to the rows that jets are read from."""


def supports(program: Program) -> str | None:
    """Why the kernels cannot simulate a program, or None if they can."""
    if program.n_qubits > MAX_QUBITS:
        return f"it simulates at most {MAX_QUBITS} qubits, but the circuit has {program.n_qubits}"
    missing = {g.name for g in (*program.first, *program.layer) if not lanes.has_rule(g)}
    if missing:
        return f"it has no kernel for gate {', '.join(f'`{name}`' for name in sorted(missing))}"
    return None


def kernels(
    interpret: bool, name: str, program: Program, columns: Sequence[Columns]
) -> Sequence[Columns]:
    """See `reverse`. Columns are padded with zeros to whole blocks."""
    from jax.experimental import pallas
    from jax.experimental.pallas import triton

    n, dtype = columns[0].shape[1], columns[0].dtype
    n_blocks = max(1, -(-n // BLOCK))
    padded = [jnp.pad(rows, ((0, 0), (0, n_blocks * BLOCK - n))) for rows in columns]

    def block(n_rows: int) -> Any:
        return pallas.BlockSpec((n_rows, BLOCK), lambda i: (0, i))

    call = pallas.pallas_call(
        partial(BODIES[name], program),
        [jax.ShapeDtypeStruct((m, n_blocks * BLOCK), dtype) for m in row_counts(name, program)],
        grid=(n_blocks,),
        in_specs=[block(len(rows)) for rows in columns],
        out_specs=[block(n_rows) for n_rows in row_counts(name, program)],
        compiler_params=triton.CompilerParams(num_warps=BLOCK // 32),
        interpret=interpret,
        name=f"qiff_{name}",
    )
    return [rows[:, :n] for rows in call(*padded)]


def _value(program: Program, angles: Any, values: Any) -> None:
    (state,) = _forward(program, (angles,))
    _write(values, lanes.measured(program, state), range(len(program.observables)))


def _slope(program: Program, angles: Any, weights: Any, gradient: Any) -> None:
    _adjoint(program, (angles,), (weights,), None, gradient)


def _gradient(program: Program, angles: Any, weights: Any, values: Any, gradient: Any) -> None:
    _adjoint(program, (angles,), (weights,), values, gradient)


def _second(program: Program, angles: Any, weights: Any, direction: Any, shift: Any, *out: Any):
    _adjoint(program, (angles, direction), (weights, shift), *out)


BODIES = {"value": _value, "slope": _slope, "gradient": _gradient, "second": _second}
"""Of the kernels by name, as functions of references to rows of one block."""


def _adjoint(program: Program, angles: Rows, weights: Rows, values: Any, gradient: Any) -> None:
    """Write what is measured and its gradient, or their derivatives along a direction.

    `values` is None if only the gradient is asked for.
    """

    def undo(gate: Gate, offset: int | Array, states: Jet) -> Jet:
        n, part = _part(gate, _read(angles, gate.slots, offset))

        def step(carry: tuple[Jet, Jet]) -> tuple[Jet, Jet]:
            slopes, states = _split(_lifted(partial(lanes.returned, gate), part, carry[1]))
            return jax.tree.map(jnp.add, carry[0], slopes), states

        slopes, states = _repeat(n, step, (jax.tree.map(jnp.zeros_like, part), states))
        _write(gradient, [slope / n for slope in slopes[-1]], gate.slots, offset)
        return states

    factors = _read(weights, range(len(program.observables)))
    observe = partial(lanes.observed, program)
    found, states = _split(_lifted(observe, _forward(program, angles), factors))
    if values is not None:
        _write(values, found[-1], range(len(program.observables)))
    _through(program, undo, states, backwards=True)


def _forward(program: Program, angles: Rows) -> Jet:
    """The state after all gates."""

    def apply(gate: Gate, offset: int | Array, state: Jet) -> Jet:
        n, part = _part(gate, _read(angles, gate.slots, offset))
        return _repeat(n, lambda state: _lifted(partial(lanes.turned, gate), part, state), state)

    begin = lanes.start(program, jnp.zeros(BLOCK, angles[0].dtype))
    nothing = jax.tree.map(jnp.zeros_like, begin)
    return _through(program, apply, (begin, nothing)[: len(angles)])


def _through(
    program: Program, step: Callable[[Gate, Any, Jet], Jet], carry: Jet, backwards: bool = False
) -> Jet:
    """Call `step` with every gate and the place of the first slot of its part of the program."""

    def each(gates: Sequence[Gate], offset: int | Array, carry: Jet) -> Jet:
        for gate in gates[::-1] if backwards else gates:
            carry = step(gate, offset, carry)
        return carry

    def layer(k: Array, carry: Jet) -> Jet:
        k = program.n_layers - 1 - k if backwards else k
        return each(program.layer, program.n_first_slots + program.n_layer_slots * k, carry)

    if not backwards:
        carry = each(program.first, 0, carry)
    carry = jax.lax.fori_loop(np.int32(0), np.int32(program.n_layers), layer, carry)
    return each(program.first, 0, carry) if backwards else carry


def _part(gate: Gate, angles: Jet) -> tuple[Any, Jet]:
    """How often a gate acts, and the part of its angles that it then acts with."""
    n_parts = lanes.rule(gate).n_parts
    if n_parts is None:
        return 1, angles
    n = n_parts(angles[0])
    return n, jax.tree.map(lambda angle: angle / n, angles)


def _repeat(n: int | Array, step: Callable[[Any], Any], carry: Any) -> Any:
    if isinstance(n, int):
        return step(carry)
    return jax.lax.fori_loop(np.int32(0), n, lambda _, carry: step(carry), carry)


def _lifted(function: Callable, *jets: Jet) -> Jet:
    """A function of trees as one of jets."""
    primals, *tangents = zip(*jets, strict=True)
    if not tangents:
        return (function(*primals),)
    (slopes,) = tangents
    return jax.jvp(function, primals, slopes)


def _split(jet: Jet) -> tuple[Jet, Jet]:
    """A jet of pairs as two jets."""
    first, second = zip(*jet, strict=True)
    return first, second


def _read(rows: Rows, slots: Sequence[int], offset: int | Array = 0) -> Jet:
    return tuple([row[offset + slot, :] for slot in slots] for row in rows)


def _write(rows: Any, found: Sequence[Array], slots: Sequence[int], offset: int | Array = 0):
    for slot, lane in zip(slots, found, strict=True):
        rows[offset + slot, :] = lane


def engine(name: str, interpret: bool = False) -> Engine:
    """The engine on a GPU; or its kernels as ordinary operations of JAX, on every platform."""
    return Engine(
        name,
        twice_differentiable(partial(kernels, interpret)),
        platforms=() if interpret else ("gpu",),
        supports=supports,
        automatic=False,
    )


ENGINE = engine("pallas")
INTERPRETED = engine("pallas:interpret", interpret=True)
