"""The native engine: C++ kernels called by XLA, many circuits side by side in vector lanes.

The kernels compute expectation values, their gradient by the adjoint method, and the gradient
of a directional derivative: enough for energies, forces and the gradient of a loss on forces.
They keep a fixed number of states whatever the depth of the circuit.
"""

import ctypes
import math
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...._types import Angles, Expectations
from ...gate import Gate
from ...program import Program

LIBRARY = "libqiff_kernels.so"
GATES = {"spin": 0, "rx": 1, "ry": 2, "rz": 3, "mirror": 4, "exchange": 5, "quadrupole": 6}
"""Codes of the gates that the kernels know by their own names; see `kernels.hpp`."""
_HADAMARD, _CONTROLLED_Z = 7, 8

Outputs = tuple[Float[Array, " n_observables"], Float[Array, " n_slots"]]


@cache
def unavailable() -> str | None:
    """Why the engine cannot be used here, or None if it can."""
    try:
        _library()
    except (OSError, RuntimeError) as error:
        return str(error)
    return None


@cache
def _library() -> ctypes.CDLL:
    """The kernels, registered with XLA."""
    found = [path for folder in __path__ if (path := Path(folder) / LIBRARY).exists()]
    if not found:
        raise OSError("its kernels were not built at installation, which needs a C++17 compiler")
    library = ctypes.CDLL(str(found[0]))
    for name in ("value", "gradient", "second"):
        handler = jax.ffi.pycapsule(getattr(library, f"qiff_{name}"))
        jax.ffi.register_ffi_target(f"qiff_{name}", handler, platform="cpu")
    library.qiff_instructions.restype = ctypes.c_char_p
    return library


def multiply_add(dtype: str, n_interactions: int) -> float:
    """Do nothing but multiply and add; returns the number of floating-point operations.

    Its time is what the machine can do: the roof under which kernels are judged.
    """
    function = _library().qiff_multiply_add
    function.restype, function.argtypes = ctypes.c_double, (ctypes.c_bool, ctypes.c_int64)
    return function(dtype == "float64", n_interactions)


def instructions() -> str:
    """The vector instructions in use."""
    return _library().qiff_instructions().decode()


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def expectations(program: Program, angles: Angles) -> Expectations:
    """See `qiff.quantum.engine.expectations`."""
    (values,) = _kernel("value", program)(angles)
    return values


def _expectations_forward(program: Program, angles: Angles) -> tuple[Expectations, Array]:
    """The gradient of a single observable costs less together with its value than later."""
    if len(program.observables) > 1:
        return expectations(program, angles), angles
    return value_and_gradient(program, angles, jnp.ones(1, angles.dtype))


def _expectations_backward(program: Program, saved: Array, cotangent: Array) -> tuple[Array]:
    if len(program.observables) > 1:
        outputs: Any = value_and_gradient(program, saved, cotangent)
        return (outputs[1],)
    return (cotangent * saved,)


expectations.defvjp(_expectations_forward, _expectations_backward)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def value_and_gradient(
    program: Program, angles: Angles, weights: Float[Array, " n_observables"]
) -> Outputs:
    r"""$f_k = \langle O_k \rangle$ and the gradient of $\sum_k w_k f_k$ in the angles."""
    values, gradient = _kernel("gradient", program)(angles, weights)
    return values, gradient


def _gradient_forward(program: Program, angles: Angles, weights: Array) -> tuple[Outputs, Outputs]:
    return value_and_gradient(program, angles, weights), (angles, weights)


def _gradient_backward(program: Program, saved: Outputs, cotangents: Outputs) -> Outputs:
    r"""The derivative of $\sum_k s_k f_k + u\cdot\nabla \sum_k w_k f_k$ in angles and weights."""
    angles, weights = saved
    shift, direction = cotangents
    values, gradient = _kernel("second", program)(angles, weights, direction, shift)
    return gradient, values


value_and_gradient.defvjp(_gradient_forward, _gradient_backward)


@cache
def _kernel(name: str, program: Program) -> Callable[..., tuple[Array, ...]]:
    """A kernel as a function of vectors; any number of `vmap`s make one call of it."""
    _library()
    sizes = [len(program.observables), program.n_slots][: 1 if name == "value" else 2]
    words, coefficients = encode(program)

    @jax.custom_batching.custom_vmap
    def kernel(*vectors: Float[Array, "*batch n"]) -> tuple[Float[Array, "*batch m"], ...]:
        *batch, _ = vectors[0].shape
        n = math.prod(batch)
        columns = [vector.reshape(n, vector.shape[-1]).T for vector in vectors]
        shapes = [jax.ShapeDtypeStruct((size, n), vectors[0].dtype) for size in sizes]
        call = jax.ffi.ffi_call(f"qiff_{name}", shapes)
        rows = call(*columns, program=words, coefficients=coefficients)
        return tuple(row.T.reshape(*batch, size) for row, size in zip(rows, sizes, strict=True))

    @kernel.def_vmap
    def _(axis_size: int, batched: list[bool], *vectors: Array):
        together = [
            vector if has_axis else jnp.broadcast_to(vector, (axis_size, *vector.shape))
            for vector, has_axis in zip(vectors, batched, strict=True)
        ]
        return kernel(*together), tuple(True for _ in sizes)

    return kernel


def encode(program: Program) -> tuple[np.ndarray, np.ndarray]:
    """The program as the kernels read it, bits counted from the right; see handlers.cpp."""
    top = program.n_qubits - 1
    pairs = [[top - a, top - b] for a, b in program.state.pairs]
    gates = [row for gate in program.gates() for row in _rows(gate, top)]
    terms, coefficients = [], []
    for k, observable in enumerate(program.observables):
        for coefficient, word in observable.terms:
            flip, phase = (
                int("".join("01"[letter in letters] for letter in word), 2)
                for letters in ("XY", "YZ")
            )
            terms.append([k, flip, phase, word.count("Y")])
            coefficients.append(coefficient)
    sizes = [program.n_qubits, *map(len, (pairs, gates, terms, program.observables))]
    numbers = [*sizes, *(n for part in (pairs, gates, terms) for row in part for n in row)]
    return np.array(numbers, np.int32), np.array(coefficients, np.float64)


def _rows(gate: Gate, top: int) -> Iterator[list[int]]:
    """Code, bits and slot of the gates that make up a gate."""
    first, last = top - gate.qubits[0], top - gate.qubits[-1]
    hadamard = [_HADAMARD, last, 0, 0]
    inner = [GATES.get(gate.name, _CONTROLLED_Z), first, last, gate.slot]
    yield from [hadamard, inner, hadamard] if gate.name in ("mirror", "cnot") else [inner]
