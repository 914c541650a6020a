"""The native engine: C++ kernels called by XLA, many circuits side by side in vector lanes.

The kernels compute expectation values, their gradient by the adjoint method, and the gradient
of a directional derivative: enough for energies, forces and the gradient of a loss on forces.
They keep a fixed number of states whatever the depth of the circuit.
"""

import ctypes
from collections.abc import Iterator, Sequence
from enum import IntEnum
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Array

from ...._checks import InputError
from ...gate import Gate
from ...program import Program
from ..channels import Places
from ..record import Engine, Stack
from ..reverse import Columns, row_counts, twice_differentiable
from . import densities, products

LIBRARY = "libqiff_kernels.so"
HANDLERS = (
    *("value", "slope", "gradient", "second"),
    *("channels", "moments", "weights", "join", "divide"),
    *("density", "density_gradient", "density_second", "orthogonal"),
)
"""What XLA calls, without the prefix `qiff_`."""
MAX_QUBITS = 26


class Kernel(IntEnum):
    """Operations of the kernels on a state, with the codes of `Kind` in `kernels.hpp`."""

    SPIN = 0
    RX = 1
    RY = 2
    RZ = 3
    SIGNED_SPIN = 4
    EXCHANGE = 5
    QUADRUPOLE = 6
    HADAMARD = 7
    CONTROLLED_Z = 8


Step = tuple[Kernel, int, int]
"""A kernel and the places of its two qubits among those of the gate; equal if it acts on one."""

_HADAMARD_ON_LAST = (Kernel.HADAMARD, 1, 1)

GATES: dict[str, tuple[Step, ...]] = {
    "spin": ((Kernel.SPIN, 0, 0),),
    "rx": ((Kernel.RX, 0, 0),),
    "ry": ((Kernel.RY, 0, 0),),
    "rz": ((Kernel.RZ, 0, 0),),
    "exchange": ((Kernel.EXCHANGE, 0, 1),),
    "quadrupole": ((Kernel.QUADRUPOLE, 0, 1),),
    "cz": ((Kernel.CONTROLLED_Z, 0, 1),),
    "cnot": (_HADAMARD_ON_LAST, (Kernel.CONTROLLED_Z, 0, 1), _HADAMARD_ON_LAST),
    "mirror": (_HADAMARD_ON_LAST, (Kernel.SIGNED_SPIN, 0, 1), _HADAMARD_ON_LAST),
}
"""Gates that the engine simulates, each as a sequence of kernels that read its angles."""


def supports(program: Program) -> str | None:
    """Why the kernels cannot simulate a program, or None if they can."""
    if program.n_qubits > MAX_QUBITS:
        return f"it simulates at most {MAX_QUBITS} qubits, but the circuit has {program.n_qubits}"
    missing = {gate.name for gate in (*program.first, *program.layer)} - GATES.keys()
    if missing:
        return f"it has no kernel for gate {', '.join(f'`{name}`' for name in sorted(missing))}"
    return None


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
    inside = distribution("qiff").locate_file("/".join(__name__.split(".")))  # if editable
    places = (Path(str(folder)) / LIBRARY for folder in (*__path__, inside))
    found = [path for path in places if path.exists()]
    if not found:
        raise OSError("its kernels were not built at installation, which needs a C++17 compiler")
    library = ctypes.CDLL(str(found[0]))
    for name in HANDLERS:
        handler = jax.ffi.pycapsule(getattr(library, f"qiff_{name}"))
        jax.ffi.register_ffi_target(f"qiff_{name}", handler, platform="cpu")
    library.qiff_instructions.restype = ctypes.c_char_p
    return library


def multiply_add(dtype: str, n_rounds: int) -> float:
    """Multiply and add only; returns the number of floating-point operations.

    Its rate is the most that the machine reaches, the roof of a roofline diagram.
    """
    function = _library().qiff_multiply_add
    function.restype, function.argtypes = ctypes.c_double, (ctypes.c_bool, ctypes.c_int64)
    return function(dtype == "float64", n_rounds)


def instructions() -> str:
    """The vector instructions in use."""
    return _library().qiff_instructions().decode()


def channels(
    moments: Array, weights: Sequence[Array], groups: Array, places: Places
) -> list[Array]:
    """See `qiff.quantum.engines.channels.channels`."""
    _library()
    return products.channels(moments, weights, groups, places)


def moments(
    radial: densities.Radial, apart: Array, neighbours: Array, scalars: Array, vectors: Array
) -> Array:
    """See `qiff.quantum.engines.native.densities.moments`."""
    _library()
    return densities.moments(radial, apart, neighbours, scalars, vectors)


def orthogonal(vector: Array, stacks: Sequence[Stack], coefficients: Sequence[float]) -> Array:
    """See `qiff.training.optimisers`."""
    _library()
    result = jax.ShapeDtypeStruct(vector.shape, vector.dtype)
    call = jax.ffi.ffi_call("qiff_orthogonal", result, vmap_method="broadcast_all")
    places = np.array(stacks, np.int32).ravel()
    return call(vector, places=places, coefficients=np.array(coefficients, np.float64))


def kernels(name: str, program: Program, columns: Sequence[Columns]) -> Sequence[Columns]:
    """See `qiff.quantum.engines.reverse`."""
    _library()
    words, coefficients = encode(program)
    like = columns[0]
    shapes = [
        jax.ShapeDtypeStruct((n_rows, like.shape[1]), like.dtype)
        for n_rows in row_counts(name, program)
    ]
    call = jax.ffi.ffi_call(f"qiff_{name}", shapes)
    return call(*columns, program=words, coefficients=coefficients)


@cache
def encode(program: Program) -> tuple[np.ndarray, np.ndarray]:
    """The program as the kernels read it, bits counted from the right; see handlers.cpp.

    Raises:
        InputError: the kernels do not support it; see `supports`.
    """
    if reason := supports(program):
        raise InputError(f"The native engine cannot simulate this circuit: {reason}.")
    top = program.n_qubits - 1
    pairs = [[top - a, top - b] for a, b in program.state.pairs]
    gates = _without_pairs([row for gate in program.gates() for row in _rows(gate, top)])
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
    """Code, bits and slot of each kernel of a gate."""
    for kernel, first, other in GATES[gate.name]:
        yield [kernel, top - gate.qubits[first], top - gate.qubits[other], gate.slot]


def _without_pairs(rows: list[list[int]]) -> list[list[int]]:
    """The kernels without pairs of Hadamard gates that undo each other."""
    kept: dict[int, list[int]] = {}
    last: dict[int, int] = {}
    for index, row in enumerate(rows):
        kernel, bit, other, _ = row
        before = kept.get(last.get(bit, -1))
        if kernel == Kernel.HADAMARD and before is not None and before[:2] == row[:2]:
            del kept[last.pop(bit)]
            continue
        kept[index] = row
        last |= {bit: index, other: index}
    return list(kept.values())


ENGINE = Engine(
    "native",
    twice_differentiable(kernels),
    platforms=("cpu",),
    supports=supports,
    unavailable=unavailable,
    details=lambda: f"{instructions()} instructions",
    channels=channels,
    moments=moments,
    orthogonal=orthogonal,
    joins_mirror_images=True,
)
