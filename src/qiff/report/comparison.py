"""Runs compared: a table of errors, weights, times and differing settings; learning curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._files import atomic_write
from ..atoms.properties import PROPERTIES
from ..training.comparison import PER_ATOM
from .numbers import curves
from .page import learning_section, page, section, table
from .records import read_table, read_toml, results

_SKIPPED = ("output", "provenance.versions")


def rows_of(folders: Sequence[Path]) -> list[tuple[str, ...]]:
    """The table that compares runs: a head, then a row for each quantity or setting.

    Settings of the configs appear only where they differ.

    Raises:
        InputError: a folder holds no finished run.
    """
    metrics = [results(folder)[0] for folder in folders]
    rows: list[tuple[str, ...]] = [("", *names_of(folders))]
    for name, text in (("n_weights", "weights"), ("steps", "steps"), ("seconds", "time (s)")):
        rows.append((text, *(f"{found[name]:.6g}" for found in metrics)))
    for part in ("valid", "test"):
        for key, one in PROPERTIES.items():
            for column, unit in ((f"{key}{PER_ATOM}", f"{one.unit}/atom"), (key, one.unit)):
                for measure in ("mae", "rmse"):
                    values = [found.get(part, {}).get(f"{column}_{measure}") for found in metrics]
                    if any(value is not None for value in values):
                        shown = ("–" if v is None else f"{1000 * v:.2f}" for v in values)
                        rows.append((f"{part} {key} {measure.upper()} (m{unit})", *shown))
    configs = [_flat(read_toml(folder / "config.toml")[1]) for folder in folders]
    for name in dict.fromkeys(name for config in configs for name in config):
        values = [config.get(name) for config in configs]
        if name not in _SKIPPED and any(value != values[0] for value in values):
            rows.append((name, *("–" if value is None else _short(value) for value in values)))
    return rows


def names_of(folders: Sequence[Path]) -> list[str]:
    """The names of folders; their paths, if two have one name."""
    names = [folder.name or str(folder) for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def comparison_lines(folders: Sequence[Path]) -> list[str]:
    """The table as aligned lines of text."""
    rows = rows_of(folders)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]


def comparison_page(folders: Sequence[Path], path: Path) -> Path:
    """Write a page with the table and the learning curves of all runs.

    Raises:
        InputError: a folder holds no finished run.
    """
    head, *rows = rows_of(folders)
    runs = [
        {"name": name, "curves": curves(read_table(folder / "history.csv"))}
        for name, folder in zip(names_of(folders), folders, strict=True)
    ]
    title = f"{len(folders)} runs compared"
    parts = [f"<h1>{title}</h1>", section("Runs", table(head, rows)), learning_section(runs)]
    atomic_write(path, page(title, parts, {"runs": runs}, viewer=False))
    return path


def _flat(tables: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Settings by their dotted names; a table of versions is one setting."""
    found = {}
    for key, value in tables.items():
        name = f"{place}{key}"
        nested = isinstance(value, Mapping) and key not in ("versions", "reference_energies")
        found |= _flat(value, f"{name}.") if nested else {name: value}
    return found


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 24 else f"{text[:21]}…"
