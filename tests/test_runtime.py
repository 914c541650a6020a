"""Qiskit Runtime: its local testing mode, and a service whose jobs outlive the process."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ase.io
import jax
import numpy as np
import pytest

import qiff
from qiff import InputError, RunError
from qiff.cli import main
from qiff.hardware import (
    Exact,
    Protocol,
    Shots,
    circuits,
    estimate,
    make_executor,
    on_runtime,
    resources,
)
from qiff.hardware.delivery import Cached, Retrying
from qiff.hardware.executor import AbstractExecutor, AbstractRemote, Job, Limits, LostJobError
from qiff.hardware.on_runtime import OnRuntime
from qiff.quantum.shots import settings

from .laws.examples import POTENTIAL_EXAMPLES, every

EXAMPLES = {example.name: example for example in every(POTENTIAL_EXAMPLES)}
WATER = EXAMPLES["water"].molecule
BOND = EXAMPLES["lithium hydride"].molecule
FALSE_ALARM = 5.0


@pytest.fixture(scope="module")
def shallow():
    """A model of few gates."""
    config = {"kind": "diatomic", "elements": ["Li", "H"], "n_layers": 1}
    return qiff.build(config, jax.random.key(1))


def job_of(potential, atoms, shots):
    """A job of the first circuits of a configuration."""
    (group,) = circuits(potential, atoms)
    (setting,) = settings(group.program.observables, "bell")
    rows = group.all_angles[: len(shots)]
    return Job(group.program, setting, rows, np.array(shots), group.open_slots)


# --- limits -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits",
    [Limits(3, 40, 100), Limits(2), Limits(9, 7), Limits(9, 50, 60), Limits(9, alike=True)],
)
def test_jobs_are_split_within_limits_and_lose_no_shot(shallow, limits):
    job = job_of(shallow, BOND, [100, 7, 61, 7, 100])
    found = list(job.split(limits))
    sent = np.zeros(len(job), int)
    for rows, part in found:
        assert len(part) <= limits.circuits
        assert part.shots.max() <= limits.shots
        assert part.shots.sum() <= limits.total
        assert not limits.alike or len(set(part.shots)) == 1
        np.testing.assert_array_equal(part.angles, job.angles[rows])
        np.add.at(sent, rows, part.shots)
    np.testing.assert_array_equal(sent, job.shots)
    assert len(found) > 1
    assert len(list(job.split(Limits()))) == 1  # control: nothing to split


class Narrow(Exact):
    """Takes a tenth of a circuit."""

    limits = Limits(7, 200, 600)


def test_a_circuit_that_is_sent_several_times_has_the_mean_of_its_results(shallow):
    protocol = Protocol(13 * 2000)
    one, other = (estimate(shallow, BOND, e, protocol) for e in (Exact(), Narrow()))
    np.testing.assert_allclose(one.forces, other.forces, rtol=0, atol=1e-12)
    assert other.n_circuits > 10 * one.n_circuits
    wide, narrow = (resources(shallow, BOND, e, protocol) for e in (Shots(), Narrow()))
    assert (wide["jobs"], narrow["jobs"]) == (1, pytest.approx(43, rel=0.1))
    assert narrow["seconds on a device"] - wide["seconds on a device"] == pytest.approx(
        2 * (narrow["jobs"] - wide["jobs"]), rel=1e-6
    )


# --- jobs under way ---------------------------------------------------------------------------


class Elsewhere(AbstractExecutor, AbstractRemote):
    """Keeps the results of jobs under identifiers; some steps can fail."""

    limits = Limits(5)

    def __init__(self):
        self.results, self.tags, self.lost = {}, {}, set()
        self.at_return, self.at_fetch = (lambda: None), (lambda identifier: None)

    @property
    def name(self):
        return "elsewhere"

    @property
    def remote(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self

    def counts(self, job):
        return {}

    def sample(self, job):
        return self.fetch(self.submit(job, ""), job)

    def submit(self, job, tag):
        identifier = f"job{len(self.results)}"
        self.results[identifier] = Shots().sample(job)
        self.tags[tag] = identifier
        self.at_return()
        return identifier

    def find(self, tag):
        return self.tags.get(tag, "")

    def fetch(self, identifier, job):
        self.at_fetch(identifier)
        if identifier in self.lost:
            raise LostJobError("it failed")
        return self.results[identifier]


def once(action):
    """An action that is carried out on its first call alone."""
    left = [action]
    return lambda *arguments: left.pop()(*arguments) if left else None


def stop(*arguments):
    raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["at_return", "at_fetch"])
def test_a_job_under_way_is_fetched_by_the_process_that_resumes(shallow, tmp_path, step):
    """Whether its identifier was written or not."""
    remote = Elsewhere()
    setattr(remote, step, once(stop))
    with pytest.raises(KeyboardInterrupt):
        estimate(shallow, BOND, Cached(remote, tmp_path))
    assert len(remote.results) == 1
    with (tmp_path / "jobs.jsonl").open("a") as file:
        file.write('{"tag": "cut sho')  # killed while it wrote
    found = estimate(shallow, BOND, Cached(remote, tmp_path))
    assert len(remote.results) == 3  # of 13 circuits, 5 in a job
    assert np.array_equal(found.forces, estimate(shallow, BOND, Elsewhere()).forces)
    (tmp_path / "jobs.jsonl").unlink()  # control: without the file it is sent again
    (tmp_path / "results.jsonl").unlink()
    estimate(shallow, BOND, Cached(remote, tmp_path))
    assert len(remote.results) == 6


def test_results_that_were_cut_short_are_fetched_again(shallow, tmp_path):
    remote = Elsewhere()
    found = estimate(shallow, BOND, Cached(remote, tmp_path))
    path = tmp_path / "results.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:7]))
    again = estimate(shallow, BOND, Cached(remote, tmp_path))
    assert len(remote.results) == 3
    assert np.array_equal(found.covariance, again.covariance)


def test_a_job_that_failed_is_sent_again_and_one_that_cannot_be_fetched_is_not(shallow, tmp_path):
    def offline(identifier):
        raise RunError("no connection")

    remote = Elsewhere()
    remote.lost.add("job1")
    estimate(shallow, BOND, Retrying(Cached(remote, tmp_path), wait=0.0))
    assert len(remote.results) == 4
    lines = [json.loads(line) for line in (tmp_path / "jobs.jsonl").read_text().splitlines()]
    assert [line["job"] for line in lines if "job" in line] == ["job0", "job1", "job2", "job3"]
    moved = BOND.copy()
    moved.positions[1] += 0.01
    remote.at_fetch = offline
    with pytest.raises(RunError, match="no connection"):
        estimate(shallow, moved, Retrying(Cached(remote, tmp_path), wait=0.0))
    remote.at_fetch = lambda identifier: None
    estimate(shallow, moved, Retrying(Cached(remote, tmp_path), wait=0.0))
    assert len(remote.results) == 7


# --- the local testing mode -------------------------------------------------------------------


def device(name: str) -> OnRuntime:
    wrapped = make_executor(name)
    assert isinstance(wrapped, Retrying)
    assert isinstance(wrapped.executor, OnRuntime)
    return wrapped.executor


@pytest.mark.filterwarnings("error", "ignore:The SamplerV2 class is deprecated")
def test_a_fake_device_is_used_through_the_runtime(shallow, monkeypatch):
    """In every mode with the same outcomes, and compiled once for all geometries."""
    runtime = pytest.importorskip("qiskit_ibm_runtime")
    job, closed = job_of(shallow, BOND, [500, 500]), []
    executors = {mode: device(f"runtime:fake_manila,{mode}") for mode in on_runtime.MODES}
    for kind in (runtime.Batch, runtime.Session):
        monkeypatch.setattr(kind, "close", lambda self: closed.append(type(self)))
    found = {mode: executor.sample(job) for mode, executor in executors.items()}
    np.testing.assert_array_equal(found["batch"], found["job"])
    np.testing.assert_array_equal(found["session"], found["job"])
    compiler = executors["job"].compiler
    executors.clear()
    assert set(closed) == {runtime.Batch, runtime.Session}
    wanted = make_executor("fake:manila").sample(replace(job, shots=np.full(2, 10**7)))
    off = lambda found: np.abs(found - wanted).max() / np.sqrt(0.25 / 500)
    assert off(found["job"]) < FALSE_ALARM
    assert off(found["job"][:, ::-1]) > FALSE_ALARM  # control: another order of outcomes
    assert off(Exact().sample(job)) > 2  # control: there is noise
    for stretch in (1.1, 1.2):
        atoms = BOND.copy()
        atoms.positions *= stretch
        compiler(job_of(shallow, atoms, [10]))
    assert len(compiler._compiled) == 1


@pytest.mark.parametrize("fold", [1, 3])
def test_flips_folds_and_calibrations_use_the_same_qubits(shallow, fold):
    pytest.importorskip("qiskit_ibm_runtime")
    from qiff.quantum.noise import calibrations, nothing

    compiler, job = device("runtime:fake_manila").compiler, job_of(shallow, BOND, [10])
    places = compiler(job).places
    flipped = replace(job, setting=replace(job.setting, flips=5), fold=fold)
    zeros, ones = (
        Job(nothing(4), setting, np.zeros((1, 0)), np.array([10]), (), placed_as=flipped)
        for setting in calibrations(4)
    )
    assert compiler(flipped).places == compiler(zeros).places == compiler(ones).places == places
    alone = replace(zeros, placed_as=None)
    assert compiler(alone).places != places  # control: the compiler would choose others
    ops = compiler(ones).circuit.count_ops()
    assert (ops["x"], ops["measure"]) == (4, 4)
    gates = compiler(job).circuit.num_nonlocal_gates()
    assert compiler(flipped).circuit.num_nonlocal_gates() == fold * gates


def test_seconds_of_quantum_time_are_those_of_the_gates_and_delays_of_the_device(shallow):
    pytest.importorskip("qiskit_ibm_runtime")
    executor = device("runtime:fake_manila")
    found = resources(shallow, BOND, executor, Protocol(100_000))
    circuit = executor.compiler(job_of(shallow, BOND, [1])).circuit
    target = executor.device.backend.target
    longest = 0.0
    for wire in circuit.qubits:
        of = [i for i in circuit.data if wire in i.qubits and i.operation.name != "barrier"]
        places = [tuple(circuit.find_bit(q).index for q in item.qubits) for item in of]
        lengths = [target[i.operation.name][at].duration for i, at in zip(of, places, strict=True)]
        longest = max(longest, sum(lengths))
    per_shot = found["seconds for a shot"]
    assert longest + 250e-6 <= per_shot < 3 * longest + 250e-6
    wanted = found["shots"] * per_shot + 2 * found["jobs"]
    assert found["seconds on a device"] == pytest.approx(wanted)
    assert executor.limits.total == 10_000_000


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("runtime:fake_manilla", "did you mean `manila`"),
        ("runtime:fake_manila,sesion", "did you mean `session`"),
        ("runtime:ibm_torino,bach", "did you mean `batch`"),
    ],
)
def test_wrong_devices_and_modes(name, message):
    pytest.importorskip("qiskit_ibm_runtime")
    with pytest.raises(InputError, match=message):
        make_executor(name)


# --- with an account --------------------------------------------------------------------------


def busy(*arguments):
    raise ValueError("the device is busy")


def test_tokens_come_from_the_environment_alone(monkeypatch, tmp_path, capsys):
    runtime = pytest.importorskip("qiskit_ibm_runtime")
    model, frames = tmp_path / "water.qiff", tmp_path / "water.xyz"
    qiff.save(EXAMPLES["water"].fresh(), model)
    ase.io.write(frames, WATER)
    command = ["predict", str(model), str(frames), str(tmp_path / "out.xyz")]
    command += ["--executor", "runtime:ibm_torino"]
    monkeypatch.delenv("QISKIT_IBM_TOKEN", raising=False)
    assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert "set the environment variable QISKIT_IBM_TOKEN" in line

    def refuse(**arguments):
        raise ValueError(f"Token {arguments['token']} is not valid.\nSee the manual.")

    monkeypatch.setattr(runtime, "QiskitRuntimeService", refuse)
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "secret")
    assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert "refused the token" in line
    assert "secret" not in line
    assert not (tmp_path / "out.xyz").exists()


def test_a_device_that_the_runtime_does_not_have_is_named(monkeypatch):
    runtime = pytest.importorskip("qiskit_ibm_runtime")
    monkeypatch.setattr(runtime, "QiskitRuntimeService", lambda **_: SimpleNamespace(backend=busy))
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "secret")
    with pytest.raises(InputError, match="has no device `torino`: the device is busy"):
        make_executor("runtime:torino")


@pytest.fixture
def service(tmp_path, monkeypatch):
    pytest.importorskip("qiskit_ibm_runtime")
    from .fake_service import Service, install

    service = Service(tmp_path / "service")
    install(service, monkeypatch.setattr)
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "secret")
    return service


def test_a_device_of_the_runtime_differs_from_a_fake_one_by_its_service_alone(shallow, service):
    executor = device("runtime:ibm_manila")
    found = estimate(shallow, BOND, executor, Protocol(2000))
    n_jobs = resources(shallow, BOND, executor, Protocol(2000))["jobs"]
    assert len(service.taken) == n_jobs > 1  # one for each number of shots
    wanted = estimate(shallow, BOND, make_executor("fake:manila"), Protocol(2000))
    off = (found.forces - wanted.forces) / (found.forces_error + 1e-9)
    assert np.abs(off).max() < FALSE_ALARM
    assert found.n_shots == wanted.n_shots
    with pytest.raises(LostJobError, match="job7"):
        executor.fetch("job7", job_of(shallow, BOND, [1]))
    (service.folder / "job0.npz").unlink()
    with pytest.raises(RunError, match=r"job job0 could not be fetched .*not sent a second time"):
        executor.fetch("job0", job_of(shallow, BOND, [1]))


KILLS = 8


class Killed:
    """`qiff predict` with an executor in a folder, whose processes are killed.

    Args:
        folder: with the files `model.qiff` and `in.xyz`.
        place: for the output.
        executor: its name.
    """

    def __init__(self, folder: Path, place: str, executor: str):
        self.folder = folder / place
        self.folder.mkdir()
        self.command = [sys.executable, "-m", "tests.fake_service", self.folder / "service"]
        self.command += ["predict", folder / "model.qiff", folder / "in.xyz", self.out]
        self.command += ["--executor", executor, "--shots", "3000", "--mitigate", "readout"]

    @property
    def out(self) -> Path:
        return self.folder / "out.xyz"

    def start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self.command, cwd=Path(__file__).parent.parent)

    def lines(self, name: str) -> list[Any]:
        path = self.folder / "out.results" / name
        return path.read_text().splitlines() if path.exists() else []

    def killed_after(self, n_lines: int, seconds: float) -> bool:
        """Whether it was killed this long after it had written some lines on jobs."""
        process, wanted = self.start(), len(self.lines("jobs.jsonl")) + n_lines
        while len(self.lines("jobs.jsonl")) < wanted and process.poll() is None:
            time.sleep(0.01)
        time.sleep(seconds)
        process.kill()
        return process.wait() == -signal.SIGKILL

    @property
    def results(self) -> dict[str, object]:
        """What was measured, by key."""
        records = list(map(json.loads, self.lines("results.jsonl")))
        found = {record["key"]: record["outcomes"] for record in records}
        assert len(found) == len(records)  # nothing was measured twice
        return found

    @property
    def sent(self) -> list[list[str]]:
        """Keys of the circuits of every job."""
        records = map(json.loads, self.lines("jobs.jsonl"))
        return [record["keys"] for record in records if "keys" in record]


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["runtime:fake_manila", "runtime:ibm_manila"])
def test_kills_at_random_moments_repeat_no_job(shallow, executor, tmp_path, monkeypatch):
    """Of a fake device the job under way ends with the process, and that one alone is repeated."""
    pytest.importorskip("qiskit_ibm_runtime")
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "secret")
    qiff.save(shallow, tmp_path / "model.qiff")
    frames = [BOND.copy() for _ in range(4)]
    for k, atoms in enumerate(frames):
        atoms.positions[1] *= 1 + 0.02 * (k // 2)  # two measurements of each geometry
    ase.io.write(tmp_path / "in.xyz", frames)
    undisturbed, killed = (Killed(tmp_path, name, executor) for name in ("undisturbed", "killed"))
    assert undisturbed.start().wait() == 0
    draw, kills = random.Random(0), 0
    for _ in range(KILLS):
        kills += killed.killed_after(draw.randint(1, 4), draw.uniform(0, 0.3))
    assert kills >= KILLS // 2
    assert killed.start().wait() == 0
    assert killed.results == undisturbed.results
    assert killed.out.read_text() == undisturbed.out.read_text()
    n_jobs, times = len(undisturbed.sent), Counter(key for keys in killed.sent for key in keys)
    assert n_jobs >= 2 + len(frames)
    if executor == "runtime:fake_manila":
        assert len(killed.sent) <= n_jobs + kills
        assert max(times.values()) <= 1 + kills
    else:
        taken = (killed.folder / "service" / "jobs.txt").read_text().splitlines()
        assert len(taken) == len(killed.sent) == n_jobs
        assert set(times.values()) == {1}
