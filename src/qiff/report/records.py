"""Results of runs as tables and records."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._checks import InputError
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


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; none if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
