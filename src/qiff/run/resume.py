"""Resuming a run from the state in its folder."""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._checks import InputError, typed
from ..training.checkpoint import fill, read_arrays
from ..training.fit import FitState, HistoryRow
from .config import Run, read_config
from .prepare import differences

log = logging.getLogger("qiff")


def resumed(folder: Path, run: Run, initial: FitState) -> tuple[FitState, float]:
    """The last state in a folder and the seconds spent until then; `initial`, if there is none.

    Args:
        folder: of the run.
        run: the config, which must be the one that the run began with.
        initial: the state before the first step.

    Raises:
        InputError: config, data or start are not those of the run, or the state cannot be read.
    """
    before = read_config(folder / "config.toml")
    if before.provenance.get("data_sha256") != run.provenance["data_sha256"]:
        raise InputError(f"{run.data.path}: is not the data that the run in {folder} began with.")
    changed = differences(dataclasses.asdict(before), dataclasses.asdict(run))
    if changed:
        raise InputError(f"{folder}: cannot resume, `{changed[0]}` is not what the run began with.")
    if before.provenance.get("start_sha256", "") != run.provenance["start_sha256"]:
        raise InputError(f"{run.start}: is not the model that the run in {folder} began with.")
    versions = before.provenance.get("versions")
    for package, used in run.provenance["versions"].items():
        if not isinstance(versions, Mapping) or versions.get(package) != used:
            log.warning("%s is %s, not the version the run began with", package, used)
    path = folder / "state.npz"
    if not path.exists():
        return initial, 0.0
    header, arrays = read_arrays(path)
    kept = fill({"weights": initial.weights, "best": initial.best}, arrays, path)
    history, seconds = progress(header, path)
    return FitState(**kept, history=history), seconds


def _row(values: tuple[Any, ...]) -> HistoryRow:
    """One validation."""
    *numbers, errors = values
    step, loss, valid_loss, rate = (typed("history", value, float) for value in numbers)
    return HistoryRow(
        int(step), loss, valid_loss, rate, typed("history", errors, Mapping[str, float])
    )


def progress(header: Mapping[str, Any], path: Path) -> tuple[tuple[HistoryRow, ...], float]:
    """The validations and the seconds spent, of the header of a state.

    Raises:
        InputError: one is missing or has another type.
    """
    try:
        rows = typed("history", header.get("history"), tuple[tuple[Any, ...], ...])
        history = tuple(map(_row, rows))
        return history, typed("seconds", header.get("seconds"), float)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{path}: has no history that can be read ({error}); start anew (--overwrite)."
        ) from None
