"""From potentials to executors and back: energies and forces, errors, delivery, training."""

import json
import re
import sys
from dataclasses import replace
from typing import Any

import ase.io
import ase.units
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qiff
from qiff import InputError, RunError
from qiff.cli import main
from qiff.hardware import (
    Exact,
    MeasuredIntegrator,
    Measurement,
    Measuring,
    Mitigation,
    Protocol,
    Shots,
    circuits,
    estimate,
    make_executor,
    on_qiskit,
    resources,
)
from qiff.hardware import dynamics as measured_dynamics
from qiff.hardware.delivery import Cached, Retrying
from qiff.hardware.estimate import energy_offset
from qiff.hardware.executor import AbstractExecutor, Job, Limits, LostJobError
from qiff.hardware.measure import mitigation
from qiff.hardware.on_pennylane import OnPennyLane
from qiff.hardware.on_qiskit import in_order
from qiff.hardware.on_runtime import frequencies_of
from qiff.model.plan import plan
from qiff.model.potential import SumSettings
from qiff.model.predict import precision, predict
from qiff.quantum.circuit import Circuit, with_engine
from qiff.quantum.engine import expectations
from qiff.quantum.export import to_pennylane, to_qiskit
from qiff.quantum.noise import calibrations, nothing
from qiff.quantum.shots import settings
from qiff.training.fit import fit, initial_state
from qiff.training.gradients import spsa
from qiff.training.loss import Loss, relative

from .laws.examples import POTENTIAL_EXAMPLES, every

EXAMPLES = {example.name: example for example in every(POTENTIAL_EXAMPLES)}
WATER = EXAMPLES["water"].molecule


@pytest.fixture(scope="module")
def water():
    return EXAMPLES["water"].random()


# --- energies and forces ----------------------------------------------------------------------

QUICK = ("dimer", "generic triatomic", "hybrid water", "ammonia")  # this in two settings
REFUSED = {
    "network of atoms": "The potential has no circuits",
    "linear in invariants": "The potential has no circuits",
    "pair energies": "The potential has no circuits",
    "ensemble": "The potential has no circuits",
}
"""Examples that cannot be sent, and why; those without circuits are classical."""
SENT = [name for name in EXAMPLES if name not in REFUSED]


@pytest.mark.parametrize(
    "name",
    [n if n != "network of atoms" else pytest.param(n, marks=pytest.mark.slow) for n in REFUSED],
)
def test_what_cannot_be_sent_is_refused(name):
    example = EXAMPLES[name]
    with pytest.raises(InputError, match=REFUSED[name]):
        estimate(example.random(), example.molecule, Exact())


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in SENT]
)
def test_exact_executor_gives_energy_and_forces_of_differentiation(name):
    example = EXAMPLES[name]
    potential = example.random()
    wanted = predict(potential, example.molecule)
    found = estimate(potential, example.molecule, Exact())
    assert abs(found.energy - wanted.energy) < 1e-9
    np.testing.assert_allclose(found.forces, wanted.forces, rtol=0, atol=1e-9)
    assert np.abs(wanted.forces).max() > 1e-3  # control: there are forces to agree on
    assert found.energy_error == 0
    assert not found.covariance.any()
    assert found.n_circuits == sum(
        (len(c.angles) + len(c.shifted)) * len(settings(c.program.observables, Protocol().method))
        for c in circuits(potential, example.molecule)
    )


def test_the_header_of_a_circuit_turns_its_values_into_the_energy(water):
    (group,) = circuits(water, WATER)
    (angles,) = group.angles
    values = [float(expectations(group.program, jnp.asarray(angles))[0])]
    offset = energy_offset(water, WATER)
    assert offset is not None
    found = offset + float(np.dot(group.readout[0], values))
    assert found == pytest.approx(predict(water, WATER).energy, abs=1e-6)
    assert abs(found - offset) > 1e-6  # control: the circuit counts
    hybrid = EXAMPLES["hybrid water"]
    assert energy_offset(hybrid.fresh(), hybrid.molecule) is None


