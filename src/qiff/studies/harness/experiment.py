"""One experiment: a model, a loss and data; trained for several seeds, tuned on validation data.

Every run has a folder below one directory, so that an interrupted study resumes.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ase
import jax
import numpy as np

from ..._files import atomic_write, read_record
from ...atoms.data.dataset import write
from ...run.config import Data, Run
from ...run.train import train
from ...training.checkpoint import load
from ...training.metrics import evaluate
from ...training.settings import Training
from .data import SeedData

RATES = (0.01, 0.03, 0.1)
"""Learning rates that are tried for every model; the validation loss decides."""


@dataclass(frozen=True)
class Experiment:
    """What is trained and how.

    Args:
        name: of its run folders.
        model: a config, see `qiff.model.build`.
        sample: draws the data of a seed; depends on the seed alone.
        training: steps, batch size and weights of the loss; the learning rate is tuned.
        rates: learning rates that are tried with the first seed; the validation loss decides.
        n_seeds: number of seeds, the first ones of the study; None for all.
        dtype: precision of the model.
        start: another experiment whose model, of its first learning rate and the first seed, is
            fine-tuned.
    """

    name: str
    model: Mapping[str, Any]
    sample: Callable[[int], SeedData]
    training: Training = field(default_factory=Training)
    rates: tuple[float, ...] = RATES
    n_seeds: int | None = None
    dtype: str = "float64"
    start: "Experiment | None" = None


class Outcome(NamedTuple):
    """Results of an experiment.

    Args:
        experiment: what was trained.
        rate: the learning rate of lowest validation loss.
        seeds: one for each run.
        folders: of the run of each seed.
        tests: errors of each seed by test set, see `qiff.training.metrics`.
    """

    experiment: Experiment
    rate: float
    seeds: tuple[int, ...]
    folders: tuple[Path, ...]
    tests: tuple[Mapping[str, Mapping[str, Any]], ...]

    def mean_square(self, test: str, label: str) -> np.ndarray:
        """Mean square error of a property for each seed, in its unit squared."""
        return np.array([found[test][f"{label}_rmse"] ** 2 for found in self.tests])

    def mean_absolute(self, test: str, label: str) -> np.ndarray:
        """Mean absolute error of a property for each seed, in its unit."""
        return np.array([found[test][f"{label}_mae"] for found in self.tests])

    @property
    def n_weights(self) -> int:
        """Number of trainable weights of the model."""
        return read_record(self.folders[0] / "metrics.json")["n_weights"]

    @property
    def seconds(self) -> float:
        """Training time of all seeds together."""
        return sum(read_record(folder / "metrics.json")["seconds"] for folder in self.folders)


Progress = Callable[[str], None]
"""Called with the name of a run before it begins, and often during it."""


def n_runs(experiment: Experiment, seeds: Sequence[int]) -> int:
    """Number of runs of `carry_out`."""
    return len(experiment.rates) - 1 + len(seeds[: experiment.n_seeds])


def carry_out(experiment: Experiment, seeds: Sequence[int], out: Path, show: Progress) -> Outcome:
    """Choose the learning rate with the first seed, then train with every seed.

    Args:
        experiment: what to train.
        seeds: of data, initial weights and order of frames.
        out: folder of the runs; finished ones are kept and unfinished ones resume.
        show: see `Progress`.
    """
    seeds = seeds[: experiment.n_seeds]
    first = seeds[0]
    train_one = partial(
        _run, experiment, out=out, show=show, start=_start(experiment, first, out, show)
    )
    trials = {rate: train_one(rate, first) for rate in experiment.rates}
    best = min(trials, key=lambda rate: _validation_loss(trials[rate]))
    folders = [trials[best] if seed == first else train_one(best, seed) for seed in seeds]
    tests = [
        _test(folder, experiment.sample(seed).tests)
        for seed, folder in zip(seeds, folders, strict=True)
    ]
    return Outcome(experiment, best, tuple(seeds), tuple(folders), tuple(tests))


def _start(experiment: Experiment, seed: int, out: Path, show: Progress) -> str:
    """The model file that an experiment starts from; empty if there is none."""
    before = experiment.start
    if before is None:
        return ""
    start = _start(before, seed, out, show)
    return str(_run(before, before.rates[0], seed, out, show, start) / "model.qiff")


def _run(
    experiment: Experiment, rate: float, seed: int, out: Path, show: Progress, start: str
) -> Path:
    """The folder of a run, trained if it is not yet."""
    name = f"{experiment.name}-rate{rate:g}-seed{seed}"
    folder = out / "runs" / name
    if (folder / "metrics.json").exists():
        return folder
    show(name)
    sample, path = experiment.sample(seed), folder / "frames.xyz"
    if not path.exists():
        write(path, sample.frames)
    n_valid = sample.n_valid
    run = Run(
        data=Data(str(path), train=len(sample.frames) - n_valid, valid=n_valid, test=0),
        model=experiment.model,
        train=dataclasses.replace(experiment.training, learning_rate=rate),
        output=str(folder),
        seed=seed,
        dtype=experiment.dtype,
        start=start,
    )
    begun = (folder / "config.toml").exists()
    train(run, resume=begun, after_validation=lambda state: show(name))
    jax.clear_caches()  # every run compiles its own; hundreds of them exhaust the memory maps
    return folder


def _validation_loss(folder: Path) -> float:
    rows = (folder / "history.csv").read_text().splitlines()[1:]
    losses = [float(row.split(",")[2]) for row in rows]
    return min((loss for loss in losses if math.isfinite(loss)), default=math.inf)


def _test(folder: Path, tests: Mapping[str, Sequence[ase.Atoms]]) -> dict[str, Any]:
    path = folder / "tests.json"
    found = read_record(path)
    if found.keys() != tests.keys():
        model = load(folder / "model.qiff")
        found = {name: evaluate(model, frames) for name, frames in tests.items()}
        atomic_write(path, json.dumps(found, indent=2) + "\n")
    return found


def test_frames(outcomes: Mapping[str, Outcome]) -> Sequence[ase.Atoms]:
    """Test frames of the first seed of the first outcome."""
    first = next(iter(outcomes.values()))
    return first.experiment.sample(first.seeds[0]).tests["test"]
