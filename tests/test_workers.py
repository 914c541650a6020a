"""Independent tasks in other processes: nothing is lost, repeated or left behind."""

import collections
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import ase.build
import numpy as np
import pytest

from qiff import _workers
from qiff._checks import InputError, MissingExtraError, RunError
from qiff._tasks import FEW, MANY
from qiff._workers import InThisProcess, workers
from qiff.cli import main
from qiff.labelling.batch import label_frames
from qiff.labelling.levels import find_level

QIFF = (sys.executable, "-c", "from qiff.cli import entry; entry()")


def square(number):
    return number * number


def slowly(number):
    """A number and the process that it was sent to."""
    time.sleep(0.02)
    return number, os.getpid()


def briefly(number):
    time.sleep(0.001)
    return number, os.getpid()


def refuse_1999(number):
    if number == 1999:
        raise InputError("`number` must not be 1999.")
    return number


def refuse_five(number):
    if number == 5:
        raise InputError("`number` must not be 5.")
    return 1 / number


def kill_at_three(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def threads_allowed(number):
    return [os.environ[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC")]


def session(leader: int) -> list[str]:
    """The living processes of the session of a process."""
    listed = subprocess.run(["ps", "-o", "stat=,args=", "-s", str(leader)], capture_output=True)
    return [line for line in listed.stdout.decode().splitlines() if not line.startswith("Z")]


def wait_until(condition, seconds=600.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# --- in this process --------------------------------------------------------------------------


def test_without_arguments_it_is_the_builtin_map():
    with workers() as found:
        assert found is map


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1,), "`workers` must be at least 0, but is -1"),
        ((2, "tcp://localhost:8786"), "exclude each other"),
        ((0, "no-such.json"), r"no-such\.json: no such file"),
        ((0, __file__), "is not a scheduler file of Dask"),
        ((0, "xyz://localhost:1"), "is no scheduler of Dask"),
    ],
)
def test_mistakes_are_refused(arguments, message):
    pytest.importorskip("distributed")
    with pytest.raises(InputError, match=message), workers(*arguments):
        pass


