"""Stacks of configurations in files: the same as in memory, whatever their number."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase
import ase.build
import jax
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

import qiff
from qiff import InputError, Training
from qiff.atoms.stored import stack_in_files, stacked_size
from qiff.model.build import build_for
from qiff.run.config import Data
from qiff.training.fit import fit, initial_state

QIFF = (sys.executable, "-c", "from qiff.cli import entry; entry()")


def labelled(atoms: ase.Atoms, seed: int, **info: object) -> ase.Atoms:
    rng = np.random.default_rng(seed)
    atoms.rattle(0.05, rng=rng)
    atoms.info |= info
    energy, forces = rng.normal(), rng.normal(size=(len(atoms), 3))
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


def mixed() -> list[ase.Atoms]:
    """Molecules and crystals, of which some have no labels, a stress or a weight."""
    found = [labelled(ase.build.molecule(name), 1) for name in ("H2O", "CH4", "H2", "C6H6")]
    found += [labelled(ase.build.bulk("Si", cubic=True), n, weight=1.0 + n) for n in range(2)]
    found.append(ase.build.bulk("C"))
    calculator: Any = found[4].calc
    calculator.results["stress"] = np.arange(6.0)
    return found


@pytest.mark.parametrize("cutoff", [None, 4.0])
def test_a_stack_in_files_is_that_in_memory(cutoff, tmp_path, monkeypatch):
    monkeypatch.setattr("qiff.atoms.stored._PIECE", 3)
    frames = mixed()
    expected = qiff.stack(frames, "float32", cutoff)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "99.npy").write_text("of before")
    found = stack_in_files(frames, tmp_path / "files", "float32", cutoff)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        assert isinstance(one, np.memmap)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert len(list((tmp_path / "files").iterdir())) == len(jax.tree.leaves(expected))
    largest = qiff.stack([frames[3]] * len(frames), "float32", cutoff)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(largest))
    assert stacked_size(frames, "float32", cutoff) == size
    assert stacked_size([], "float32", cutoff) == 0


def test_the_limit_is_not_negative():
    with pytest.raises(InputError, match="`in_memory` must be at least 0, but is -1"):
        Data("a.xyz", in_memory=-1.0)


class Crystals(Sequence[Any]):
    """Frames that are made as they are asked for."""

    def __init__(self, n: int):
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index) -> Any:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(self._n))]
        if not 0 <= index < self._n:
            raise IndexError(index)
        return labelled(ase.build.bulk("Si", cubic=True) * (2, 2, 2), index)


def private_bytes() -> int:
    """Memory of this process that no file stands for."""
    (line,) = (
        line for line in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in line
    )
    return 1024 * int(line.split()[1])


def growth(n_frames: int, folder: str) -> int:
    """The most memory in bytes that a fit takes in addition, read after every validation."""
    frames = Crystals(n_frames)
    model = {"kind": "local", "elements": ["Si"], "n_circuits": 1, "cutoff": 4.0}
    potential = build_for(frames[:2], model, seed=0, dtype="float32")
    training = Training(steps=40, batch_size=2, evaluate_every=10, forces_weight=0.0)
    valid = qiff.stack(frames[:2], "float32", 6.0)
    begin, found = private_bytes(), []
    if folder:
        train = stack_in_files(frames, Path(folder), "float32", 6.0)
    else:
        train = qiff.stack(frames, "float32", 6.0)
    after = lambda state: found.append(private_bytes())
    fit(initial_state(potential, training), train, valid, training, seed=0, after_validation=after)
    return max(found) - begin


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_frames(tmp_path):
    def measured(n_frames: int, folder: str) -> float:
        code = f"from tests.test_stored import growth; print(growth({n_frames}, {folder!r}))"
        root = Path(__file__).parent.parent
        found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True)
        return int(found.stdout) / 1e6

    few, many = (measured(n, str(tmp_path / "files")) for n in (500, 2000))
    of_one = stacked_size(Crystals(1), "float32", 6.0) / 1e6
    in_memory = measured(2000, "")
    print(f"MB: {few:.0f} and {many:.0f} in files, {in_memory:.0f} in memory, {of_one:.3f} a frame")
    assert many - few < 0.2 * 1500 * of_one
    assert in_memory - many > 0.5 * 2000 * of_one  # control


CONFIG = """
output = "run"
[data]
path = "bundled:lih"
train = 40
valid = 9
test = 20
in_memory = 0.0
[model]
kind = "diatomic"
elements = ["Li", "H"]
n_layers = 1
[train]
steps = 100
evaluate_every = 2
forces_weight = 0.0
"""


@pytest.mark.slow
def test_a_run_with_frames_in_files_resumes_after_a_kill(tmp_path):
    (tmp_path / "run.toml").write_text(CONFIG)
    command, run = (*QIFF, "train", str(tmp_path / "run.toml")), tmp_path / "run"
    alone = ("--set", f"output={str(tmp_path / 'alone')!r}", "--set", "data.in_memory=4.0")
    subprocess.run((*command, *alone), check=True, cwd=tmp_path)
    process = subprocess.Popen(command, cwd=tmp_path)
    while not (run / "state.npz").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert any((run / "arrays-0").rglob("*.npy"))
    assert not (run / "metrics.json").exists()
    subprocess.run((*command, "--resume"), check=True, cwd=tmp_path, env=os.environ)
    assert not (run / "arrays-0").exists()
    one, other = run, tmp_path / "alone"
    assert (one / "history.csv").read_text() == (other / "history.csv").read_text()
    weights = [jax.tree.leaves(qiff.load(folder / "last.qiff")) for folder in (one, other)]
    assert all(map(np.array_equal, *weights))
