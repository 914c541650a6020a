"""Parts of a study, and the settings that they share.

A new part is an `ExperimentsPart`, which trains models, or a `FunctionPart` for everything else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from ..._workers import Map
from ...report.section import Section
from ...training.settings import Training
from .experiment import RATES, Experiment, Outcome, Progress, carry_out, carry_out_runs, n_runs

LOSSES = {"energies": 0.0, "energies and forces": 1.0}
"""What a model is trained on, and the weight of forces in the loss."""


@dataclass(frozen=True)
class StudySettings:
    """Settings of all runs of a study.

    Args:
        seeds: of data, initial weights and order of frames; a run for each.
        steps: training steps of a run.
        rates: learning rates that are tried.
        quick: whether the study is reduced to a test that everything runs.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 6000
    rates: tuple[float, ...] = RATES
    quick: bool = False

    def training(self, forces_weight: float) -> Training:
        """Adam on batches of 32, on energies alone or with forces."""
        interval = max(1, self.steps // 60)
        return Training(
            self.steps, batch_size=32, forces_weight=forces_weight, evaluate_every=interval
        )


QUICK = StudySettings(seeds=(0,), steps=600, rates=(0.03,), quick=True)


@runtime_checkable
class StudyPart(Protocol):
    """One part of a study; it makes one section of its report."""

    def n_runs(self, settings: StudySettings) -> int:
        """Largest number of runs, for the progress bar."""
        ...

    def carry_out(
        self, settings: StudySettings, out: Path, show: Progress, map: Map = map
    ) -> Section:
        """Carry out the runs that are not in the folder `out`, then make tables and figures.

        `map` is applied to runs that do not depend on each other, see `Map`.
        """
        ...


@dataclass(frozen=True)
class ExperimentsPart:
    """A part that trains models.

    Args:
        experiments: what is trained, by label.
        section: makes the section from the outcomes, by the same labels.
    """

    experiments: Callable[[StudySettings], Mapping[str, Experiment]]
    section: Callable[[Mapping[str, Outcome]], Section]

    def n_runs(self, settings: StudySettings) -> int:
        """See `StudyPart`."""
        return sum(n_runs(e, settings.seeds) for e in self.experiments(settings).values())

    def carry_out(
        self, settings: StudySettings, out: Path, show: Progress, map: Map = map
    ) -> Section:
        """See `StudyPart`."""
        experiments = self.experiments(settings)
        carry_out_runs(experiments.values(), settings.seeds, out, show, map)
        outcomes = {
            label: carry_out(experiment, settings.seeds, out, show)
            for label, experiment in experiments.items()
        }
        return self.section(outcomes)


@dataclass(frozen=True)
class FunctionPart:
    """A part that is a function.

    Args:
        section: makes the section.
        runs: see `StudyPart.n_runs`.
    """

    section: Callable[[StudySettings, Path, Progress], Section]
    runs: int = 1

    def n_runs(self, settings: StudySettings) -> int:
        """See `StudyPart`."""
        return self.runs

    def carry_out(
        self, settings: StudySettings, out: Path, show: Progress, map: Map = map
    ) -> Section:
        """See `StudyPart`; all in this process."""
        return self.section(settings, out, show)
