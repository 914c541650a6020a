"""Carries out the parts of a study; finished runs are kept, quick and full runs are not mixed."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..._checks import InputError, check_known
from ..._files import read_record, save_record
from ..._workers import Map
from ...run.prepare import VERSIONS
from .parts import StudyPart, StudySettings


def total_runs(
    study: Mapping[str, StudyPart], parts: Sequence[str], settings: StudySettings
) -> int:
    """Largest number of runs of `reproduce`, those that are finished included.

    Raises:
        InputError: a part is unknown, or its data are missing.
    """
    for part in parts:
        check_known("Part", part, study)
    return sum(study[part].n_runs(settings) for part in parts)


def reproduce(
    study: Mapping[str, StudyPart],
    parts: Sequence[str],
    out: Path,
    settings: StudySettings,
    show: Callable[[int, str], None],
    map: Map = map,
) -> dict[str, Path]:
    """Carry out parts of a study; finished runs in `out` are kept.

    Args:
        study: its parts by name.
        parts: names of the parts to carry out.
        out: folder of runs and reports.
        settings: seeds, steps and learning rates.
        show: called with the number of runs before this one and the name of this one.
        map: applies a function to runs that do not depend on each other, see `Map`.

    Returns:
        The report of each part.

    Raises:
        InputError: a part is unknown, its data are missing, or `out` holds runs with other
            settings.
    """
    total_runs(study, parts, settings)
    _check_settings(out, settings)
    begun: dict[str, None] = {}

    def count(name: str) -> None:
        begun[name] = None
        show(len(begun) - 1, name)

    record = {**asdict(settings), "versions": {package: version(package) for package in VERSIONS}}
    return {
        part: study[part].carry_out(settings, out, count, map).save(out, record) for part in parts
    }


def _check_settings(out: Path, settings: StudySettings) -> None:
    """Raise unless all runs in `out` have the same settings, which a file there records."""
    path, wanted = out / "settings.json", json.loads(json.dumps(asdict(settings)))
    before: Any = read_record(path)
    if before and before != wanted:
        raise InputError(
            f"{out}: holds runs with other settings (seeds, steps, learning rates or --quick); "
            "choose another --out."
        )
    save_record(path, wanted)
