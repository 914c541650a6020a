"""One run on several devices and by several processes: the same as on one; all end together."""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qiff
from qiff import InputError, RunError
from qiff._processes import begin
from qiff.cli import main
from qiff.training.parallel import check_same, connected, over_devices

TWO_DEVICES = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
QIFF = (sys.executable, "-c", "from qiff.cli import entry; entry()")
CONFIG = """
[data]
path = "bundled:water"
train = 40
valid = 9
test = 20
[model]
kind = "local"
elements = ["O", "H"]
n_circuits = 2
[train]
steps = 200
batch_size = 15
learning_rate = 0.02
evaluate_every = 20
fit_references = true
"""
QUICK = """
[data]
path = "bundled:lih"
train = 40
valid = 9
test = 20
[model]
kind = "diatomic"
elements = ["Li", "H"]
n_layers = 1
[train]
steps = 200
evaluate_every = 2
forces_weight = 0.0
"""
"""A config that is compiled quickly."""


def numbers(found) -> np.ndarray:
    return np.concatenate([np.ravel(each) for each in found])


def mean_of_frames(w, frames, total):
    """A loss that is as quickly compiled as any: of a weight and the energies of frames."""
    label = jnp.asarray(frames.labels["energy"], w.dtype)
    real = ~jnp.isnan(label)
    error = jnp.where(real, w * jnp.asarray(frames.graph.positions)[:, 1, 2] - label, 0)
    return total((error**2).sum()) / total(real.sum())


def mean_and_slope(frames) -> list[float]:
    found = jax.jit(jax.value_and_grad(over_devices(mean_of_frames)))(jnp.float32(2), frames)
    return [jax.device_count(), *map(float, found)]


def five_frames():
    return qiff.stack(qiff.read(qiff.Source("bundled:lih"))[:5])


def test_a_loss_on_two_devices_is_that_on_one():
    """Five frames on two devices, so that one of them computes a copy that does not count."""
    code = (
        "from tests.test_parallel import mean_and_slope, five_frames; "
        "print(*mean_and_slope(five_frames()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent.parent,
        env=os.environ | TWO_DEVICES,
        capture_output=True,
        text=True,
        check=True,
    )
    n_devices, *there = map(float, done.stdout.split())
    frames = five_frames()
    _, *here = mean_and_slope(frames)
    assert n_devices == 2
    np.testing.assert_allclose(there, here, rtol=1e-5)
    parts = [jax.tree.map(lambda a, p=p: a[p], frames) for p in (slice(3), slice(3, 5))]
    halves = np.mean([mean_and_slope(part)[1:] for part in parts], 0)
    assert np.all(np.abs(halves - here) > 1e-4 * np.abs(here))  # control: not the mean of means


def test_wrong_addresses_are_refused():
    for address, text in (
        ("here", "must be HOST:PORT"),
        ("127.0.0.1:99999", "the port must be below 65536"),
    ):
        with pytest.raises(InputError, match=text):
            begin(address, 2, 0)


def test_processes_that_are_not_found_are_one_line(tmp_path, capsys, monkeypatch):
    def absent(*args):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr("jax.distributed.initialize", absent)
    assert main(["train", str(tmp_path / "run.toml"), "--distributed"]) == 2
    assert capsys.readouterr().err == (
        "qiff: the processes could not be connected (coordinator_address should be defined.); give "
        "--coordinator HOST:PORT, --processes N and, from 0 to N - 1, --process I.\n"
    )


def test_another_process_with_another_config_is_refused(monkeypatch):
    monkeypatch.setattr("jax.process_count", lambda: 2)
    first = lambda changed: monkeypatch.setattr(
        "jax.experimental.multihost_utils.broadcast_one_to_all", lambda own: own + changed
    )
    first(np.zeros((2, 1), np.uint8))
    check_same({"config": 1, "history": ()})
    first(np.array([[0], [1]], np.uint8))
    with pytest.raises(InputError, match="its history is not that of process 0"):
        check_same({"config": 1, "history": ()})


def test_a_lost_connection_is_a_failed_run(monkeypatch):
    with pytest.raises(ValueError, match="Gloo"), connected():
        raise ValueError("Gloo all-reduce failed")  # control: there is no other process
    monkeypatch.setattr("jax.process_count", lambda: 2)
    with pytest.raises(RunError, match="lost; see what that process printed"), connected():
        raise ValueError("Gloo all-reduce failed")


def test_a_computation_that_does_not_see_sigterm_ends_soon():
    code = """
import os, signal, time
from qiff import _signals
_signals._GRACE = 0.1
signal.signal(signal.SIGTERM, _signals.interrupt)
_signals.end_late("terminated")
try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(30)
except _signals.Terminated:
    time.sleep(30)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=25)
    assert (done.returncode, done.stderr) == (143, "terminated\n")


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("config") / "run.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def quick(tmp_path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(QUICK)
    return path


def started(n: int, config: Path, output: Path, *more: str) -> list[subprocess.Popen]:
    """`n` processes that train together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [*QIFF, "train", str(config), "--set", f"output={output}", *more]
    together = lambda i: ["--coordinator", address, "--processes", str(n), "--process", str(i)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [
        subprocess.Popen([*command, *(together(i) if n > 1 else [])], **pipes) for i in range(n)
    ]


def ended(processes: list[subprocess.Popen]) -> tuple[list[int], list[str]]:
    """Exit codes, and what `qiff` printed on stderr, lines of progress left out."""
    errors = [process.communicate(timeout=600)[1] for process in processes]
    lines = [line for error in errors for line in error.splitlines() if " %  " not in line]
    return [process.returncode for process in processes], lines


def wait_for(path: Path, processes: list[subprocess.Popen]) -> None:
    while not path.exists():
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)


