"""The report of `qiff learn`: a table of generations, figures, and one HTML page."""

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any

from .._files import atomic_write
from ..report.records import csv_text
from .figures import generation_figure, progress_figure
from .folder import CHOSEN, LearnFolder, frames_in
from .records import error_of, row
from .settings import Learn


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
    page = _PAGE.format(
        title=html.escape(folder.path.name),
        summary="".join(f"<li>{html.escape(line)}</li>" for line in summary(metrics, settings)),
        table=_table(rows),
        pictures="".join(_picture(name, content) for name, content in pictures.items()),
        chosen=_table(_chosen(known)),
        level=html.escape("\n".join(f"{key}: {value}" for key, value in metrics["level"].items())),
        config=html.escape(folder.config.read_text("utf-8")),
    )
    atomic_write(folder.path / "report.html", page)


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
    if not rows:
        return ""
    cells = lambda values, tag: "".join(f"<{tag}>{html.escape(str(v))}</{tag}>" for v in values)
    lines = [f"<tr>{cells(rows[0], 'th')}</tr>"]
    lines += [f"<tr>{cells(one.values(), 'td')}</tr>" for one in rows]
    return f"<table>{''.join(lines)}</table>"


def _picture(name: str, content: bytes) -> str:
    text = html.escape(name.replace("-", " "))
    data = base64.b64encode(content).decode()
    return f'<h3>{text}</h3><img alt="{text}" src="data:image/png;base64,{data}">'


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>qiff learn: {title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: auto; padding: 1rem; }}
img {{ max-width: 100%; background: white; }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; }}
td, th {{ padding: 0.2rem 0.6rem; border-bottom: 1px solid #8884; text-align: right; }}
pre {{ background: #8881; padding: 0.8rem; overflow-x: auto; font-size: 13px; }}
</style></head><body>
<h1>{title}</h1>
<ul>{summary}</ul>
<h2>Generations</h2>
<p>Errors are of the model of the generation before, on frames that were drawn at random from its
dynamics, labelled afterwards and never learned from.</p>
{table}
<h2>What was learned from</h2>
{chosen}
<h2>Figures</h2>
{pictures}
<h2>Level of theory</h2>
<pre>{level}</pre>
<h2>Config</h2>
<pre>{config}</pre>
</body></html>
"""