def test_an_ensemble_of_circuits_is_sent(water):
    other = EXAMPLES["water"].fresh()
    ensemble = qiff.Ensemble([water, other])
    wanted, found = predict(ensemble, WATER), estimate(ensemble, WATER, Exact())
    assert abs(found.energy - wanted.energy) < 1e-9
    np.testing.assert_allclose(found.forces, wanted.forces, rtol=0, atol=1e-9)
    assert found.n_circuits == 2 * 57
    assert abs(found.energy - predict(water, WATER).energy) > 1e-3  # control: not one member


FALSE_ALARM = 5.0


class Fresh(AbstractExecutor):
    """Shots with another seed for every job."""

    @property
    def name(self):
        return "fresh"

    def __init__(self):
        self.jobs = []

    def sample(self, job):
        self.jobs.append(job)
        return Shots(len(self.jobs)).sample(job)

    def counts(self, job):
        return {}


@pytest.mark.parametrize("shots", [180, 300, 1000, 3000])
def test_standard_errors_hold_at_few_shots(shots, monkeypatch):
    """Circuits with two shots each have no variance in most measurements, but an error."""

    def coverage():
        found = [estimate(water, WATER, executor, Protocol(shots=shots)) for _ in range(60)]
        z = np.array([(one.energy - wanted) / max(one.energy_error, 1e-12) for one in found])
        of_forces = [(one.forces - forces) / np.maximum(one.forces_error, 1e-12) for one in found]
        return np.mean(np.abs(z) < 2), np.mean(np.abs(of_forces) < 2)

    executor, water = Fresh(), EXAMPLES["water"].fresh()
    predicted = predict(water, WATER)
    wanted, forces = predicted.energy, predicted.forces
    energy_inside, forces_inside = coverage()
    assert energy_inside >= 0.85  # 60 draws of 95 %: fewer than 51 in one of 1000
    assert 0.9 < forces_inside < 0.999
    if shots == 180:  # control: the variance of the outcomes alone
        monkeypatch.setattr("qiff.quantum.shots.PRIOR_SHOTS", 1e-9)
        assert coverage()[0] < 0.8


@pytest.mark.parametrize(("name", "method"), [("water", "pauli"), ("hybrid water", "bell")])
def test_shots_are_unbiased_with_errors_that_are_right(name, method):
    """Also of a read-out that is not linear, to first order in the errors."""
    potential, repeats = EXAMPLES[name].random(), 100
    wanted = predict(potential, WATER)
    executor, protocol = Fresh(), Protocol(200_000, method)
    found = [estimate(potential, WATER, executor, protocol) for _ in range(repeats)]
    off = np.array([((f.forces - wanted.forces) / f.forces_error).ravel() for f in found])
    assert np.abs(off.mean(0)).max() < FALSE_ALARM / np.sqrt(repeats)
    assert 0.9 < np.sqrt(np.mean(off**2)) < 1.1
    energies = np.array([(f.energy - wanted.energy) / f.energy_error for f in found])
    assert abs(energies.mean()) < FALSE_ALARM / np.sqrt(repeats)
    assert 0.6 < energies.std() < 1.5
    assert np.abs((off + 1).mean(0)).max() > FALSE_ALARM / np.sqrt(repeats)  # control
    for f in found:  # forces sum to zero, and so do their errors
        of_sum = f.covariance.reshape(3, 3, 3, 3).sum((0, 2))
        np.testing.assert_allclose(of_sum, 0, atol=1e-9 * f.covariance.max())
        assert 190_000 < f.n_shots <= 200_000


def test_a_loop_over_circuits_is_refused(water):
    class Looped(qiff.Sum):
        def __call__(self, graph):
            body = lambda total, _: (total + self.potentials[0](graph).sum(), None)
            total, _ = jax.lax.scan(body, 0.0, None, 2)
            return total + jax.numpy.zeros(3)

    with precision(water), pytest.raises(InputError, match="Circuits in a loop cannot be sent"):
        plan(Looped(potentials=(water,), settings=SumSettings()), WATER.numbers)


