"""Finds of `make fuzz` are read again: an error of one line, or nothing; never a traceback."""

import shutil
from pathlib import Path
from random import Random

import pytest

from .fuzz import mutations
from .fuzz.targets import TARGETS, check
from .fuzz.worker import CORPUS

FINDS = sorted(path for path in CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("find", FINDS, ids=[f"{path.parent.name}-{path.stem}" for path in FINDS])
def test_what_was_found_once_is_an_error_of_one_line(find, tmp_path):
    shutil.copy(find, tmp_path / f"input{find.suffix}")
    assert check(find.parent.name, tmp_path / f"input{find.suffix}") is None


def test_control_a_traceback_is_a_find(tmp_path, monkeypatch):
    def fails(path: Path, original: bytes, may_differ: bool) -> None:
        raise KeyError("history")

    monkeypatch.setitem(TARGETS, "states", TARGETS["states"]._replace(run=fails))
    assert check("states", tmp_path) == "test_fuzz.py:24: KeyError: 'history'"


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_changed_inputs_are_read_or_refused(name, tmp_path):
    """A short run in this process; it begins where `make fuzz` begins."""
    target = TARGETS[name]
    seeds = list(target.seeds(tmp_path).items())
    for number in range(200):
        rng = Random(f"0 {name} {number}")
        file, original = rng.choice(seeds)
        content, may_differ = target.changed(rng, original)
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / f"input{Path(file).suffix}"
        path.write_bytes(content)
        assert check(name, path, original, may_differ) is None
    changed = {mutations.of_bytes(Random(n), b"0123456789") for n in range(9)}
    assert len(changed) > 5  # control: inputs differ
