"""Kernels for GPUs: on a CPU, as ordinary operations, against other engines; lowered for CUDA."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qiff._checks import InputError
from qiff._precision import enable_x64
from qiff.atoms.frames import Frames
from qiff.atoms.graph import graph
from qiff.model.build import build
from qiff.quantum import engine
from qiff.quantum.circuit import circuits_of, with_engine
from qiff.quantum.engines import lanes, native, pallas
from qiff.quantum.gate import GATES, Gate
from qiff.quantum.mirror import with_mirror_image
from qiff.quantum.observable import mean_z
from qiff.quantum.program import Program
from qiff.quantum.state import Singlets
from qiff.training.loss import Loss

from .examples import POTENTIAL_EXAMPLES, scattered
from .test_engines import (
    QUICKLY,
    all_orders,
    assert_close,
    every_gate,
    needs_native,
    new_gates,
    quickly_compiled,
    random_angles,
)

__all__ = ["new_gates"]  # a fixture

INTERPRETED = pallas.INTERPRETED.name
LARGEST = 4  # qubits
TOLERANCES = {"float64": 1e-12, "float32": 1e-5}
every_kernel = pytest.mark.parametrize(
    ("kernel", "dtype"),
    [
        pytest.param(*both, marks=[pytest.mark.slow] * (both != ("value", "float32")))
        for both in product(pallas.BODIES, TOLERANCES)
    ],
)


def layered(n_qubits: int, names: tuple[str, ...], n_layers: int = 2) -> Program:
    """The same gates first and in every layer."""
    program = every_gate(n_qubits, names)
    return replace(program, layer=program.first, n_layers=n_layers)


def columns(program: Program, kernel: str, dtype: str, n_samples: int) -> list[jax.Array]:
    """What a kernel reads; angles of every size, of quadrupoles beyond one part too."""
    rng = np.random.default_rng(0)
    angles = np.clip(random_angles(program, n_samples, 0).T, -9, 9)
    n_observables = len(program.observables)
    weights, shift = rng.normal(size=(2, n_observables, n_samples))
    direction = rng.normal(size=angles.shape)
    n_read = {"value": 1, "slope": 2, "gradient": 2, "second": 4}[kernel]
    return [jnp.asarray(x, dtype) for x in (angles, weights, direction, shift)[:n_read]]


def compiled(kernel: str, program: Program) -> Callable:
    """A kernel as ordinary operations, compiled in little time."""
    return quickly(lambda *read: pallas.kernels(True, kernel, program, read))


quickly = partial(jax.jit, compiler_options=QUICKLY)


def check(kernel: str, program: Program, dtype: str, n_samples: int = 5) -> None:
    """A kernel against that of the native engine in double precision."""
    with enable_x64(True):
        read = columns(program, kernel, dtype, n_samples)
        found = compiled(kernel, program)(*read)
        exact = [x.astype("float64") for x in read]
        wanted = native.kernels(kernel, program, exact)
        for allowed, a, b in zip((1, 30), found, wanted, strict=False):
            assert a.dtype == dtype
            assert_close(a, b, TOLERANCES[dtype] * allowed * (10 if kernel == "second" else 1))


@needs_native
@every_kernel
def test_every_gate_is_that_of_the_native_engine(kernel, dtype):
    """More samples than a block, so that the last block is padded."""
    check(kernel, layered(2, tuple(GATES)), dtype, n_samples=pallas.BLOCK + 3)


@needs_native
def test_control_a_gate_with_a_wrong_angle_is_seen(monkeypatch):
    right = lanes.RULES["exchange"]
    wrong = lambda angles: right.functions([2 * a for a in angles])
    program = every_gate(2, ("spin", "exchange"))
    check("value", program, "float32")
    monkeypatch.setitem(lanes.RULES, "exchange", right._replace(functions=wrong))
    with pytest.raises(AssertionError):
        check("value", program, "float32")


@pytest.mark.slow
@needs_native
def test_all_derivatives_in_reverse_mode_are_those_of_xla():
    program = layered(2, ("spin", "exchange", "quadrupole"), n_layers=1)
    with enable_x64(True):
        at = jnp.asarray(random_angles(program, 3, 0))
        found, wanted = (
            quickly_compiled(all_orders(program, name, 0))(at) for name in (INTERPRETED, "xla")
        )
        for allowed, a, b in zip((1, 10, 30), found, wanted, strict=True):
            assert_close(a, b, 1e-12 * allowed)


def programs() -> list[Program]:
    """Of all potentials, each once."""
    examples = [example for found in POTENTIAL_EXAMPLES.values() for example in found]
    circuits = [circuit for example in examples for circuit in circuits_of(example.fresh())]
    return list(dict.fromkeys(circuit.program for circuit in circuits))


@pytest.mark.slow
@needs_native
def test_circuits_of_potentials_agree():
    """Those of few qubits: unrolled, the others take gigabytes to compile for a CPU."""
    found = [program for program in programs() if program.n_qubits <= LARGEST]
    assert {program.n_qubits for program in found} >= {3, LARGEST}
    for program in found:
        check("value", program, "float64")
        if program.n_qubits < LARGEST:
            check("gradient", program, "float64")


@pytest.mark.slow
@needs_native
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_the_gradient_of_a_loss_on_forces_agrees(dtype):
    """Through the mirror images of the circuits of a local potential."""
    config = {"kind": "local", "elements": ["H"], "n_qubits": 2, "n_layers": 1, "n_basis": 2}
    with enable_x64(dtype == "float64"):
        potential = build(config | {"n_circuits": 1}, jax.random.key(0))
        seen = graph([scattered("HHH")], dtype, potential.cutoff)
        labels = {"energy": np.ones(1, dtype), "forces": np.ones((1, 3, 3), dtype)}
        slope = jax.value_and_grad(Loss({"energy": 1.0, "forces": 1.0}))
        found, wanted = (
            quickly(slope)(with_engine(potential, name), Frames(seen, labels))
            for name in (INTERPRETED, "native")
        )
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert a.dtype == dtype
        assert_close(a, b, 30 * TOLERANCES[dtype])
    exchanges = jax.tree.leaves(found)[-1]
    assert np.abs(exchanges).max() > 1e-6  # control: circuits count


@pytest.mark.slow
@needs_native
def test_mirror_images_agree():
    program = layered(2, ("spin", "exchange"))
    with enable_x64(True):
        at = jnp.asarray(random_angles(program, 1, 0)[0])
        found, wanted = (
            with_mirror_image(replace(program, observables=program.observables[1:]), at, engine=e)
            for e in (INTERPRETED, "native")
        )
        assert_close(found, wanted, 1e-12)


@every_kernel
def test_kernels_are_lowered_for_cuda_without_a_gpu(kernel, dtype):
    """To Triton: an operation that it does not have is an error. Nothing is compiled."""
    with enable_x64(dtype == "float64"):
        assert "xla.gpu.triton" in lowered(kernel, layered(2, tuple(GATES), 1), dtype)


def lowered(kernel: str, program: Program, dtype: str) -> str:
    run = jax.jit(lambda *read: pallas.kernels(False, kernel, program, read))
    traced = run.trace(*columns(program, kernel, dtype, 5))
    return traced.lower(lowering_platforms=("cuda",)).as_text()


def test_control_an_operation_that_triton_does_not_have_is_seen(monkeypatch):
    right = lanes.RULES["exchange"]
    wrong = right._replace(functions=lambda angles: right.functions([jnp.sort(angles[0])]))
    monkeypatch.setitem(lanes.RULES, "exchange", wrong)
    with pytest.raises(Exception, match="sort"):
        lowered("value", every_gate(2, ("exchange",)), "float32")


def test_without_a_gpu_it_is_refused_and_auto_does_not_choose_it():
    with pytest.raises(InputError, match="it runs on gpu, but JAX runs on cpu; use `"):
        engine.choose("pallas")
    assert engine.choose(INTERPRETED).name == INTERPRETED
    large = Program(Singlets(27, ()), (Gate("rx", (0,), 0),), (), 0, (mean_z(27),))
    assert engine.choose("auto", large).name == "xla"


def test_auto_never_chooses_it(monkeypatch):
    for name in ("native", "xla"):
        busy = replace(engine.ENGINES[name], unavailable=lambda: "it is busy")
        monkeypatch.setitem(engine.ENGINES, name, busy)
    with pytest.raises(InputError, match=r"used: `native`: it is busy; `xla`: it is busy\."):
        engine.choose()


def test_circuits_that_it_cannot_simulate_are_refused(new_gates):
    large = Program(Singlets(9, ()), (Gate("rx", (0,), 0),), (), 0, (mean_z(9),))
    with pytest.raises(InputError, match="at most 8 qubits, but the circuit has 9; use `"):
        engine.choose(INTERPRETED, large)
    phase = Program(Singlets(2, ()), (Gate("phase", (0,), 0),), (), 0, (mean_z(2),))
    with pytest.raises(InputError, match="no kernel for gate `phase`; use `xla`"):
        engine.choose(INTERPRETED, phase)
