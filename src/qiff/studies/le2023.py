"""Le et al. 2023, *Symmetry-invariant quantum machine learning force fields*: every study.

Equal budget: in a part every model has the same optimiser, steps, batches, seeds and choice of
learning rates. Test data are looked at once, at the end.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .._checks import InputError, check_known
from .._files import atomic_write
from ..report import read_record
from ..run import VERSIONS
from . import trainability
from .dimer import CUT_STUDY, DIMER_STUDY
from .lih import LIH_STUDY, NOISE_STUDY
from .study import Budget, Study
from .water import DEMO_STUDY, WATER_STUDY

STUDIES: dict[str, Study] = {
    "lih": LIH_STUDY,
    "lih-noise": NOISE_STUDY,
    "water": WATER_STUDY,
    "water-demo": DEMO_STUDY,
    "dimer": DIMER_STUDY,
    "dimer-cut": CUT_STUDY,
}
TRAINABILITY = "trainability"
PARTS = (*STUDIES, TRAINABILITY)


def total_runs(parts: Sequence[str], budget: Budget) -> int:
    """Runs that `reproduce` takes, those that are done already among them.

    Raises:
        InputError: a part is unknown, or its data are missing.
    """
    for part in parts:
        check_known("Part", part, PARTS)
    return sum(STUDIES[part].n_runs(budget) if part in STUDIES else 1 for part in parts)


def reproduce(
    parts: Sequence[str], out: Path, budget: Budget, show: Callable[[int, str], None]
) -> dict[str, Path]:
    """Carry out parts of the paper; what is done already is kept.

    Args:
        parts: keys of `STUDIES`, or `trainability`.
        out: folder of runs and reports.
        budget: seeds, steps and learning rates.
        show: called with the number of runs begun before and what is being done.

    Returns:
        The report of each part.

    Raises:
        InputError: a part is unknown, its data are missing, or `out` holds runs of another budget.
    """
    total_runs(parts, budget)
    check_budget(out, budget)
    begun: dict[str, None] = {}

    def count(name: str) -> None:
        begun[name] = None
        show(len(begun) - 1, name)

    reports = {}
    for part in parts:
        if part == TRAINABILITY:
            section = trainability.section(budget.quick, count, budget.seeds)
        else:
            section = STUDIES[part].carry_out(budget, out, count)
        reports[part] = section.save(out, record_of(budget))
    return reports


def record_of(budget: Budget) -> dict[str, Any]:
    """What a report is made with: the budget and versions."""
    return {**asdict(budget), "versions": {package: version(package) for package in VERSIONS}}


def check_budget(out: Path, budget: Budget) -> None:
    """Quick and full runs must not mix: the folder remembers its budget."""
    path, wanted = out / "budget.json", json.loads(json.dumps(asdict(budget)))
    before = read_record(path)
    if before and before != wanted:
        raise InputError(f"{out}: holds runs of another budget; choose another --out.")
    atomic_write(path, json.dumps(wanted, indent=2) + "\n")
