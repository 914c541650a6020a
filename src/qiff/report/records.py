"""Files that programs read: JSON records and CSV tables."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._checks import InputError
from .._files import atomic_write
from ..atoms.data.dataset import file_hash


def save_record(path: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Write a JSON object, see `read_record`; returns it."""
    atomic_write(path, json.dumps(record, indent=2) + "\n")
    return dict(record)


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """A CSV table with the keys of the first row as header."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def read_record(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is no such file or it holds something else."""
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def results(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics of a run, and the records of the trajectories of its model by name.

    Raises:
        InputError: the folder holds no finished run.
    """
    metrics = read_record(folder / "metrics.json")
    if "n_weights" not in metrics:
        raise InputError(f"{folder}: holds no finished run; train one, or resume it (--resume).")
    reports = {}
    for trajectory in sorted(folder.glob("*.xyz")):
        record = read_record(trajectory.with_suffix(".json"))
        if record.get("model_sha256") == file_hash(str(folder / "model.qiff")):
            reports[trajectory.stem] = record
    return metrics, reports