def test_the_extra_is_named_where_dask_is_absent(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'qiff\[dask\]'"), workers(2):
        pass
    out = str(tmp_path / "lih.xyz")
    assert main(["data", "make", "lih", "--workers", "2", "--out", out]) == 2
    assert "pip install 'qiff[dask]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_function_for_this_process_does_nothing_in_another():
    seen = []
    function = InThisProcess(seen.append)
    function("here")
    pickle.loads(pickle.dumps(function))("there")
    assert seen == ["here"]


def test_workers_that_die_at_their_start_are_begun_again_some_times(monkeypatch):
    pytest.importorskip("distributed")
    begun = []

    def dies(n):
        begun.append(n)
        raise RuntimeError("Nanny failed to start.")

    monkeypatch.setattr(_workers, "_new_cluster", dies)
    with pytest.raises(RunError, match=r"end while they start \(Nanny failed"), workers(3):
        pass
    assert begun == [3] * _workers.ATTEMPTS


def test_workers_whose_restart_failed_are_replaced():
    nanny = lambda status: SimpleNamespace(status=SimpleNamespace(name=status))
    states, scaled = ("closed", "running", "failed", "closing"), []
    cluster = SimpleNamespace(
        workers=dict(enumerate(map(nanny, states))),
        loop=SimpleNamespace(add_callback=lambda function: function()),
        scale=scaled.append,
    )
    _workers._repair(cluster, 4)
    assert [*cluster.workers] == [1, 3]
    assert scaled == [4]


# --- with Dask --------------------------------------------------------------------------------


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """The map of two workers, whose temporary files are below `tmp_path`."""
    pytest.importorskip("distributed")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with workers(2) as found:
        yield found


def all_arrive_once(cluster, function, n_items: int) -> int:
    """Kill the worker of the result in the middle; returns its process."""
    found, killed = [], 0
    for index, process in cluster(function, range(n_items)):
        found.append(index)
        if len(found) == n_items // 2:
            killed = process
            os.kill(killed, signal.SIGKILL)
    assert killed
    assert collections.Counter(found) == dict.fromkeys(range(n_items), 1)
    return killed


@pytest.mark.slow
def test_every_task_arrives_once_when_a_worker_is_killed(cluster):
    killed = all_arrive_once(cluster, slowly, 200)
    begin, processes = time.monotonic(), set()
    while len(processes) < 2 and time.monotonic() - begin < 60:  # its successor has to start
        processes |= {process for _, process in cluster(slowly, range(20))}
    assert len(processes - {killed, os.getpid()}) == 2  # the killed one is replaced


@pytest.mark.slow
@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_thousand_labels_arrive_once_when_a_worker_is_killed(n_workers, tmp_path):
    pytest.importorskip("distributed")
    pytest.importorskip("tblite")
    frames, rng = [], np.random.default_rng(0)
    for _ in range(1000):
        frames.append(ase.build.molecule("CH3CH2OH"))
        frames[-1].positions += rng.normal(scale=0.03, size=(9, 3))
    level, journal = find_level("gfn2"), tmp_path / "labels.jsonl"
    with workers(n_workers) as found:
        ((_, process),) = found(slowly, [0])
        kill = lambda n_done: os.kill(process, signal.SIGKILL) if n_done == 500 else None
        labelled = label_frames(level, frames, journal, found, kill)
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
    keys = [json.loads(line)["index"] for line in journal.read_text().splitlines()[1:]]
    assert collections.Counter(keys) == dict.fromkeys(range(1000), 1)
    assert labelled.failures == {}
    for atoms in labelled.frames[::50]:
        expected = level.label(atoms)["energy"]
        assert atoms.get_potential_energy() == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
def test_short_items_are_sent_together_and_none_is_lost(cluster):
    found = list(cluster(square, range(3000)))
    assert sorted(found) == [number**2 for number in range(3000)]
    all_arrive_once(cluster, briefly, 2000)


@pytest.mark.slow
def test_results_before_an_error_arrive(cluster):
    found = []
    with pytest.raises(InputError, match="`number` must not be 1999"):
        found.extend(cluster(refuse_1999, range(2000)))
    assert len(set(found)) == len(found) > 1000


@pytest.mark.slow
def test_errors_are_those_of_the_task(cluster):
    with pytest.raises(InputError, match="`number` must not be 5"):
        list(cluster(refuse_five, range(5, 20)))
    with pytest.raises(ZeroDivisionError):
        list(cluster(refuse_five, range(2)))
    assert sorted(cluster(square, range(4))) == [0, 1, 4, 9]  # the workers are there still


@pytest.mark.slow
def test_a_task_that_kills_every_worker_is_an_error(cluster):
    with pytest.raises(RunError, match="several workers died at the same task"):
        list(cluster(kill_at_three, [3]))
    assert sorted(cluster(square, range(4))) == [0, 1, 4, 9]


@pytest.mark.slow
def test_not_all_tasks_are_sent_at_once(cluster):
    drawn = []

    def items():
        for number in range(100_000):
            drawn.append(number)
            yield number

    results = iter(cluster(square, items()))
    assert next(results) in map(square, range(FEW))  # in any order
    assert len(drawn) <= FEW
    found = [next(results) for _ in range(4 * FEW)]
    assert len(set(found)) == len(found)
    assert FEW < len(drawn) <= MANY + 6 * FEW


@pytest.mark.slow
def test_workers_have_one_thread_and_leave_nothing_behind(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = dict(os.environ)
    with workers(1) as found:
        assert list(found(threads_allowed, [0])) == [["1", "1", "1"]]
        assert list(tmp_path.iterdir())  # control: there are temporary files
    assert list(tmp_path.iterdir()) == []
    assert dict(os.environ) == before


@pytest.mark.slow
@pytest.mark.filterwarnings("error::UserWarning")
def test_two_clusters_stand_side_by_side(cluster):
    with workers(1) as other:
        assert sorted(other(square, range(4))) == sorted(cluster(square, range(4)))


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_is_one_line(tmp_path, capsys):
    pytest.importorskip("distributed")
    began = time.monotonic()
    options = ["--scheduler", "tcp://127.0.0.1:9", "--out", str(tmp_path / "lih.xyz")]
    assert main(["data", "make", "lih", *options]) == 2
    assert time.monotonic() - began < 20
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("qiff: tcp://127.0.0.1:9: no scheduler answers within 10 s;")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_cluster_of_dask_jobqueue(tmp_path):
    jobqueue = pytest.importorskip("dask_jobqueue.local")
    options = {"local_directory": str(tmp_path), "log_directory": str(tmp_path)}
    settings = {"cores": 1, "memory": "1GB", "scheduler_options": {"dashboard": False}}
    with jobqueue.LocalCluster(**settings, **options) as cluster:
        cluster.scale(jobs=2)
        with workers(scheduler=cluster.scheduler_address) as found:
            results = dict(found(slowly, range(50)))
    assert results.keys() == set(range(50))
    assert os.getpid() not in results.values()


@pytest.mark.slow
def test_a_scheduler_that_is_lost_is_an_error(tmp_path):
    pytest.importorskip("distributed")
    file = tmp_path / "scheduler.json"
    options = ("--scheduler-file", str(file), "--host", "127.0.0.1", "--port", "0")
    command = (sys.executable, "-m", "distributed.cli.dask_scheduler", *options, "--no-dashboard")
    scheduler = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_until(file.exists)
        lost = pytest.raises(RunError, match="connection to the scheduler is lost")
        with workers(scheduler=str(file)) as found, lost:
            list(found(slowly, items_that_kill(scheduler)))
    finally:
        scheduler.kill()
        scheduler.wait()


def items_that_kill(process):
    """Two tasks, which no worker ever takes; the process is killed before they are sent."""
    yield 0
    process.kill()
    yield 1


@pytest.mark.slow
def test_an_interrupt_ends_labelling_in_workers(tmp_path):
    pytest.importorskip("pyscf")
    pytest.importorskip("distributed")
    part = tmp_path / "lih.xyz.part"
    options = ("--n-frames", "5000", "--workers", "2", "--out", str(tmp_path / "lih.xyz"))
    interrupted(
        ("data", "make", "lih", *options),
        lambda: part.exists() and part.read_text().count('"index"') > 3,
        "qiff: interrupted; repeat the command to resume.",
        tmp_path,
    )


def interrupted(arguments, condition, line, folder):
    """Interrupt a command and its workers, as a terminal does, as soon as a condition holds."""
    scratch = folder / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        (*QIFF, *arguments),
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch)},
        start_new_session=True,
    )
    try:
        wait_until(lambda: process.poll() is not None or condition())
        assert len(session(process.pid)) >= 3  # control: this process and its workers are there
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()  # its workers end with it
    assert process.returncode == 130
    assert error.splitlines()[-1] == line
    assert "Traceback" not in error
    assert time.monotonic() - began < 30
    wait_until(lambda: session(process.pid) == [], 5)
    assert list(scratch.iterdir()) == []


