"""Carrying out the parts of a study: what is done is kept, quick and full runs do not mix."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ..._checks import InputError, check_known
from ..._files import atomic_write, read_record
from ...report.section import Section
from ...run.prepare import VERSIONS
from .experiment import Progress
from .study import Budget


@runtime_checkable
class StudyPart(Protocol):
    """One part of a study, such as `Study`."""

    def n_runs(self, budget: Budget) -> int:
        """Steps it shows at most."""
        ...

    def carry_out(self, budget: Budget, out: Path, show: Progress) -> Section:
        """Do what is missing, then tables and figures."""
        ...


@dataclass(frozen=True)
class Piece:
    """A part that is a function: what it makes, and the steps that it shows at most."""

    section: Callable[[Budget, Path, Progress], Section]
    steps: int = 1

    def n_runs(self, budget: Budget) -> int:
        """See `StudyPart`."""
        return self.steps

    def carry_out(self, budget: Budget, out: Path, show: Progress) -> Section:
        """See `StudyPart`."""
        return self.section(budget, out, show)


def total_runs(study: Mapping[str, StudyPart], parts: Sequence[str], budget: Budget) -> int:
    """Runs that `reproduce` takes, those that are done already among them.

    Raises:
        InputError: a part is unknown, or its data are missing.
    """
    for part in parts:
        check_known("StudyPart", part, study)
    return sum(study[part].n_runs(budget) for part in parts)


def reproduce(
    study: Mapping[str, StudyPart],
    parts: Sequence[str],
    out: Path,
    budget: Budget,
    show: Callable[[int, str], None],
) -> dict[str, Path]:
    """Carry out parts of a study; what is done already is kept.

    Args:
        study: its parts by name.
        parts: which.
        out: folder of runs and reports.
        budget: seeds, steps and learning rates.
        show: called with the number of runs begun before and what is being done.

    Returns:
        The report of each part.

    Raises:
        InputError: a part is unknown, its data are missing, or `out` holds runs of another budget.
    """
    total_runs(study, parts, budget)
    _check_budget(out, budget)
    begun: dict[str, None] = {}

    def count(name: str) -> None:
        begun[name] = None
        show(len(begun) - 1, name)

    record = {**asdict(budget), "versions": {package: version(package) for package in VERSIONS}}
    return {part: study[part].carry_out(budget, out, count).save(out, record) for part in parts}


def _check_budget(out: Path, budget: Budget) -> None:
    """Quick and full runs must not mix: the folder remembers its budget."""
    path, wanted = out / "budget.json", json.loads(json.dumps(asdict(budget)))
    before: Any = read_record(path)
    if before and before != wanted:
        raise InputError(f"{out}: holds runs of another budget; choose another --out.")
    atomic_write(path, json.dumps(wanted, indent=2) + "\n")