def test_what_cannot_be_described_is_refused(water):
    with pytest.raises(InputError, match="the structure is H2"):
        estimate(water, WATER[1:], Exact())
    with pytest.raises(InputError, match="`shots` must be at least 1"):
        Protocol(shots=0)
    with pytest.raises(InputError, match="did you mean `bell`"):
        Protocol(method="bel")
    with pytest.raises(InputError, match="did you mean `twirl`"):
        mitigation(["twril"])
    assert mitigation(["twirl", "zne"]) == Mitigation(readout=True, twirl=True, folds=(1, 3))


# --- noise ------------------------------------------------------------------------------------


class Imperfect(AbstractExecutor):
    """Exact frequencies through a readout that errs; more depolarised with every fold."""

    sampled = False
    readout = np.array([[0.96, 0.1], [0.04, 0.9]])
    strength = 0.05

    @property
    def name(self):
        return "imperfect"

    def sample(self, job):
        exact, n = Exact().sample(job), job.program.n_qubits
        mixed = (1 - (1 - self.strength) ** job.fold) * bool(job.program.layer)
        exact = (1 - mixed) * exact + mixed / 2**n
        error = self.readout
        for _ in range(n - 1):
            error = np.kron(error, self.readout)
        return exact @ error.T

    def counts(self, job):
        return {}


@pytest.mark.parametrize("twirl", [False, True])
def test_mitigation_undoes_readout_and_extrapolates(water, twirl):
    wanted = predict(water, WATER)

    def error(**arguments):
        protocol = Protocol(mitigation=Mitigation(**arguments))
        found = estimate(water, WATER, Imperfect(), protocol)
        return max(np.abs(found.forces - wanted.forces).max(), abs(found.energy - wanted.energy))

    everything = {"readout": True, "twirl": twirl, "folds": (1, 3)}
    assert error(**everything) < 1e-9
    assert error() > error(readout=True, twirl=twirl) > 1e-3
    assert error(folds=(1, 3)) > 1e-3


@pytest.mark.parametrize("method", ["bell", "pauli"])
def test_checking_the_spin_along_a_bond_lowers_the_error(method):
    potential = EXAMPLES["lithium hydride"].fresh()
    bond = ase.Atoms("LiH", [[0, 0, 0], [0.6, -0.5, 1.2]])
    wanted = predict(potential, bond)

    def error(check):
        protocol = Protocol(method=method, mitigation=Mitigation(symmetry=check))
        return abs(estimate(potential, bond, Imperfect(), protocol).energy - wanted.energy)

    assert error(True) < 0.75 * error(False)


SHALLOW = {"kind": "diatomic", "elements": ["Li", "H"], "n_layers": 1}


# --- executors --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "aer",
        "pennylane",
        pytest.param("pennylane:default.mixed", marks=pytest.mark.slow),
        pytest.param("pennylane:braket.local.qubit", marks=pytest.mark.slow),
    ],
)
def test_executors_without_noise_agree_with_the_model(name):
    packages = {"aer": "qiskit_aer", "pennylane:braket.local.qubit": "braket.pennylane_plugin"}
    pytest.importorskip(packages.get(name, "pennylane"))
    potential = qiff.build(SHALLOW, jax.random.key(1))
    atoms = EXAMPLES["lithium hydride"].molecule
    protocol = Protocol(200_000, mitigation=Mitigation(readout=True, folds=(1, 3)))
    found = estimate(potential, atoms, make_executor(name, seed=2), protocol)
    wanted = predict(potential, atoms)
    assert np.all(np.abs(found.forces - wanted.forces) < FALSE_ALARM * found.forces_error)
    assert abs(found.energy - wanted.energy) < FALSE_ALARM * found.energy_error
    assert np.all(found.forces_error < 0.05)


def compiling(name):
    """The executor of Qiskit that is wrapped by what sends lost jobs again."""
    wrapped = make_executor(name)
    assert isinstance(wrapped, Retrying)
    assert isinstance(wrapped.executor, on_qiskit.OnQiskit)
    return wrapped.executor


