"""`qiff learn` whose processes are killed at random moments ends with the labels of an undisturbed
run, none of which is computed again."""

import collections
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import ase.io
import pytest

CONFIG = """
structures = ["smiles:O"]
output = "water"
members = 2
final_steps = 20
[label]
level = "noted:Noted"
budget = 60
[explore]
n_conformers = 1
n_initial = 10
temperatures = [300.0]
n_walkers = 2
picoseconds = 0.1
n_candidates = 40
[select]
n_frames = 6
threshold = 0.001
[model]
kind = "triatomic"
elements = ["O", "H", "H"]
n_layers = 1
[train]
steps = 20
batch_size = 4
evaluate_every = 10
[targets]
picoseconds = 0.2
n_checked = 3
n_validated = 5
"""

LEVEL = '''
import os, time
from ase.calculators.calculator import Calculator, all_changes
from qiff.labelling.journal import geometry_hash
from qiff.labelling.levels import find_level

class Noted(Calculator):
    """GFN2-xTB that notes every calculation in a file as it begins."""

    implemented_properties = ["energy", "forces"]

    def calculate(self, atoms=None, properties=(), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        with open(os.environ["CALLS"], "a") as file:
            file.write(geometry_hash([atoms]) + "\\n")
        time.sleep(0.1)
        self.results = dict(find_level("gfn2").label(atoms))
'''


class Run:
    """`qiff learn` in a folder, begun again after every kill of its main process.

    Args:
        folder: where it runs.
        n_workers: of Dask; 0 for none.
    """

    def __init__(self, folder: Path, n_workers: int):
        folder.mkdir()
        (folder / "noted.py").write_text(LEVEL)
        (folder / "learn.toml").write_text(CONFIG)
        self.folder, self.n_workers = folder, n_workers

    def begin(self) -> subprocess.Popen:
        command = (sys.executable, "-m", "qiff.cli", "learn", "learn.toml", "--resume")
        environment = {
            "PYTHONPATH": str(self.folder),
            "CALLS": str(self.folder / "calls"),
            "OMP_NUM_THREADS": "1",
            "QIFF_CACHE": str(self.folder.parent / "cache"),
        }
        with (self.folder / "errors").open("a") as errors:
            return subprocess.Popen(
                (*command, "--workers", str(self.n_workers)),
                cwd=self.folder,
                env=os.environ | environment,
                stderr=errors,
                start_new_session=True,
            )

    def labels(self) -> list[str]:
        """Keys of the labels that are kept, in order."""
        path = self.folder / "water" / "labels.jsonl"
        text = path.read_text() if path.exists() else ""
        lines = text[: text.rfind("\n") + 1].splitlines()[1:]
        return [json.loads(line)["index"] for line in lines]

    def calls(self) -> list[str]:
        """Keys of the calculations that were begun, in order."""
        path = self.folder / "calls"
        return path.read_text().split() if path.exists() else []

    def metrics(self) -> dict:
        found = json.loads((self.folder / "water" / "metrics.json").read_text())
        return {key: value for key, value in found.items() if key != "seconds"}


class Kill(NamedTuple):
    """What was known just after a process was killed."""

    victim: str
    kept: set[str]
    n_calls: int


def session(leader: int) -> dict[int, str]:
    """Names of the living processes of a session, of which `leader` is the first."""
    command = ("ps", "-o", "pid=,stat=,args=", "-s", str(leader))
    listed = subprocess.run(command, capture_output=True, text=True).stdout
    found = {}
    for line in listed.splitlines():
        pid, state, text = line.split(None, 2)
        if not state.startswith("Z"):
            helper = "tracker" if "resource_tracker" in text else "worker"
            found[int(pid)] = "main" if int(pid) == leader else helper
    return found


def killed(run: Run, process: subprocess.Popen, draw: random.Random) -> Kill:
    """Kill one process of a run, or all of them; none is left without its main process."""
    living = session(process.pid)
    victim = draw.choice([*living, 0])
    if victim:
        os.kill(victim, signal.SIGKILL)
    else:
        os.killpg(process.pid, signal.SIGKILL)
    name = living.get(victim, "all")
    if name in ("main", "all"):
        process.wait()
        deadline = time.monotonic() + 60
        while session(process.pid):
            assert time.monotonic() < deadline, "processes are left without their main process"
            time.sleep(0.05)
    kept = set(run.labels())
    return Kill(name, kept, len(run.calls()))


def disturbed(run: Run, draw: random.Random, longest: float) -> list[Kill]:
    """Carry a run to its end, with kills at random moments, at most so many seconds apart."""
    kills, process = [], run.begin()
    while True:
        try:
            assert process.wait(timeout=draw.uniform(0, longest)) == 0, run.folder
            return kills
        except subprocess.TimeoutExpired:
            kills.append(killed(run, process, draw))
        if process.poll() is not None:
            process = run.begin()


@pytest.mark.slow
@pytest.mark.parametrize(("n_workers", "n_kills"), [(0, 10), (1, 15), (2, 8)])
def test_kills_at_random_moments_lose_only_what_is_under_way(n_workers, n_kills, tmp_path):
    pytest.importorskip("tblite")
    if n_workers:
        pytest.importorskip("distributed")
    undisturbed = Run(tmp_path / "undisturbed", n_workers)
    began = time.monotonic()
    assert undisturbed.begin().wait() == 0
    longest = 0.4 * (time.monotonic() - began)
    n_labels = len(undisturbed.labels())
    assert sorted(undisturbed.calls()) == sorted(undisturbed.labels())  # each once
    draw, victims, lost = random.Random(n_workers), collections.Counter(), 0
    n_runs = 0
    while victims.total() < n_kills:
        run = Run(tmp_path / f"killed-{n_runs}", n_workers)
        kills = disturbed(run, draw, longest)
        n_runs += 1
        calls = run.calls()
        for kill in kills:
            assert not kill.kept & set(calls[kill.n_calls :]), "a label that is kept was repeated"
        assert sorted(run.labels()) == sorted(undisturbed.labels())
        assert set(calls) == set(run.labels())
        assert len(calls) <= n_labels + len(kills) * max(1, n_workers)
        assert run.metrics() == undisturbed.metrics()
        assert ase.io.read(run.folder / "water" / "final" / "validated.xyz", ":")
        victims.update(kill.victim for kill in kills)
        lost += len(calls) - n_labels
    print(f"{n_workers} workers: {dict(victims)} killed in {n_runs} runs of {n_labels} labels")
    print(f"{lost} of {victims.total()} kills lost a label under way")
    assert victims["main"]
    assert victims["worker"] or not n_workers