# --- sweeps -----------------------------------------------------------------------------------

CONFIG = """
output = "runs/lih"
[data]
path = "bundled:lih"
train = 8
valid = 4
test = 4
[model]
kind = "diatomic"
elements = ["Li", "H"]
n_layers = 1
[train]
steps = 100
evaluate_every = 2
"""
GRID = ("--grid", "train.learning_rate=0.01,0.03", "--seeds", "3", "--workers", "2")


@pytest.fixture
def config(tmp_path, monkeypatch) -> Path:
    """A config of runs of seconds."""
    pytest.importorskip("distributed")
    monkeypatch.setenv("QIFF_CACHE", str(tmp_path / "cache"))
    (tmp_path / "run.toml").write_text(CONFIG)
    return tmp_path / "run.toml"


def states(out: Path) -> list[Path]:
    return sorted(out.glob("runs/*/state.npz"))


def table(out: Path) -> list[list[str]]:
    """`sweep.csv` without the time of training."""
    rows = [line.split(",") for line in (out / "sweep.csv").read_text().splitlines()]
    place = rows[0].index("training s")
    return [row[:place] + row[place + 1 :] for row in rows]


@pytest.mark.slow
def test_an_interrupt_ends_a_sweep_in_workers(config, tmp_path):
    out = tmp_path / "out"
    interrupted(
        ("sweep", str(config), *GRID, "--out", str(out), "--set", "train.steps=1000000"),
        lambda: states(out),
        "qiff: interrupted; repeat the command to resume.",
        tmp_path,
    )


@pytest.mark.slow
def test_a_sweep_that_is_killed_resumes_and_equals_an_undisturbed_one(config, tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    command = (*QIFF, "sweep", str(config), *GRID)
    process = subprocess.Popen((*command, "--out", str(out)), start_new_session=True)
    finished = lambda: sorted(out.glob("runs/*/report.html"))
    wait_until(lambda: len(finished()) >= 2 and len(states(out)) > len(finished()), 600)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = {path: path.stat().st_mtime_ns for path in finished()}
    assert 2 <= len(before) < 6  # control: it was killed in the middle
    subprocess.run((*command, "--out", str(out)), check=True)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    subprocess.run((*command, "--out", str(other)), check=True)
    assert table(out) == table(other)
    assert len(table(out)) == 7
    for path in states(out):
        assert (
            path.parent.joinpath("history.csv").read_bytes()
            == (other / "runs" / path.parent.name / "history.csv").read_bytes()
        )