def history(folder: Path) -> np.ndarray:
    rows = csv.DictReader((folder / "history.csv").open())
    return np.array([[float(value) for value in row.values()] for row in rows])


def weights(folder: Path) -> np.ndarray:
    return numbers(jax.tree.leaves(qiff.load(folder / "model.qiff")))


def check_same_run(found: Path, expected: Path) -> None:
    np.testing.assert_allclose(history(found), history(expected), rtol=0, atol=1e-10)
    np.testing.assert_allclose(weights(found), weights(expected), rtol=0, atol=1e-10)


@pytest.fixture(scope="module")
def alone(config, tmp_path_factory) -> Path:
    """The run of one process on one device."""
    folder = tmp_path_factory.mktemp("runs") / "alone"
    assert main(["train", str(config), "--set", f"output={folder}"]) == 0
    return folder


@pytest.mark.slow
def test_two_processes_are_one(config, alone, tmp_path):
    processes = started(2, config, tmp_path / "two")
    outputs = [process.communicate(timeout=600) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    printed = lambda text: [line for line in text.splitlines() if not line.startswith("[Gloo]")]
    assert "run folder" in outputs[0][0]
    assert (printed(outputs[1][0]), outputs[1][1]) == ([], "")  # only the first process prints
    check_same_run(tmp_path / "two", alone)
    assert {path.name for path in (tmp_path / "two").iterdir()} == {
        path.name for path in alone.iterdir()
    }
    started_otherwise = started(1, config, tmp_path / "other", "--set", "train.batch_size=16")
    assert ended(started_otherwise)[0] == [0]
    with pytest.raises(AssertionError):  # control
        check_same_run(tmp_path / "other", alone)


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("members=2",), ("train.gradient=spsa",)], ids=str)
def test_two_devices_are_one(config, alone, tmp_path, monkeypatch, more):
    changes = [text for change in more for text in ("--set", change)]
    expected = alone
    if changes:
        expected = tmp_path / "one"
        assert main(["train", str(config), "--set", f"output={expected}", *changes]) == 0
    monkeypatch.setenv("XLA_FLAGS", TWO_DEVICES["XLA_FLAGS"])
    assert ended(started(1, config, tmp_path / "two", *changes))[0] == [0]
    check_same_run(tmp_path / "two", expected)


@pytest.mark.slow
def test_killed_and_resumed_by_one_process(config, alone, tmp_path):
    processes = started(2, config, tmp_path / "run")
    wait_for(tmp_path / "run" / "state.npz", processes)
    for process in processes:
        process.kill()
    assert ended(processes)[0] == [-signal.SIGKILL] * 2
    assert 20 <= history(tmp_path / "run")[-1, 0] < 200
    assert main(["train", str(config), "--set", f"output={tmp_path / 'run'}", "--resume"]) == 0
    check_same_run(tmp_path / "run", alone)


@pytest.mark.slow
def test_a_mistake_is_one_line_of_one_process(quick, tmp_path):
    codes, lines = ended(started(2, quick, tmp_path / "run", "--set", "train.step=3"))
    assert codes == [2, 2]
    assert lines == [f"qiff: {quick}: `train.step`: key `step` is not known; did you mean `steps`?"]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_no_process_survives_another(quick, tmp_path, killed):
    processes = started(2, quick, tmp_path / "run", "--set", "train.steps=100000")
    wait_for(tmp_path / "run" / "state.npz", processes)
    processes[killed].kill()
    codes, _ = ended(processes)
    assert codes[killed] == -signal.SIGKILL
    assert codes[1 - killed] in ((1,) if killed else (1, -signal.SIGABRT))


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2])
def test_sigterm_exits_with_143(quick, tmp_path, n):
    processes = started(n, quick, tmp_path / "run")
    wait_for(tmp_path / "run" / "state.npz", processes)
    for process in processes:
        process.terminate()
    codes, lines = ended(processes)
    assert codes == [143] * n
    assert lines == ["qiff: terminated; continue with --resume."]
    assert 0 < len(history(tmp_path / "run")) < 100
    assert main(["train", str(quick), "--set", f"output={tmp_path / 'run'}", "--resume"]) == 0
    assert history(tmp_path / "run")[:, 0].tolist() == list(range(2, 201, 2))


@pytest.mark.slow
def test_sigterm_during_dynamics_leaves_a_checkpoint(tmp_path):
    command = [*QIFF, "md", "ethanol", "smiles:CCO", "--steps", "1000000"]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "traj.xyz")], stderr=subprocess.PIPE, text=True
    )
    wait_for(tmp_path / "traj.checkpoint.npz", [process])
    process.terminate()
    codes, lines = ended([process])
    assert codes == [143]
    assert lines[-1].startswith("qiff: terminated; the frames so far are in the trajectory")
    assert (tmp_path / "traj.checkpoint.npz").exists()
