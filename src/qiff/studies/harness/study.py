"""What the studies share: their budget, their data, and how one part is carried out."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import ase
import numpy as np

from ..._checks import InputError
from ...atoms.data.dataset import Source, read
from ...report.section import Section
from ...training.settings import Training
from .experiment import RATES, Experiment, Outcome, Progress, SeedData, carry_out, n_runs

LOSSES = {"energies": 0.0, "energies and forces": 1.0}
"""What is learned, and the weight of forces in the loss."""


@dataclass(frozen=True)
class Budget:
    """How much a study may take: seeds and steps of every run."""

    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 6000
    rates: tuple[float, ...] = RATES
    quick: bool = False

    def training(self, forces_weight: float) -> Training:
        """Adam on batches of 32, energies alone or with forces."""
        interval = max(1, self.steps // 60)
        return Training(
            self.steps, batch_size=32, forces_weight=forces_weight, evaluate_every=interval
        )


QUICK = Budget(seeds=(0,), steps=600, rates=(0.03,), quick=True)


@dataclass(frozen=True)
class Study:
    """One part of the paper: what is trained, and what is made of the outcomes."""

    experiments: Callable[[Budget], Mapping[str, Experiment]]
    section: Callable[[Mapping[str, Outcome]], Section]

    def n_runs(self, budget: Budget) -> int:
        """Runs it takes."""
        return sum(n_runs(e, budget.seeds) for e in self.experiments(budget).values())

    def carry_out(self, budget: Budget, out: Path, show: Progress) -> Section:
        """Train what is missing, then tables and figures."""
        outcomes = {
            label: carry_out(experiment, budget.seeds, out, show)
            for label, experiment in self.experiments(budget).items()
        }
        return self.section(outcomes)


WATER_DEMO = "water-demo"
"""850 water molecules that the authors of the paper made public; see `_source`."""


@cache
def read_frames(path: str) -> tuple[ase.Atoms, ...]:
    """Labelled frames of a bundled set, or of `WATER_DEMO`."""
    return tuple(read(_source(path), need_energy=True, need_forces=True))


def _source(path: str) -> Source:
    if path != WATER_DEMO:
        return Source(path)
    folder = os.environ.get("QIFF_DATA")
    if not folder:
        raise InputError(
            "`water-demo` needs the public data set of Le et al. 2023: set QIFF_DATA to the folder "
            "that holds `water-demo`."
        )
    return Source(str(Path(folder) / WATER_DEMO), "Hartree", "Bohr", elements=("O", "H", "H"))


def shuffled(
    path: str, n_train: int, n_valid: int, seed: int, *, learned: Sequence[int] = ()
) -> SeedData:
    """Frames in an order of the seed: the first are learned or validate, the rest are the test.

    Args:
        path: see `read_frames`.
        n_train, n_valid: numbers of frames.
        seed: of the order.
        learned: frames that are never in the test.
    """
    frames = read_frames(path)
    first = [len(frames) + i if i < 0 else i for i in learned]
    order = np.random.default_rng(seed).permutation(len(frames))
    order = [*first, *(i for i in order if i not in first)]
    known, test = order[: n_train + n_valid], order[n_train + n_valid :]
    return SeedData([frames[i] for i in known], n_valid, {"test": [frames[i] for i in test]})


def test_of(found: Mapping[str, Outcome]) -> Sequence[ase.Atoms]:
    """Test frames of the first seed."""
    first = next(iter(found.values()))
    return first.experiment.sample(first.seeds[0]).tests["test"]