@pytest.mark.parametrize("name", ["fake:manila", "aer:depolarising=0.02,damping=0.01,readout=0.05"])
def test_noisy_outcomes_are_those_of_the_sampler_of_aer(name):
    pytest.importorskip("qiskit_ibm_runtime")
    from qiskit_aer.primitives import SamplerV2

    executor, potential = compiling(name), EXAMPLES["water"].random()
    (group,) = circuits(potential, WATER)
    (setting,) = settings(group.program.observables, "bell")
    shots = np.array([40_000, 20_000, 40_000])
    job = Job(group.program, setting, group.shifted[:3], shots, group.open_slots)
    compiled = executor.compiler(job)
    pubs: Any = [(compiled.circuit, compiled.values(job), int(shots.max()))]
    sampler = SamplerV2.from_backend(executor.compiler.backend, seed=1)
    result: Any = sampler.run(pubs).result()[0]
    one, other = executor.sample(job), in_order(frequencies_of(result.data.meas), job)
    errors = np.sqrt((one + other + 2 / shots[:, None]) / shots[:, None])
    assert np.all(np.abs(one - other) < FALSE_ALARM * errors)
    exact = Exact().sample(job)
    assert np.any(np.abs(one - exact) > FALSE_ALARM * errors)  # control: there is noise


def test_fake_device_is_noisy_and_compiled_once():
    pytest.importorskip("qiskit_ibm_runtime")
    potential = qiff.build(SHALLOW, jax.random.key(1))
    atoms = EXAMPLES["lithium hydride"].molecule
    executor = compiling("fake:manila")
    taken = resources(potential, atoms, executor, Protocol(50_000))
    assert taken["circuits"] == 13
    assert taken["qubits"] == 4
    assert 8 <= taken["two-qubit gates"] <= 60
    assert taken["depth"] > taken["gates"] > 0
    found = estimate(potential, atoms, executor, Protocol(50_000))
    assert found.n_shots == taken["shots"]
    ratio = 1000 * np.sqrt(np.mean(found.forces_error**2)) / taken["error of forces (meV/Å)"]
    assert 0.8 < ratio < 1.25
    wanted = predict(potential, atoms)
    assert abs(found.energy - wanted.energy) > FALSE_ALARM * found.energy_error  # noise is there
    assert len(executor.compiler._compiled) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("qpu", "Executor `qpu` is not known"),
        ("shots:5", "takes no argument after its name, but got `5`; remove it."),
        ("fake:manilla", "did you mean `manila`"),
        ("aer:depolarizing=0.1", "did you mean `depolarising`"),
        ("aer:readout=often", "`readout` must be a probability, but is `often`"),
        ("aer:readout=1.5", "`readout` must be a probability, but is 1.5"),
        ("pennylane:abacus", "PennyLane has no device `abacus`"),
    ],
)
def test_wrong_executors(name, message):
    pytest.importorskip("qiskit_ibm_runtime")
    with pytest.raises(InputError, match=re.escape(message)):
        make_executor(name)


@pytest.mark.parametrize("package", ["qiskit", "qiskit_aer", "qiskit_ibm_runtime", "pennylane"])
def test_absent_packages_are_one_clear_line(package, monkeypatch):
    pytest.importorskip("qiskit_ibm_runtime")
    monkeypatch.setitem(sys.modules, package, None)
    needs = {
        "qiskit": [lambda: to_qiskit(nothing(2), np.zeros(0))],
        "qiskit_aer": [lambda: make_executor("aer"), lambda: make_executor("fake:manila")],
        "qiskit_ibm_runtime": [
            lambda: make_executor("fake:manila"),
            lambda: make_executor("runtime:ibm_torino"),
        ],
        "pennylane": [
            lambda: make_executor("pennylane"),
            lambda: to_pennylane(nothing(2), np.zeros(0)),
        ],
    }
    extra = "pennylane" if package == "pennylane" else "qiskit"
    for need in needs[package]:
        with pytest.raises(InputError, match=re.escape(f"pip install 'qiff[{extra}]'")):
            need()


# --- delivery ---------------------------------------------------------------------------------


