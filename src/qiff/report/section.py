"""A section of a report: a table, claims and their verdicts, figures; as Markdown and CSV."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from .._files import atomic_write
from .records import csv_text, save_record

TableRow = Mapping[str, str | float | int]


class Claim(NamedTuple):
    """A claim, for instance of a paper, what was found, and whether that agrees."""

    claim: str
    finding: str
    holds: bool


@dataclass(frozen=True)
class Section:
    """One section, a folder of its own.

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
        atomic_write(folder / "table.csv", csv_text(self.rows))
        save_record(folder / "record.json", record)
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


def _markdown(rows: Sequence[TableRow]) -> str:
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([str(row[key]) for key in head] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
