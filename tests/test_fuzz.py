"""Finds of `make fuzz` are read again: an error of one line, or nothing; never a traceback."""

import re
import shutil
from pathlib import Path
from random import Random

import numpy as np
import pytest

from .fuzz import mutations
from .fuzz.controls import CONTROLS
from .fuzz.targets import TARGETS, check
from .fuzz.watch import CORPUS, NAMES, fuzz
from .fuzz.worker import attempt

FINDS = sorted(path for path in CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("find", FINDS, ids=[f"{path.parent.name}-{path.stem}" for path in FINDS])
def test_what_was_found_once_is_an_error_of_one_line(find, tmp_path):
    shutil.copy(find, tmp_path / f"input{find.suffix}")
    target = TARGETS[find.parent.name]
    assert attempt(target, tmp_path / f"input{find.suffix}", b"", True, 60) is None


def test_every_target_has_a_name():
    assert tuple(TARGETS) == NAMES


def test_control_a_traceback_is_a_find(tmp_path):
    def fails(path: Path, original: bytes, may_differ: bool) -> None:
        raise KeyError("history")

    found = check(TARGETS["states"]._replace(run=fails), tmp_path)
    assert re.fullmatch(r"test_fuzz.py:\d+: KeyError: 'history'", found or "")


def test_control_an_input_that_takes_too_long_is_a_find(tmp_path):
    (tmp_path / "input.txt").write_bytes(b"bad")
    found = attempt(CONTROLS["loops"], tmp_path / "input.txt", b"good", True, 0.1)
    assert found == "took more than 0.1 s"


def test_control_an_error_that_is_printed_is_a_find(tmp_path):
    (tmp_path / "input.txt").write_bytes(b"bad")
    found = attempt(CONTROLS["prints"], tmp_path / "input.txt", b"good", True)
    assert found == "prints ValueError('too late')"


@pytest.mark.parametrize("name", ["models", "states"])
def test_control_a_file_that_is_silently_different_is_a_find(name, tmp_path, monkeypatch):
    """If nothing compared the checksum, an edited array would be read without complaint."""
    target = TARGETS[name]
    seeds = target.seeds(tmp_path)
    original = seeds["classical.qiff" if name == "models" else "state.npz"]
    members = dict(np.load(tmp_path / _written(tmp_path, "original.npz", original)))
    largest = max(members, key=lambda key: np.count_nonzero(members[key]))
    members[largest] = members[largest] * 1.5
    path = tmp_path / "edited.npz"
    np.savez(path, **members)
    assert check(target, path, original, False) is None  # it is refused
    monkeypatch.setattr("qiff.training.checkpoint.check_unchanged", lambda *a, **k: None)
    assert "DifferentError" in (check(target, path, original, False) or "")


def _written(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("loops", "took more than 5 s"),
        ("fills", "took more than 1024 MB"),
        ("fills_all", "took more than 1024 MB"),
        ("adds", "took more than 10 s in a library"),
        ("sleeps", "waited for 8 s"),
        ("aborts", "exit code -6"),
    ],
)
def test_control_each_limit_of_a_process_is_enforced(name, wrong, tmp_path, capfd):
    """And a process that ends is begun again; with this seed the second of two inputs is good."""
    found = fuzz(name, 13938, 300, 2, tmp_path, patience=8)
    assert found == (2, 1)
    (kept,) = (tmp_path / name).iterdir()
    assert kept.read_bytes() == b"bad"
    assert wrong in capfd.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_changed_inputs_are_read_or_refused(name, tmp_path, capfd):
    """A short run, which begins where `make fuzz` begins."""
    found = fuzz(name, 0, 600, 300, tmp_path)
    assert (found.inputs, found.finds) == (300, 0), capfd.readouterr().out


def test_changed_inputs_differ():
    changed = {mutations.of_bytes(Random(n), b"0123456789") for n in range(9)}
    assert len(changed) > 5
