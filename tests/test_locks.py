"""Two processes on one file or folder: the second is refused, however the first ends."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ase.build
import ase.io
import pytest

from qiff._checks import InputError
from qiff._files import atomic_write, hold, locked
from qiff.hardware.delivery import Cached
from qiff.hardware.executor import Exact
from qiff.labelling.batch import label_frames
from qiff.labelling.levels import find_level
from qiff.labelling.store import LabelStore
from qiff.run.folder import RunFolder

from .test_cli import CONFIG, contents, refused

HOLD = """
import qiff_command, sys
from contextlib import ExitStack
from pathlib import Path
from qiff._files import locked
held = ExitStack()
for line in sys.stdin:
    held.enter_context(locked(Path(line.strip())))
    print("held", flush=True)
held.close()
"""


class Other:
    """Another process, which holds locks."""

    def __init__(self):
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", HOLD]
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def hold(self, path: Path) -> str:
        """Hold the lock of a file; how a message names this process."""
        assert self.process.stdin
        assert self.process.stdout
        print(path, file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == "held\n"
        return f"{path}: is in use by process {self.process.pid} on {os.uname().nodename} since 2"

    def end(self, number: int = 0) -> None:
        """End by a signal, or of itself."""
        if number:
            self.process.send_signal(number)
        self.process.communicate()


@pytest.fixture(scope="module")
def other() -> Iterator[Other]:
    """Another process, for the tests of this file."""
    other = Other()
    yield other
    other.end()


def is_refused(path: Path) -> bool:
    try:
        with locked(path):
            return False
    except InputError:
        return True


# --- who is refused ---------------------------------------------------------------------------


@pytest.fixture
def lines(tmp_path, monkeypatch) -> dict[str, list[str]]:
    """Command lines by the file whose lock they need, in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text(CONFIG.replace("OUTPUT", "run"))
    ase.io.write("in.xyz", ase.build.molecule("CH3CH2OH"))
    emt = ["--level", "ase.calculators.emt:EMT"]
    cached = ["--executor", "exact", "--cache", "cache"]
    return {
        "run/config.toml": ["train", "run.toml", "--overwrite"],
        "learned/config.toml": ["learn", "bundled:water", "--out", "learned", *emt],
        "a.xyz": ["md", "ethanol", "in.xyz", "--steps", "2", "--out", "a.xyz"],
        "b.xyz.part": ["label", "bundled:water", "b.xyz", *emt],
        "cache/results.jsonl": ["predict", "ethanol", "in.xyz", "c.xyz", *cached],
    }


PLACES = (
    *("run/config.toml", "learned/config.toml", "a.xyz", "b.xyz.part"),
    "cache/results.jsonl",
)


@pytest.mark.parametrize("place", PLACES)
def test_a_command_names_who_writes_already_and_changes_nothing(
    place, lines, other, tmp_path, capsys
):
    named = other.hold(Path(place).absolute()).partition(": ")[2]
    before = contents(tmp_path)
    assert f"qiff: {place}: {named}" in refused(capsys, *lines[place])
    assert contents(tmp_path) == before


def test_labels_and_results_are_kept_by_one_process(other, tmp_path):
    level = find_level("ase.calculators.emt:EMT", {})
    named = other.hold(tmp_path / "labels.jsonl")
    for write in (label_frames, lambda level, frames, path: LabelStore(path, level)):
        with pytest.raises(InputError, match=named):
            write(level, [], tmp_path / "labels.jsonl")
    named = other.hold(tmp_path / "results.jsonl")
    with pytest.raises(InputError, match=named):
        Cached(Exact(), tmp_path)
    LabelStore(tmp_path / "others.jsonl", level)  # control: another file is free


def test_other_processes_of_one_parallel_run_are_not_refused(other, tmp_path):
    other.hold(tmp_path / "config.toml")
    with RunFolder(tmp_path, writes=False).locked():
        pass
    with pytest.raises(InputError), RunFolder(tmp_path, writes=True).locked():
        pass


@pytest.mark.slow
def test_of_two_runs_that_begin_together_one_is_refused(tmp_path):
    (tmp_path / "run.toml").write_text(CONFIG.replace("OUTPUT", "run"))
    command = [sys.executable, "-c", "from qiff.cli import entry; entry()", "train", "run.toml"]
    command += ["--set", "train.steps=200", "--overwrite"]
    pipe = subprocess.PIPE
    both = [subprocess.Popen(command, cwd=tmp_path, stderr=pipe, text=True) for _ in range(2)]
    errors = {process.communicate()[1].splitlines()[-1]: process.returncode for process in both}
    assert sorted(errors.values()) == [0, 2]
    (refusal,) = [text for text, code in errors.items() if code]
    assert "run/config.toml: is in use by process" in refusal
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["steps"] == 200


# --- how it ends ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, signal.SIGTERM, signal.SIGKILL])
def test_a_lock_ends_with_its_process(number, tmp_path):
    other = Other()
    other.hold(tmp_path / "file")
    assert is_refused(tmp_path / "file")
    other.end(number)
    assert (tmp_path / ".file.lock").exists() == bool(number)
    assert not is_refused(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_contexts_of_one_process_do_not_exclude_each_other(tmp_path):
    class Owner:
        pass

    owner, lock = Owner(), tmp_path / "deep" / ".file.lock"
    with locked(tmp_path / "deep" / "file"):
        hold(owner, tmp_path / "deep" / "file")
    assert lock.exists()
    del owner
    assert not lock.exists()
    assert not lock.parent.exists()  # it was made for the lock


def test_where_there_are_no_locks_there_is_none(other, tmp_path, monkeypatch):
    def unsupported(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    other.hold(tmp_path / "file")
    monkeypatch.setattr(fcntl, "flock", unsupported)
    assert not is_refused(tmp_path / "file")
    monkeypatch.undo()
    assert is_refused(tmp_path / "file")  # control, and nothing was released


# --- writing ----------------------------------------------------------------------------------


def test_writers_of_one_file_take_turns_and_use_what_a_killed_one_has_left(tmp_path):
    path, texts = tmp_path / "file", [f"{n}" * 1000 for n in range(4)]
    (tmp_path / ".file.tmp").write_text("more than what is written" * 1000)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda n: atomic_write(path, texts[n % 4]), range(100)))
    assert path.read_text() in texts
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_files_are_written_where_there_are_no_locks(tmp_path, monkeypatch):
    def unsupported(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    atomic_write(tmp_path / "file", "text")
    assert (tmp_path / "file").read_text() == "text"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
