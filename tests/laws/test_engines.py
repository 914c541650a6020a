"""Engines: one program, one answer, and exact first and second derivatives of it."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from qiff._checks import InputError
from qiff._precision import enable_x64
from qiff.quantum import engine
from qiff.quantum.circuit import Simulation
from qiff.quantum.engine import Engine
from qiff.quantum.engines import native
from qiff.quantum.gate import GATES, PAULIS, Gate, GateKind
from qiff.quantum.observable import PauliSum, mean_z, pair_exchange, vector
from qiff.quantum.program import Program
from qiff.quantum.state import Singlets
from qiff.quantum.symmetry import Rotations

needs_native = pytest.mark.skipif(
    native.unavailable() is not None, reason=f"native engine: {native.unavailable()}"
)
SIZES = (0.0, 1e-8, 0.3, 2.1, 4.5, 40.0)
HUGE = (1e3, 1e5)


@st.composite
def programs(draw, max_qubits: int = 6, names: Sequence[str] = tuple(sorted(GATES))) -> Program:
    """Random gates on random qubits, some in a repeated layer; random observables."""
    n = draw(st.integers(2, max_qubits))

    def gates(n_gates: int) -> tuple[Gate, ...]:
        found, slot = [], 0
        for _ in range(n_gates):
            name = draw(st.sampled_from(names))
            qubits = draw(st.permutations(range(n)))[: GATES[name].n_qubits]
            found.append(Gate(name, tuple(qubits), slot))
            slot += GATES[name].n_angles
        return tuple(found)

    words = st.text("IXYZ", min_size=n, max_size=n)
    terms = st.lists(st.tuples(st.floats(-2, 2), words), min_size=1, max_size=4)
    sums = draw(st.lists(terms, min_size=1, max_size=3))
    n_pairs = draw(st.integers(0, n // 2))
    order = draw(st.permutations(range(n)))
    pairs = tuple((order[2 * k], order[2 * k + 1]) for k in range(n_pairs))
    return Program(
        Singlets(n, pairs),
        gates(draw(st.integers(1, 4))),
        gates(draw(st.integers(0, 4))),
        draw(st.integers(0, 3)),
        (pair_exchange((0, 1), n), *(PauliSum(tuple(terms)) for terms in sums)),
    )


def random_angles(program: Program, batch: int, seed: int, sizes=SIZES) -> np.ndarray:
    """Angles of every size, zero and huge ones among them."""
    rng = np.random.default_rng(seed)
    size = rng.choice(sizes, size=(batch, program.n_slots))
    return size * rng.normal(size=(batch, program.n_slots))


def batched(function):
    return jax.jit(jax.vmap(function))


QUICKLY = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
"""Compiler options for functions that run once: compiling takes a third of the time."""


def quickly_compiled(function):
    return jax.jit(jax.vmap(function), compiler_options=QUICKLY)


def orders(program: Program, name: str, seed: int, transform=batched):
    """Values, gradient and second derivatives of a nonlinear function of the expectations."""
    weights, direction = coefficients(program, seed)

    def value(angles):
        return engine.expectations(program, angles, engine=name)

    def scalar(angles):
        return jnp.sin(value(angles)) @ jnp.asarray(weights, angles.dtype)

    def bent(angles):
        slope = jax.grad(scalar)(angles)
        return jnp.sum(slope**2) + slope @ jnp.asarray(direction, angles.dtype) + scalar(angles)

    return [transform(f) for f in (value, jax.grad(scalar), jax.grad(bent))]


def all_orders(program: Program, name: str, seed: int):
    """The same as one function, which is compiled once."""
    weights, direction = coefficients(program, seed)

    def scalar(angles):
        values = engine.expectations(program, angles, engine=name)
        return jnp.sin(values) @ jnp.asarray(weights, angles.dtype), values

    def bent(angles):
        (total, values), slope = jax.value_and_grad(scalar, has_aux=True)(angles)
        along = slope @ jnp.asarray(direction, angles.dtype)
        return jnp.sum(slope**2) + along + total, (values, slope)

    def together(angles):
        curved, (values, slope) = jax.grad(bent, has_aux=True)(angles)
        return values, slope, curved

    return together


def assert_close(found, expected, tolerance):
    """To the tolerance, relative to the largest entry where that is above one."""
    scale = max(1.0, np.abs(expected).max(initial=0.0))
    np.testing.assert_allclose(found / scale, expected / scale, atol=tolerance, rtol=0)


def check_engines_agree(
    program: Program, batch: int, seed: int, n_orders: int = 3, xla_in_double: bool = False
):
    """Native in both precisions against XLA in the same, or in double precision at the angles."""
    angles = random_angles(program, batch, seed)
    values = lambda a: (engine.expectations(program, a, engine="xla"),)
    reference = quickly_compiled(all_orders(program, "xla", seed) if n_orders > 1 else values)
    for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-5)):
        at = jnp.asarray(angles if dtype == "float64" else np.clip(angles, -9, 9), dtype)
        found = [f(at) for f in orders(program, "native", seed, quickly_compiled)[:n_orders]]
        expected = reference(at.astype("float64") if xla_in_double else at)
        # a derivative is a sum of many terms, whose rounding errors add up
        for allowed, a, b in zip((1, 10, 30)[:n_orders], found, expected, strict=True):
            assert a.dtype == dtype
            assert_close(a, b, tolerance * allowed)


native_programs = partial(programs, names=sorted(native.GATES))
BATCHES = st.sampled_from([1, 2, 7, 8, 19])
SEEDS = st.integers(0, 2**32 - 1)


@needs_native
@settings(max_examples=8, deadline=None, derandomize=True)
@given(native_programs(), BATCHES, SEEDS)
def test_engines_agree(program, batch, seed):
    check_engines_agree(program, batch, seed, n_orders=1)


@needs_native
@pytest.mark.slow
def test_engines_agree_in_all_derivatives():
    check_engines_agree(every_gate(2, tuple(native.GATES)), batch=9, seed=0)


@needs_native
@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(native_programs(max_qubits=7), BATCHES, SEEDS)
def test_engines_agree_on_many_circuits(program, batch, seed):
    check_engines_agree(program, batch, seed, xla_in_double=True)


@needs_native
@settings(max_examples=30, deadline=None, derandomize=True)
@given(native_programs(), BATCHES, SEEDS)
def test_derivatives_are_central_differences(program, batch, seed):
    """The first derivative is that of the value, the second that of a function of the first."""
    at = random_angles(program, batch, seed)
    value, slope, bent = orders(program, "native", seed, quickly_compiled)
    direction, step = np.random.default_rng(seed).normal(size=at.shape), 1e-4
    weights, push = coefficients(program, seed)

    def change(function):
        """By differences of fourth order."""
        near, far = (
            function(jnp.asarray(at + s * step * direction))
            - function(jnp.asarray(at - s * step * direction))
            for s in (1, 2)
        )
        return (8 * near - far) / (12 * step)

    first = change(lambda shifted: np.sin(value(shifted)) @ weights)
    np.testing.assert_allclose(np.sum(slope(at) * direction, 1), first, atol=3e-7, rtol=3e-7)

    def function(shifted):
        gradient = slope(shifted)
        return np.sum(gradient**2, 1) + gradient @ push + np.sin(value(shifted)) @ weights

    second = change(function)
    np.testing.assert_allclose(np.sum(bent(at) * direction, 1), second, atol=3e-6, rtol=3e-6)


def test_control_a_wrong_sign_is_seen():
    with pytest.raises(AssertionError):
        assert_close(np.array([1e-3]), np.array([-1e-3]), 1e-12)


def every_gate(
    n_qubits: int, names: Sequence[str] = (*native.GATES, *reversed(native.GATES))
) -> Program:
    """Gates on pairs of qubits that are near and far, up and down."""
    gates, slot = [], 0
    for k, name in enumerate(names):
        first = (n_qubits - 1 - k) % n_qubits
        qubits = (first, (first + 1 + k % (n_qubits - 1)) % n_qubits)
        gates.append(Gate(name, qubits[: GATES[name].n_qubits], slot))
        slot += GATES[name].n_angles
    word = "".join("XYZI"[q % 4] for q in range(n_qubits))
    observables = (
        PauliSum(((0.7, word), (0.3, word[::-1]))),
        pair_exchange((0, n_qubits - 1), n_qubits),
    )
    return Program(Singlets(n_qubits, ((0, n_qubits - 1),)), tuple(gates), (), 0, observables)


@needs_native
@pytest.mark.parametrize("size", HUGE)
def test_huge_angles_lose_no_more_digits_than_they_have(size):
    program = every_gate(3, ["spin", "mirror", "quadrupole", "exchange", "rx"])
    at = jnp.asarray(np.clip(random_angles(program, 9, 0, (size,)), -9e4, 9e4))
    found, expected = (orders(program, name, 0)[0](at) for name in ("native", "xla"))
    assert_close(found, expected, 1e-13 * size)


@needs_native
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e200])
def test_angles_that_are_not_finite_are_an_error(value):
    program = every_gate(3, ["spin", "exchange"])
    angles = np.zeros((5, program.n_slots))
    for order in orders(program, "native", 0):
        order(angles).block_until_ready()
    angles[3, 2] = value
    for order in orders(program, "native", 0):
        with pytest.raises(jax.errors.JaxRuntimeError, match="must be finite"):
            order(angles).block_until_ready()


def word(place: int, value: int):
    """A call with one of the numbers of its program replaced."""

    def change(call):
        places = np.arange(len(call["program"]))
        return call | {"program": np.where(places == place, value, call["program"])}

    return change


@needs_native
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda call: call | {"angles": np.zeros((7, 2))}, "wrong shape"),
        (lambda call: call | {"angles": np.zeros(6)}, "must be a matrix"),
        (lambda call: call | {"angles": np.zeros((6, 2), np.int32)}, "float32 or float64"),
        (lambda call: call | {"program": call["program"][:4]}, "too short"),
        (lambda call: call | {"program": call["program"][:-1]}, "wrong size"),
        (lambda call: call | {"coefficients": np.ones(1)}, "wrong size"),
        (lambda call: call | {"coefficients": np.full(3, np.nan)}, "coefficient is not finite"),
        (word(0, 99), "qubits"),
        (word(5, 77), "on no qubit"),
        (word(6, 1), "in two singlets"),
        (word(7, 77), "gate is unknown"),
        (word(8, 2), "on no qubit"),
        (word(10, -1), "has no slot"),
        (word(10, 2**31 - 1), "has no slot"),
        (word(14, 0), "two gates have one slot"),
        (word(15, 1), "has no observable"),
        (word(16, 4), "on no qubit"),
        (word(18, 1), "wrong number of Y"),
    ],
)
def test_a_wrong_call_of_a_kernel_is_an_error_and_no_crash(change, message):
    program = Program(
        Singlets(2, ((0, 1),)),
        (Gate("spin", (0,), 0), Gate("spin", (1,), 3)),
        (),
        0,
        (pair_exchange((0, 1), 2),),
    )
    words, factors = native.encode(program)
    call = change({"angles": np.zeros((6, 2)), "program": words, "coefficients": factors})
    shape = jax.ShapeDtypeStruct((1, 2), call["angles"].dtype)
    handler = jax.ffi.ffi_call("qiff_value", shape)
    with pytest.raises(jax.errors.JaxRuntimeError, match=message):
        handler(
            call["angles"],
            program=call["program"].astype(np.int32),
            coefficients=call["coefficients"],
        ).block_until_ready()


@needs_native
@pytest.mark.slow
def test_whatever_number_of_a_program_is_damaged_no_kernel_crashes():
    """What is not refused is another program of the same size."""
    program = every_gate(3)
    words, factors = native.encode(program)
    n_slots, n_observables = program.n_slots, len(program.observables)
    inputs = [np.full((n, 2), 0.1) for n in (n_slots, n_observables, n_slots, n_observables)]
    shapes = [jax.ShapeDtypeStruct((n, 2), np.float64) for n in (n_observables, n_slots)]
    accepted, refused = 0, 0
    for place in range(len(words)):
        for value in (-(2**31), -1, 0, 1, 2, 5, 31, 2**30, 2**31 - 7, 2**31 - 1):
            damaged = np.where(np.arange(len(words)) == place, value, words).astype(np.int32)
            call = jax.ffi.ffi_call("qiff_second", shapes)
            try:
                with enable_x64(True):
                    found = call(*inputs, program=damaged, coefficients=factors)
                assert all(np.isfinite(array).all() for array in found)
                accepted += 1
            except jax.errors.JaxRuntimeError:
                refused += 1
    assert accepted > len(words) // 2  # control: not everything is refused
    assert refused > len(words)


def test_a_program_whose_gates_do_not_read_each_angle_once_is_refused():
    state, observables = Singlets(2, ()), (mean_z(2),)
    for first, layer in (
        ((Gate("rx", (0,), 1),), ()),
        ((Gate("rx", (0,), -1),), ()),
        ((), (Gate("spin", (0,), 0), Gate("rx", (1,), 2**31))),
        ((), (Gate("rx", (0,), 0), Gate("rx", (1,), 0))),
    ):
        with pytest.raises(InputError, match=r"must read each of its \d angles once"):
            Program(state, first, layer, 1, observables)
    with pytest.raises(InputError, match="`n_layers` must be at least 0"):
        Program(state, (), (), -1, observables)
    Program(state, (Gate("cz", (0, 1), 9),), (), 0, observables)  # control: it reads none


@pytest.mark.parametrize("name", [pytest.param("native", marks=needs_native), "xla"])
def test_measured_vectors_turn_with_the_data(name):
    spins = tuple(Gate("spin", (q,), 3 * q) for q in range(4))
    program = Program(
        Singlets(4, ((0, 1), (2, 3))),
        spins,
        (Gate("exchange", (1, 2), 0), Gate("exchange", (0, 1), 1), *(g.shifted(2) for g in spins)),
        2,
        vector(0, 4),
    )

    def measured(vectors):
        first, *layers = jnp.asarray(vectors).reshape(3, 12)
        bonds = jnp.array([0.7, 0.4])
        angles = jnp.concatenate([first, *(x for layer in layers for x in (bonds, layer))])
        return engine.expectations(program, angles, engine=name)

    vectors = np.random.default_rng(0).normal(size=(12, 3))
    rotation = Rotations(1).sample(np.random.default_rng(1)).rotation
    turned = measured(vectors @ rotation.T)
    np.testing.assert_allclose(turned, rotation @ measured(vectors), atol=1e-13)
    assert np.abs(turned - measured(vectors)).max() > 0.1  # control


def test_an_unknown_engine_is_refused():
    program = every_gate(3, ["spin"])
    with pytest.raises(InputError, match="did you mean `native`"):
        engine.expectations(program, jnp.zeros(program.n_slots), engine="nativ")
    with pytest.raises(InputError, match="must have shape"):
        engine.expectations(program, jnp.zeros(program.n_slots + 1))


@pytest.mark.parametrize("name", [pytest.param("native", marks=needs_native), "xla"])
def test_angles_of_another_type_are_converted_or_refused(name):
    program = every_gate(3, ["spin"])
    angles = np.linspace(0, 1, program.n_slots)
    with enable_x64(True):
        wanted = engine.expectations(program, angles, engine=name)
        swapped = angles.astype(angles.dtype.newbyteorder())
        np.testing.assert_array_equal(engine.expectations(program, swapped, engine=name), wanted)
        for kind in ("float16", "longdouble", "int64", "complex128", "U3"):
            with pytest.raises(InputError, match="`angles` must be float32 or float64, but is"):
                engine.expectations(program, angles.astype(kind), engine=name)


def without_kernels(monkeypatch):
    absent = replace(native.ENGINE, unavailable=lambda: "the kernels were not built")
    monkeypatch.setitem(engine.ENGINES, "native", absent)


def test_without_kernels_xla_is_used_and_says_why(monkeypatch):
    without_kernels(monkeypatch)
    assert engine.choose("auto").name == "xla"
    assert engine.describe() == "xla (the kernels were not built)"
    with pytest.raises(InputError, match="the kernels were not built; use `xla`"):
        engine.choose("native")


def test_a_slower_engine_is_mentioned_once_a_process_in_one_line():
    code = "from tests.laws import test_engines as t; t.simulate_without_kernels()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said = "qiff: circuits are simulated by xla (the kernels were not built), which is slower\n"
    assert done.stderr == said


def simulate_without_kernels():
    without_kernels(pytest.MonkeyPatch())
    for program in (every_gate(2, ["spin"]), every_gate(3, ["spin"])):
        engine.expectations(program, jnp.zeros(program.n_slots))


@needs_native
def test_the_preferred_engine_is_not_mentioned(caplog):  # control
    program = every_gate(2, ["spin"])
    engine.expectations(program, jnp.zeros(program.n_slots))
    engine.expectations(program, jnp.zeros(program.n_slots), engine="xla")
    assert not caplog.records


def test_engines_that_do_not_run_on_the_platform_are_left_out(monkeypatch):
    elsewhere = replace(native.ENGINE, platforms=("gpu",))
    monkeypatch.setitem(engine.ENGINES, "native", elsewhere)
    assert engine.choose("auto").name == "xla"
    assert engine.describe() == "xla, on cpu"  # no complaint: there is nothing better here
    with pytest.raises(InputError, match="runs on gpu, but JAX runs on cpu; use `xla`"):
        engine.choose("native")


def test_no_engine_at_all_is_an_error_with_all_reasons(monkeypatch):
    without_kernels(monkeypatch)
    busy = replace(engine.ENGINES["xla"], unavailable=lambda: "it is busy")
    monkeypatch.setitem(engine.ENGINES, "xla", busy)
    with pytest.raises(InputError, match="`native`: the kernels were not built; `xla`: it is busy"):
        engine.choose()


@pytest.fixture
def new_gates(monkeypatch):
    """Two gates that are registered, and nothing more."""
    kinds = {
        "swap": GateKind(2, 0, lambda _: jnp.eye(4, dtype=complex)[np.array([0, 2, 1, 3])]),
        "phase": GateKind(1, 1, lambda a: jnp.diag(jnp.exp(1j * a[0] * jnp.array([0.0, 1.0])))),
    }
    for name, kind in kinds.items():
        monkeypatch.setitem(GATES, name, kind)


@needs_native
def test_a_gate_that_the_native_engine_does_not_know_is_simulated_by_xla(new_gates):
    gates = (
        *(Gate("rx", (q,), q) for q in range(3)),
        *(Gate("swap", (0, 2), 3), Gate("phase", (1,), 3), Gate("exchange", (2, 1), 4)),
    )
    observables = PauliSum(((0.7, "XIY"), (0.2, "ZZI"))), pair_exchange((0, 1), 3)
    program = Program(Singlets(3, ((0, 1),)), gates, (), 0, observables)
    at = np.array([0.4, -1.1, 0.7, 0.9, 0.3])
    one = lambda generator, a: expm(-1j * a * generator)
    x, phase = PAULIS[0] / 2, np.diag([0, -1])
    pair = sum(np.kron(sigma, sigma) for sigma in PAULIS)
    rotated = reduce(np.kron, [one(x, a) for a in at[:3]])
    swap = np.eye(8)[[0, 4, 2, 6, 1, 5, 3, 7]]  # the first and the last of three bits
    eye = np.eye(2)
    phased = reduce(np.kron, [eye, one(phase, at[3]), eye])
    state = np.kron(eye, one(pair, at[4])) @ phased @ swap @ rotated @ program.state.vector()
    wanted = [np.vdot(state, o.matrix() @ state).real for o in observables]
    np.testing.assert_allclose(engine.expectations(program, jnp.asarray(at)), wanted, atol=1e-13)
    assert engine.describe("auto", program) == "xla (it has no kernel for gate `phase`, `swap`)"
    with pytest.raises(InputError, match=r"`native` .* no kernel for gate `phase`, .*; use `xla`"):
        engine.expectations(program, jnp.asarray(at), engine="native")
    with pytest.raises(InputError, match=r"cannot simulate .* no kernel for gate `phase`"):
        native.encode(program)


@needs_native
def test_more_qubits_than_the_native_engine_simulates_go_to_xla():
    large = Program(Singlets(27, ()), (Gate("rx", (0,), 0),), (), 0, (mean_z(27),))
    assert engine.choose("auto", large).name == "xla"
    with pytest.raises(InputError, match="at most 26 qubits, but the circuit has 27; use `xla`"):
        engine.expectations(large, jnp.zeros(1), engine="native")
    words, _ = native.encode(replace(large, state=Singlets(26, ()), observables=(mean_z(26),)))
    assert words[0] == native.MAX_QUBITS  # control: the limit itself is supported


def test_an_engine_need_not_be_registered():
    program = every_gate(3, ["spin"])
    constant = Engine("constant", lambda program, angles: jnp.full(len(program.observables), 0.5))
    found = engine.expectations(program, jnp.zeros(program.n_slots), engine=constant)
    np.testing.assert_array_equal(found, [0.5, 0.5])
    assert engine.describe(constant) == "constant"
    circuit = Simulation(program, constant)
    assert jax.tree.structure(circuit) == jax.tree.structure(Simulation(program, constant))
    assert jax.tree.structure(circuit) != jax.tree.structure(Simulation(program))


def test_the_example_of_the_page_runs():
    page = (Path(__file__).parents[2] / "docs" / "engine.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "engine.md", "exec"), names)
    small, large = (Simulation(every_gate(n, ["rx"]), names["small"]) for n in (3, 9))
    np.testing.assert_allclose(small(jnp.ones(1)), Simulation(small.program, "xla")(jnp.ones(1)))
    with pytest.raises(InputError, match="`small` cannot be used: it simulates 8 qubits, not 9"):
        large(jnp.ones(1))


@needs_native
def test_every_gate_of_the_native_engine_is_a_gate():
    assert set(native.GATES) <= set(GATES)
    kernels = {step[0] for steps in native.GATES.values() for step in steps}
    assert kernels == set(native.Kernel)


@needs_native
@pytest.mark.parametrize("n_qubits", [5, 6, 9])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_amplitudes_spread_over_lanes_give_the_same(n_qubits, dtype):
    """One sample alone keeps one circuit in all lanes; many have a lane each."""
    program = every_gate(n_qubits)
    at = jnp.asarray(random_angles(program, 33, 0, (1.0,)), dtype)
    for allowed, f in zip((1, 10, 30), orders(program, "native", 0), strict=True):
        assert_close(f(at[:1]), f(at)[:1], {"float64": 1e-13, "float32": 1e-6}[dtype] * allowed)


@needs_native
def test_threads_that_call_at_once_find_what_one_finds():
    """Each call is large enough to be shared among the threads of XLA."""
    program = every_gate(5)
    batches = [jnp.asarray(random_angles(program, 64, seed)) for seed in (0, 1)]
    function = quickly_compiled(all_orders(program, "native", 0))

    def call(n: int) -> list[jax.Array]:
        with enable_x64(True):  # of this thread
            return jax.block_until_ready(jax.tree.leaves(function(batches[n % 2])))

    alone = [call(n) for n in range(2)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(call, range(64)))
    for n, leaves in enumerate(found):
        for leaf, wanted in zip(leaves, alone[n % 2], strict=True):
            np.testing.assert_array_equal(leaf, wanted)
    assert np.abs(alone[0][0] - alone[1][0]).max() > 0.1  # control: the batches differ


@needs_native
def test_large_circuits_agree():
    check_engines_agree(every_gate(12), batch=2, seed=0, n_orders=1)


@needs_native
@pytest.mark.parametrize("instructions", [pytest.param("portable", marks=pytest.mark.slow), "AVX2"])
def test_every_instruction_set_gives_the_same(instructions):
    """In a process of its own: the choice is made once."""
    code = "from tests.laws import test_engines as t; t.print_numbers()"
    environment = os.environ | {"JAX_ENABLE_X64": "1"}
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=environment | extra,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for extra in ({}, {"QIFF_INSTRUCTIONS": instructions})
    ]
    assert outputs[1][0] == instructions or native.instructions() == "portable"
    best, other = (np.array(output[1:], float) for output in outputs)
    np.testing.assert_allclose(other, best, rtol=1e-11, atol=1e-11)


def print_numbers():
    program = every_gate(4)
    angles = jnp.asarray(random_angles(program, 5, 0))
    numbers = np.concatenate([np.ravel(f(angles)) for f in orders(program, "native", 0)])
    print(native.instructions(), *numbers)


def coefficients(program: Program, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the functions in `orders`."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=len(program.observables)), rng.normal(size=program.n_slots)