class Unreliable(AbstractExecutor):
    """Loses every second job."""

    limits = Limits(20)

    def __init__(self, loses=lambda n: n % 2, name="unreliable"):
        self.n_jobs, self.n_done, self.loses, self._name = 0, 0, loses, name

    @property
    def name(self):
        return self._name

    def sample(self, job):
        self.n_jobs += 1
        if self.loses(self.n_jobs):
            raise LostJobError("the queue forgot it")
        self.n_done += len(job)
        return Shots().sample(job)

    def counts(self, job):
        return {}


def same(one: Measurement, other: Measurement) -> bool:
    fields = ("energy", "forces", "energy_error", "covariance")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in fields)


def test_lost_jobs_are_sent_again(water):
    executor = Unreliable()
    found = estimate(water, WATER, Retrying(executor, wait=0.0))
    assert executor.n_done == found.n_circuits == 57
    assert executor.n_jobs == 2 * -(-57 // 20)
    message = r"lost 3 times \(the queue forgot it\); results so far .*: run the same command again"
    with pytest.raises(RunError, match=message):
        estimate(water, WATER, Retrying(Unreliable(lambda n: True), attempts=3, wait=0.0))
    with pytest.raises(InputError, match="`attempts` must be at least 1"):
        Retrying(executor, attempts=0)
    with pytest.raises(InputError, match="`wait` must be at least 0"):
        Retrying(executor, wait=-1.0)


def idle(n_qubits=2):
    """A job of one circuit without gates."""
    setting = calibrations(n_qubits)[0]
    return Job(nothing(n_qubits), setting, np.zeros((1, 0)), np.array([10]), ())


def busy(*arguments, **options):
    raise ValueError("the device is busy")


def test_what_fails_in_pennylane_is_a_lost_job(monkeypatch):
    qml = pytest.importorskip("pennylane")
    executor = OnPennyLane("default.qubit")
    assert executor.sample(idle()).tolist() == [[1, 0, 0, 0]]  # control
    monkeypatch.setattr(qml, "execute", busy)
    with pytest.raises(LostJobError, match="ValueError: the device is busy"):
        executor.sample(idle())


def test_what_fails_in_qiskit_is_a_lost_job():
    pytest.importorskip("qiskit_aer")
    executor = compiling("aer")
    assert executor.sample(idle()).tolist() == [[1, 0, 0, 0]]  # control
    with pytest.raises(LostJobError, match="ValueError: the device is busy"):
        replace(executor, sampler=busy).sample(idle())


def test_an_evaluation_that_was_killed_pays_for_nothing_twice(water, tmp_path):
    def stop(n_circuits):
        if n_circuits >= 40:
            raise KeyboardInterrupt

    first = Unreliable(lambda n: False)
    with pytest.raises(KeyboardInterrupt):
        estimate(water, WATER, Cached(first, tmp_path), after_job=stop)
    path = tmp_path / "results.jsonl"
    with path.open("a") as file:
        file.write('{"key": "cut sho')  # killed while it wrote
    second = Unreliable(lambda n: False)
    found = estimate(water, WATER, Cached(second, tmp_path))
    assert first.n_done == 40
    assert first.n_done + second.n_done == 57 == len(path.read_text().splitlines())
    third = Unreliable(lambda n: True)
    assert same(estimate(water, WATER, Cached(third, tmp_path)), found)
    assert third.n_jobs == 0
    moved = WATER.copy()
    moved.positions[1] += 0.01
    with pytest.raises(LostJobError):  # control: other circuits are not known
        estimate(water, moved, Cached(third, tmp_path))


def test_what_can_be_read_of_a_damaged_file_of_results_is_kept(water, tmp_path, caplog):
    """Each line is paid for: whatever happens to another, it is not carried out again."""
    found = estimate(water, WATER, Cached(Unreliable(lambda n: False), tmp_path))
    path = tmp_path / "results.jsonl"
    lines = path.read_text().splitlines()
    record = json.loads(lines[9])
    outcome = next(iter(record["outcomes"]))
    without = {name: record[name] for name in ("key", "outcomes")}
    damaged = {
        0: lines[0][:40],
        1: "\0garbage\xff",
        2: "[1]",
        3: json.dumps(json.loads(lines[3]) | {"outcomes": []}),
        4: json.dumps(json.loads(lines[4]) | {"outcomes": {"a": 1.0}}),
        5: json.dumps(json.loads(lines[5]) | {"outcomes": {"0": None}}),
        6: json.dumps(json.loads(lines[6]) | {"key": 3}),
        7: lines[7].replace('"sha256": "', '"sha256": "0'),
        8: "[" * 100_000,
        9: json.dumps(record | {"outcomes": record["outcomes"] | {outcome: 0.123}}),
    }
    path.write_text("\n".join(damaged.get(i, line) for i, line in enumerate(lines)) + "\n")
    again = Unreliable(lambda n: False)
    mended = estimate(water, WATER, Cached(again, tmp_path))
    assert again.n_done == len(damaged)
    assert f"{path}: 10 of {len(lines)} lines cannot be read, the first is line 1" in caplog.text
    third = Unreliable(lambda n: True)
    assert same(estimate(water, WATER, Cached(third, tmp_path)), mended)
    lines[9] = json.dumps(without)  # control: as lines were written before they had a checksum
    path.write_text("\n".join(lines) + "\n")
    assert same(estimate(water, WATER, Cached(third, tmp_path)), found)
    lines[9] = json.dumps({"key": record["key"], "outcomes": {"16": 1.0}})  # of four qubits
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(LostJobError):
        estimate(water, WATER, Cached(third, tmp_path))


def test_measuring_twice_is_two_measurements(water, tmp_path):
    cached = Cached(Fresh(), tmp_path)
    one, other = (estimate(water, WATER, cached) for _ in range(2))
    assert not same(one, other)
    again = Cached(Unreliable(lambda n: True, "fresh"), tmp_path)
    assert same(estimate(water, WATER, again), one)
    assert same(estimate(water, WATER, again), other)


# --- training ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lih():
    frames = qiff.read(qiff.Source("bundled:lih"), need_forces=True)[::9]
    model = {"kind": "diatomic", "elements": ["Li", "H"], "n_layers": 1}
    return qiff.build_for(frames, model, seed=0), qiff.stack(frames)


SHORT = qiff.Training(steps=4, evaluate_every=2, batch_size=8, average=0.0)


def circuit_of(potential: Any) -> Circuit:
    return potential.potential.circuit


def test_training_by_shift_rules_is_training_by_differentiation(lih):
    potential, frames = lih
    training = replace(SHORT, forces_weight=0.0)
    engine = Measuring(Exact(), Protocol())
    ends = [
        fit(initial_state(p, training), frames, frames, training, seed=0)
        for p in (potential, with_engine(potential, engine))
    ]
    for a, b in zip(*(jax.tree.leaves(end.weights.potential) for end in ends), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)
    first, trained = circuit_of(potential), circuit_of(ends[0].weights.potential)
    moved = trained.weights - first.weights
    assert np.abs(moved).max() > 0.01
    assert engine.n_circuits == 4 * 8 * (1 + 2 * first.program.n_slots) + 2 * len(frames)


def test_training_on_shots_counts_them_and_lowers_the_loss(lih):
    potential, frames = lih
    engine = Measuring(Shots(), Protocol(100))
    training = replace(SHORT, forces_weight=0.0, steps=30, evaluate_every=30, learning_rate=0.2)
    state = initial_state(with_engine(potential, engine), training)
    state = fit(state, frames, frames, training, seed=0)
    assert engine.n_shots == 100 * engine.n_circuits
    with precision(potential):
        before, after = (
            float(Loss({"energy": 1.0})(p, relative(frames, p)))
            for p in (potential, with_engine(state.best, "auto"))
        )
    assert after < 0.5 * before


def test_second_derivatives_are_refused(lih):
    potential, frames = lih
    training = SHORT
    state = initial_state(with_engine(potential, Measuring(Exact(), Protocol())), training)
    with pytest.raises(InputError, match="train on energies alone"):
        fit(state, frames, frames, training, seed=0)


def test_simultaneous_perturbation_is_the_gradient_on_average(lih):
    potential, frames = lih
    training = qiff.Training(gradient="spsa", perturbation=1e-4, forces_weight=0.0)
    with precision(potential):
        exact = jax.grad(training.loss)(potential, frames)
        keys = jax.random.split(jax.random.key(0), 1000)
        loss = lambda p: training.loss(p, frames)
        one = lambda key: spsa(loss, potential, key, training.perturbation)[1]
        drawn = jax.jit(jax.vmap(one))(keys)
    drawn = np.hstack([np.asarray(g).reshape(1000, -1) for g in jax.tree.leaves(drawn)])
    wanted = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(exact)])
    spread = drawn.std(0) / np.sqrt(1000)
    assert np.all(np.abs(drawn.mean(0) - wanted) < FALSE_ALARM * spread + 1e-6)
    assert np.any(np.abs(wanted) > 2 * FALSE_ALARM * spread)  # control: there is something to see


