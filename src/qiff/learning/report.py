"""The report of `qiff learn`: a table of generations, figures, and one HTML page."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from .._files import atomic_write
from ..report.page import page, picture, section, table
from ..report.records import csv_text
from .figures import generation_figure, progress_figure
from .folder import CHOSEN, LearnFolder, frames_in
from .records import error_of, row
from .settings import Learn

_ERRORS = (
    "Errors are of the model of the generation before, on frames that were drawn at random from "
    "its dynamics, labelled afterwards and never learned from."
)


def summary(metrics: Mapping[str, Any], settings: Learn) -> list[str]:
    """What was learned, in lines of text.

    Args:
        metrics: the content of `metrics.json`.
        settings: what was asked for.
    """
    found, targets, rms = metrics["validation"], settings.targets, metrics["forces_rms"]
    stable = metrics["stable_picoseconds"]
    errors = (
        f"forces MAE {1000 * error_of(found, 'forces'):.1f} meV/Å (target "
        f"{1000 * targets.forces:g}, root mean square of the forces {1000 * rms:.0f}), energy MAE "
        f"{1000 * error_of(found, 'energy'):.2f} meV (target {1000 * targets.energy:g})"
        if found
        else "there was nothing to validate on"
    )
    broken = f", then {metrics['broken']}" if metrics["broken"] else ""
    return [
        f"{metrics['n_labels']} labels ({metrics['n_failed']} failed), {metrics['n_learned']} "
        f"frames learned from, {metrics['n_generations']} generations; {metrics['end']}",
        f"validation on {found.get('n_frames', 0)} new frames: {errors}",
        f"dynamics at {targets.temperature:g} K: stable for {stable:.4g} of "
        f"{targets.picoseconds:g} ps{broken}",
        "all targets are met" if metrics["targets_met"] else "NOT all targets are met",
        "time: " + ", ".join(f"{what} {value:.0f} s" for what, value in metrics["seconds"].items()),
    ]


def save_report(folder: LearnFolder, settings: Learn, metrics: Mapping[str, Any]) -> None:
    """Write `generations.csv`, a figure for each generation, `progress.png` and `report.html`."""
    records = [generation.record for generation in folder.generations()]
    rows = [row(record) for record in records]
    atomic_write(folder.path / "generations.csv", csv_text(rows))
    targets = {"forces": settings.targets.forces, "energy": settings.targets.energy}
    pictures = {"progress": progress_figure(records, metrics, targets)}
    known = []
    for generation in folder.generations():
        if known and generation.candidates.exists():
            name = generation.path.name
            pictures[name] = generation_figure(generation, known, settings.threshold)
        known += frames_in(generation.selected)
    for name, content in pictures.items():
        atomic_write(folder.path / f"{name}.png", content)
    atomic_write(folder.path / "report.html", _page(folder, settings, metrics, rows, pictures))


def _page(
    folder: LearnFolder,
    settings: Learn,
    metrics: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    pictures: Mapping[str, bytes],
) -> str:
    lines = "".join(f"<li>{html.escape(line)}</li>" for line in summary(metrics, settings))
    learned = [atoms for one in folder.generations() for atoms in frames_in(one.selected)]
    level = [(key, str(value)) for key, value in metrics["level"].items()]
    parts = [
        f"<h1>{html.escape(folder.path.name)}</h1><ul>{lines}</ul>",
        section("Generations", f'<p class="muted">{_ERRORS}</p>', _table(rows)),
        section("What was learned from", _table(_chosen(learned))),
        section("Figures", *(_titled(name, content) for name, content in pictures.items())),
        section("Level of theory", table((), level, "words")),
        section("Config", f"<pre>{html.escape(folder.config.read_text('utf-8'))}</pre>"),
    ]
    return page(folder.path.name, parts, {"runs": []}, viewer=False)


def _chosen(frames: Sequence[Any]) -> list[dict[str, Any]]:
    """How many frames of each generation were learned from, and why they were chosen."""
    why = {
        "displaced": "structures and displacements of them that differ most from each other",
        "uncertain": "among the most uncertain ones, most different from what was known",
        "random": "drawn at random from the dynamics",
    }
    counts: dict[tuple[int, str], int] = {}
    for atoms in frames:
        key = (int(atoms.info["generation"]), str(atoms.info[CHOSEN]))
        counts[key] = counts.get(key, 0) + 1
    return [
        {"generation": number, "frames": n, "chosen because": why[reason]}
        for (number, reason), n in sorted(counts.items())
    ]


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    return table(list(rows[0]), [list(one.values()) for one in rows]) if rows else ""


def _titled(name: str, content: bytes) -> str:
    title = name.replace("-", " ")
    return f"<h3>{html.escape(title)}</h3>{picture(title, content)}"
