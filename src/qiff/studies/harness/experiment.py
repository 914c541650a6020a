"""One experiment: a model, a loss and data; trained for several seeds, tuned on validation data.

Every run has a folder below one directory, so that an interrupted study resumes.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import ase
import numpy as np

from ..._checks import RunError
from ..._files import atomic_write, read_record
from ..._workers import Map
from ...atoms.data.dataset import write
from ...run.config import Data, Run
from ...run.tasks import is_trained, train_all
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
        start: a model file that is fine-tuned, or another experiment whose model of its first
            learning rate and the first seed is.
    """

    name: str
    model: Mapping[str, Any]
    sample: Callable[[int], SeedData]
    training: Training = field(default_factory=Training)
    rates: tuple[float, ...] = RATES
    n_seeds: int | None = None
    dtype: str = "float64"
    start: "Experiment | Path | None" = None


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


class _Trial(NamedTuple):
    """One run of an experiment: its learning rate and its seed."""

    experiment: Experiment
    rate: float
    seed: int

    def folder(self, out: Path) -> Path:
        """The folder of the run."""
        return out / "runs" / f"{self.experiment.name}-rate{self.rate:g}-seed{self.seed}"


def carry_out(experiment: Experiment, seeds: Sequence[int], out: Path, show: Progress) -> Outcome:
    """Choose the learning rate with the first seed, then train with every seed.

    Args:
        experiment: what to train.
        seeds: of data, initial weights and order of frames.
        out: folder of the runs; finished ones are kept and unfinished ones resume.
        show: see `Progress`.
    """
    carry_out_runs([experiment], seeds, out, show)
    best = _best(experiment, seeds, out)
    seeds = seeds[: experiment.n_seeds]
    folders = [best._replace(seed=seed).folder(out) for seed in seeds]
    tests = [
        _test(folder, experiment.sample(seed).tests)
        for seed, folder in zip(seeds, folders, strict=True)
    ]
    return Outcome(experiment, best.rate, tuple(seeds), tuple(folders), tuple(tests))


def carry_out_runs(
    experiments: Iterable[Experiment],
    seeds: Sequence[int],
    out: Path,
    show: Progress,
    map: Map = map,
) -> None:
    """The runs of experiments that are not finished, those at once that wait for no other.

    Args:
        experiments: what to train.
        seeds, out, show: see `carry_out`.
        map: applies a function to each run, see `Map`; results do not depend on it.

    Raises:
        RunError: a run failed.
    """
    experiments = tuple(experiments)
    while trials := [trial for e in experiments for trial in _ready(e, seeds, out)]:
        folders = {trial.folder(out): trial for trial in trials}  # some have a start in common
        runs = (_run(trial, seeds, out) for trial in folders.values())
        for folder, failure in train_all(runs, show, map):
            if failure:
                raise RunError(f"{folder}: {failure}")


def _ready(experiment: Experiment, seeds: Sequence[int], out: Path) -> list[_Trial]:
    """The runs of an experiment that are not finished and wait for no other."""
    start = experiment.start
    if isinstance(start, Experiment) and (before := _ready(_first(start), seeds, out)):
        return before
    trials = _trials(experiment, seeds)
    if missing := [trial for trial in trials if not is_trained(trial.folder(out))]:
        return missing
    best = _best(experiment, seeds, out)
    others = [best._replace(seed=seed) for seed in seeds[: experiment.n_seeds]]
    return [trial for trial in others if not is_trained(trial.folder(out))]


def _first(experiment: Experiment) -> Experiment:
    """An experiment with its first learning rate and one seed alone."""
    return dataclasses.replace(experiment, rates=experiment.rates[:1], n_seeds=1)


def _trials(experiment: Experiment, seeds: Sequence[int]) -> list[_Trial]:
    return [_Trial(experiment, rate, seeds[0]) for rate in experiment.rates]


def _best(experiment: Experiment, seeds: Sequence[int], out: Path) -> _Trial:
    """The trial of lowest validation loss."""
    return min(_trials(experiment, seeds), key=lambda trial: _validation_loss(trial.folder(out)))


def _run(trial: _Trial, seeds: Sequence[int], out: Path) -> Run:
    """The config of a run, whose frames are written."""
    experiment, folder = trial.experiment, trial.folder(out)
    sample, path = experiment.sample(trial.seed), folder / "frames.xyz"
    if not path.exists():
        write(path, sample.frames)
    n_valid, start = sample.n_valid, experiment.start or ""
    if isinstance(start, Experiment):
        start = _trials(start, seeds)[0].folder(out) / "model.qiff"
    return Run(
        data=Data(str(path), train=len(sample.frames) - n_valid, valid=n_valid, test=0),
        model=experiment.model,
        train=dataclasses.replace(experiment.training, learning_rate=trial.rate),
        output=str(folder),
        seed=trial.seed,
        dtype=experiment.dtype,
        start=str(start),
    )


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