@pytest.mark.parametrize("forces_weight", [0.0, pytest.param(1.0, marks=pytest.mark.slow)])
def test_simultaneous_perturbation_on_measured_circuits(lih, forces_weight):
    """With forces in the loss, which measured circuits can learn from in no other way."""
    potential, frames = lih
    training = replace(SHORT, gradient="spsa", forces_weight=forces_weight)
    engine = Measuring(Exact(), Protocol())
    ends = [
        fit(initial_state(p, training), frames, frames, training, seed=0)
        for p in (potential, with_engine(potential, engine))
    ]
    for a, b in zip(*(jax.tree.leaves(end.weights.potential) for end in ends), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-8)
    with pytest.raises(InputError, match="Gradient `sgd` is not known"):
        qiff.Training(gradient="sgd")


# --- dynamics ---------------------------------------------------------------------------------


class Spring:
    """Stands in for `measure`: a harmonic force, and noise of which a share is told."""

    def __init__(self, noise, told):
        self.noise, self.told, self.rng = noise, told, np.random.default_rng(1)

    def __call__(self, laboratory, potential, atoms):
        x = atoms.positions
        forces = -5.0 * x + self.noise * self.rng.normal(size=x.shape)
        covariance = self.told * self.noise**2 * np.eye(x.size)
        return Measurement(
            energy=0.0,
            forces=forces,
            energy_error=0.0,
            covariance=covariance,
            n_circuits=1,
            n_shots=1,
        )


