"""Results of runs as tables and records."""

import csv
import io
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._checks import InputError, typed
from .._files import read_record
from ..atoms.data.dataset import file_hash


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """A CSV table with the keys of all rows as header; what a row lacks stays empty."""
    text = io.StringIO()
    keys = list(dict.fromkeys(key for row in rows for key in row))
    table = csv.DictWriter(text, keys, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def results(
    folder: Path, metrics: Mapping[str, Any] | None = None
) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Metrics of a run, and the records of the trajectories of its model by name.

    Args:
        folder: of the run.
        metrics: if they are not in the folder yet.

    Raises:
        InputError: the folder holds no finished run, or a value in its records has another type.
    """
    path = folder / "metrics.json"
    metrics = read_record(path) if metrics is None else metrics
    if "n_weights" not in metrics:
        raise InputError(f"{folder}: holds no finished run; train one, or resume it (--resume).")
    _check(path, {"notes": [], **metrics}, _METRICS)
    for value in metrics.values():
        if isinstance(value, Mapping):
            _check(path, value, {**dict.fromkeys(value, float | None), "n_frames": int})
    reports = {}
    for trajectory in sorted(folder.glob("*.xyz")):
        path = trajectory.with_suffix(".json")
        record = read_record(path)
        if record.get("model_sha256") == file_hash(str(folder / "model.qiff")):
            in_volume = record.get("mean_volume") is not None
            _check(path, record, _DYNAMICS | (_IN_VOLUME if in_volume else {}))
            reports[trajectory.stem] = record
    return metrics, reports


_METRICS = {"n_weights": int, "steps": int, "seconds": float, "notes": tuple[str, ...]}
_DYNAMICS = {"picoseconds": float, "mean_temperature": float, "drift": float | None}
_IN_VOLUME = dict.fromkeys(("mean_pressure", "pressure_error", "density"), float)
"""What a report shows of `metrics.json` and of the record of a trajectory, and its types."""


def _check(path: Path, record: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise InputError unless a record has these entries, of these types."""
    for name, hint in wanted.items():
        try:
            if name not in record:
                raise InputError(f"`{name}` is missing.")
            typed(name, record[name], hint)
        except InputError as error:
            raise InputError(f"{path}: {error} Remove the file and repeat what wrote it.") from None


def read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """The text of a TOML file and its tables; none if it cannot be read."""
    text = path.read_text("utf-8", errors="replace") if path.exists() else ""
    try:
        return text, tomllib.loads(text)
    except (RecursionError, tomllib.TOMLDecodeError):
        return text, {}


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; none if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
