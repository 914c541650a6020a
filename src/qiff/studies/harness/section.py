"""What a study shows: a table, claims and what became of them, figures; as Markdown and CSV."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..._files import atomic_write
from .experiment import Outcome

TableRow = Mapping[str, str | float | int]


class Claim(NamedTuple):
    """What a paper claims, what we find, and whether that agrees."""

    claim: str
    finding: str
    holds: bool


@dataclass(frozen=True)
class Section:
    """One part of a study.

    Args:
        name: of its folder.
        title: in words.
        rows: of its table, all with the same columns.
        claims: see `Claim`.
        figures: PNG by name.
        notes: paragraphs on what was done.
    """

    name: str
    title: str
    rows: Sequence[TableRow]
    claims: Sequence[Claim] = ()
    figures: Mapping[str, bytes] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def save(self, out: Path, record: Mapping[str, Any]) -> Path:
        """Write `table.csv`, `report.md`, `record.json` and the figures; returns the report."""
        folder = out / self.name
        for name, content in self.figures.items():
            atomic_write(folder / f"{name}.png", content)
        atomic_write(folder / "table.csv", _csv(self.rows))
        atomic_write(folder / "record.json", json.dumps(record, indent=2) + "\n")
        atomic_write(folder / "report.md", self.markdown())
        return folder / "report.md"

    def markdown(self) -> str:
        """The report as text."""
        parts = [f"# {self.title}", *self.notes, _markdown(self.rows)]
        if self.claims:
            verdicts = [
                {"claim": c.claim, "what we find": c.finding, "holds": "yes" if c.holds else "no"}
                for c in self.claims
            ]
            parts.append(_markdown(verdicts))
        parts += [f"![{name}]({name}.png)" for name in self.figures]
        return "\n\n".join(parts) + "\n"


def error_row(label: str, outcome: Outcome, test: str) -> TableRow:
    """Test errors of an experiment, mean ± standard deviation over seeds."""
    energy, forces = (outcome.mean_absolute(test, name) for name in ("energy", "forces"))
    return {
        "model": label,
        "test": test,
        "weights": outcome.n_weights,
        "rate": outcome.rate,
        "seeds": len(outcome.folders),
        "energy MSE (eV²)": spread(outcome.mean_square(test, "energy")),
        "forces MSE (eV²/Å²)": spread(outcome.mean_square(test, "forces")),
        "energy MAE (meV)": spread(1000 * energy),
        "forces MAE (meV/Å)": spread(1000 * forces),
        "training s": round(outcome.seconds),
    }


def spread(values: np.ndarray) -> str:
    """Mean ± standard deviation."""
    if len(values) == 1:
        return f"{values[0]:.3g}"
    return f"{np.mean(values):.3g} ± {np.std(values, ddof=1):.2g}"


def ratio(one: np.ndarray, other: np.ndarray) -> float:
    """How many times larger the mean of one is."""
    return float(np.mean(one) / np.mean(other))


def _markdown(rows: Sequence[TableRow]) -> str:
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([str(row[key]) for key in head] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _csv(rows: Sequence[TableRow]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()