def temperature(monkeypatch, told, noise=0.4):
    """Mean temperature of a noisy oscillator whose thermostat knows a share of the noise."""
    monkeypatch.setattr(measured_dynamics, "measure", Spring(noise, told))
    monkeypatch.setattr(measured_dynamics, "n_stages", lambda *arguments: 1)
    atoms = ase.Atoms("H20", np.random.default_rng(0).normal(size=(20, 3)) * 0.05)
    dynamics = qiff.Dynamics("nvt", 300.0, 0.5, 4000, 10, friction=0.03, seed=2)
    integrator = MeasuredIntegrator(Exact(), Protocol())
    energies = [
        float((state.momenta**2).sum() / atoms.get_masses()[0] / 2)
        for state in integrator(EXAMPLES["water"].random(), atoms, dynamics, np.inf)
        if state.step > 500
    ]
    return np.mean(energies) * 2 / 60 / ase.units.kB


def test_the_thermostat_takes_the_known_noise_into_account(monkeypatch):
    """The standard error of the mean is about 300 K √(2/60/n), n ≈ 50 correlation times: 8 K."""
    assert abs(temperature(monkeypatch, told=1.0) - 300) < 40
    assert temperature(monkeypatch, told=0.0) > 400  # control: noise that is ignored heats
    with pytest.raises(RunError, match="more heat than friction removes"):
        temperature(monkeypatch, told=100.0)


# --- the command line -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hardware")
    qiff.save(EXAMPLES["water"].random(), folder / "water.qiff")
    ase.io.write(folder / "water.xyz", [WATER, WATER])
    return folder


def run(files, *arguments):
    names = {"MODEL": files / "water.qiff", "IN": files / "water.xyz"}
    return main([str(names.get(a, a)) for a in arguments])


def test_predict_with_an_executor(files, tmp_path, capsys):
    out = tmp_path / "out.xyz"
    assert run(files, "predict", "MODEL", "IN", str(out), "--executor", "shots") == 0
    frames = qiff.read(qiff.Source(str(out)))
    exact = predict(qiff.load(files / "water.qiff"), WATER)
    for atoms in frames:
        off = np.abs(atoms.get_forces() - exact.forces) / atoms.arrays["forces_error"]
        assert off.max() < FALSE_ALARM
        assert abs(atoms.get_potential_energy() - exact.energy) < 5 * atoms.info["energy_error"]
    assert len((tmp_path / "out.results" / "results.jsonl").read_text().splitlines()) == 2 * 57
    capsys.readouterr()
    command = ["predict", "MODEL", "IN", str(tmp_path / "none.xyz"), "--dry-run"]
    assert run(files, *command, "--executor", "shots") == 0
    text = capsys.readouterr().out
    assert re.search(r"circuits +57\n", text)
    assert "nothing was sent" in text
    assert [p.name for p in tmp_path.iterdir() if "none" in p.name] == []
    assert run(files, *command) == 2
    assert "needs an --executor" in capsys.readouterr().err


def test_more_shots_than_asked_for_are_announced(files, tmp_path, capsys):
    command = ["predict", "MODEL", "IN", str(tmp_path / "out.xyz"), "--executor", "shots"]
    assert run(files, *command, "--shots", "1") == 0
    message = r"qiff: (\d+) shots were sent for the first frame, not 1: every circuit needs two"
    found = re.search(message, capsys.readouterr().err)
    assert found is not None
    (first, *_) = ase.io.read(tmp_path / "out.xyz", ":")
    assert isinstance(first, ase.Atoms)
    assert first.info["n_shots"] == int(found[1]) > 1
    assert first.info["energy_error"] > 0
    assert run(files, *command, "--shots", "100000") == 0
    assert "shots were sent" not in capsys.readouterr().err


def test_md_with_an_executor(files, tmp_path, capsys):
    out = str(tmp_path / "traj.xyz")
    command = ["md", "MODEL", "IN", "--out", out, "--executor", "shots", "--steps", "4"]
    assert run(files, *command) == 2
    assert "use ensemble `nvt`" in capsys.readouterr().err
    assert not (tmp_path / "traj.xyz").exists()
    command += ["--ensemble", "nvt", "--interval", "2", "--shots", "1000000"]
    assert run(files, *command, "--dry-run") == 0
    assert "for each of 5 geometries; nothing was sent" in capsys.readouterr().out
    assert run(files, *command) == 0
    assert len(ase.io.read(out, ":")) == 3
    record = json.loads((tmp_path / "traj.json").read_text())
    assert record["executor"] == "shots"
    assert 4_800_000 < record["shots"] <= 5_000_000


def test_resources_and_export(files, tmp_path, capsys):
    assert run(files, "resources", "MODEL") == 0
    text = capsys.readouterr().out
    assert re.search(r"circuits +57\n", text)
    assert "--geometry" in text  # positions are random: a hint says so
    assert run(files, "resources", "MODEL", "--geometry", "IN") == 0
    text = capsys.readouterr().out
    assert re.search(r"circuits +57\n", text)
    assert "--geometry" not in text
    command = ["export", "MODEL", "--geometry", "IN", "--out", str(tmp_path / "w"), "--to"]
    assert run(files, *command, "qasm4") == 2
    assert "did you mean `qasm3`" in capsys.readouterr().err
    pytest.importorskip("qiskit")
    assert run(files, *command, "qasm3") == 0
    written = (tmp_path / "w.qasm").read_text()
    assert written.startswith("OPENQASM 3.0;")
    header = dict(re.findall(r"^// (\w+): (.*)$", written, re.M))
    assert json.loads(header["unit"]) == "eV"
    assert np.isfinite(json.loads(header["offset"]))
    assert len(json.loads(header["weights"])) == len(json.loads(header["observables"]))
    assert run(files, *command, "qasm3") == 2
    assert "replace it (--overwrite)" in capsys.readouterr().err
