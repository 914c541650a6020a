"""What a run shows a person: figures, tables and one HTML page. matplotlib is imported inside."""

import base64
import html
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np

from .._checks import InputError
from .._files import atomic_write, read_record
from ..atoms.data.dataset import file_hash, read
from ..atoms.data.formats import locate
from ..atoms.data.source import Source
from ..atoms.properties import labels
from ..dynamics.settings import Dynamics
from ..dynamics.statistics import DynamicsReport, Sample, save_statistics
from ..model.predict import Prediction
from ..training.calibration import Deviations
from ..training.fit import HistoryRow
from ..training.metrics import Metrics

COLOURS = {"train": "#b8c4d6", "valid": "#e8a33d", "test": "#1f5fa8"}

LabelledPredictions = tuple[Sequence[Prediction], Sequence[ase.Atoms]]
"""Predictions for labelled frames."""


def parity_figure(parts: Mapping[str, LabelledPredictions]) -> bytes:
    """Predicted against reference energies and forces of each part, as PNG."""
    figure, (left, right) = new_figure(2, width=9)
    centre = np.mean([labels(atoms)["energy"] for _, frames in parts.values() for atoms in frames])
    for axes, name, unit, offset in (
        (left, "energy", "eV", centre),
        (right, "forces", "eV/Å", 0.0),
    ):
        for part, (predictions, frames) in parts.items():
            if not frames or not all(name in labels(atoms) for atoms in frames):
                continue
            flat = lambda values: np.concatenate([np.ravel(value) for value in values])
            wanted = flat(labels(atoms)[name] for atoms in frames) - offset
            found = flat(getattr(prediction, name) for prediction in predictions) - offset
            mae = 1000 * np.abs(found - wanted).mean()
            label = f"{part}  MAE {mae:.4g} m{unit}"
            axes.plot(wanted, found, ".", ms=4, color=COLOURS[part], label=label, rasterized=True)
        axes.axline((0, 0), slope=1, color="0.5", lw=0.8, zorder=0)
        axes.set_aspect("equal", adjustable="datalim")
        what = "energy − mean" if name == "energy" else "force components"
        axes.set(xlabel=f"reference {what} ({unit})", ylabel=f"predicted {what} ({unit})")
        axes.legend(frameon=False, fontsize=8)
    return png(figure)


def learning_figure(rows: Sequence[HistoryRow]) -> bytes:
    """Training and validation loss against steps, as PNG."""
    figure, (axes,) = new_figure(1, width=5.5)
    steps = [row.step for row in rows]
    best = min(rows, key=lambda row: row.valid_loss)
    axes.semilogy(
        steps, [row.loss for row in rows], color=COLOURS["test"], label="training (mean square)"
    )
    axes.semilogy(
        steps,
        [row.valid_loss for row in rows],
        color=COLOURS["valid"],
        label="validation (squared mean absolute)",
    )
    axes.plot(best.step, best.valid_loss, "o", color=COLOURS["valid"], label="kept model")
    axes.set(xlabel="step", ylabel="loss")
    axes.legend(frameon=False, fontsize=8)
    return png(figure)


def uncertainty_figure(found: Mapping[str, Deviations], n_bins: int = 10) -> bytes:
    """Root mean square errors against the standard deviations expected, in bins of equal number.

    Where an ensemble is calibrated and knows large errors from small ones, the points lie on
    the diagonal.
    """
    figure, axes = new_figure(len(found), width=4.5 * len(found))
    for one, (label, (wrong, expected)) in zip(axes, found.items(), strict=True):
        bins = np.array_split(np.argsort(expected), min(n_bins, len(expected)))
        size, deviation = (
            [1000 * np.sqrt(np.mean(values[bin] ** 2)) for bin in bins]
            for values in (wrong, expected)
        )
        unit = "meV" if label == "energy" else "meV/Å"
        one.plot(deviation, size, "o", ms=4, color=COLOURS["test"])
        one.axline((0, 0), slope=1, color="0.5", lw=0.8, zorder=0)
        one.set(xlabel=f"{label}: expected σ ({unit})", ylabel=f"RMS error on test ({unit})")
    return png(figure)


def dynamics_figure(samples: Sequence[Sample], n_atoms: int) -> bytes:
    """Energies and temperature along a trajectory, as PNG."""
    figure, (left, right) = new_figure(2, width=9)
    time = np.array([sample.time for sample in samples]) / 1000
    start = samples[0]
    series = {
        "potential": [s.potential - start.potential for s in samples],
        "total": [s.total - start.total for s in samples],
    }
    for (name, values), colour in zip(
        series.items(), (COLOURS["train"], COLOURS["test"]), strict=True
    ):
        left.plot(time, 1000 * np.array(values) / n_atoms, color=colour, lw=1, label=name)
    left.set(xlabel="time (ps)", ylabel="energy − start (meV/atom)")
    left.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    right.plot(time, [sample.temperature for sample in samples], color=COLOURS["valid"], lw=1)
    right.set(xlabel="time (ps)", ylabel="temperature (K)")
    return png(figure)


def save_dynamics(
    path: Path,
    dynamics: Dynamics,
    samples: Sequence[Sample],
    report: DynamicsReport,
    origin: Mapping[str, Any],
) -> dict[str, Any]:
    """Write table, figure and record beside a trajectory; returns the record."""
    atomic_write(path.with_suffix(".png"), dynamics_figure(samples, report.n_atoms))
    return save_statistics(path, dynamics, samples, report, origin)


def data_lines(source: Source) -> dict[str, Any]:
    """What a data set holds: frames, molecules, ranges of its labels, hash and provenance."""
    frames = read(source)
    formulas = Counter(atoms.get_chemical_formula() for atoms in frames)
    nearest = min(
        np.min(atoms.get_all_distances()[~np.eye(len(atoms), dtype=bool)], initial=np.inf)
        for atoms in frames
    )
    lines: dict[str, Any] = {
        "frames": len(frames),
        "molecules": ", ".join(f"{formula} × {n}" for formula, n in formulas.items()),
        "closest pair": f"{nearest:.3f} Å",
    }
    energies = [labels(atoms)["energy"] for atoms in frames if "energy" in labels(atoms)]
    forces = [labels(atoms)["forces"] for atoms in frames if "forces" in labels(atoms)]
    if energies:
        lines["energy"] = f"{min(energies):.3f} to {max(energies):.3f} eV ({len(energies)} frames)"
    if forces:
        flat = np.concatenate([np.ravel(force) for force in forces])
        lines["forces"] = (
            f"{np.sqrt(np.mean(flat**2)):.3f} eV/Å root mean square ({len(forces)} frames)"
        )
    lines["sha256"] = file_hash(source.path)
    return lines | read_record(locate(source.path).with_suffix(".json"))


def error_lines(metrics: Mapping[str, Metrics]) -> list[str]:
    """One line of text for each part, errors in meV and meV/Å."""

    def shown(value: float | int | None) -> str:
        return "       –" if value is None else f"{1000 * value:8.2f}"

    lines = ["part   frames   energy MAE    RMSE  meV   forces MAE    RMSE  meV/Å"]
    for part, found in metrics.items():
        energy = f"{shown(found['energy_mae'])} {shown(found['energy_rmse'])}"
        forces = f"{shown(found['forces_mae'])} {shown(found['forces_rmse'])}"
        lines.append(f"{part:6} {found['n_frames']:6}     {energy}         {forces}")
    return lines


def reliability_lines(metrics: Mapping[str, Metrics]) -> list[str]:
    """One line of text for each part and label; none unless the metrics are of an ensemble."""
    columns = ("coverage_1sigma", "coverage_2sigma", "z_rms", "rank_correlation")

    def shown(value: float | int | None, name: str) -> str:
        form = "6.1%" if "coverage" in name else "6.2f"
        return ("–" if value is None else format(value, form)).rjust(len(name) + 2)

    lines = [
        f"{part:6} {label:6}" + "".join(shown(found[f"{label}_{n}"], n) for n in columns)
        for part, found in metrics.items()
        for label in ("energy", "forces")
        if f"{label}_z_rms" in found
    ]
    names = "uncertainty  " + "".join(f"  {name}" for name in columns)
    return [names, *lines] if lines else []


def dynamics_line(name: str, report: Mapping[str, Any]) -> str:
    """One line of text for a trajectory."""
    line = (
        f"{name}: {report['picoseconds']:g} ps, mean temperature {report['mean_temperature']:.0f} K"
    )
    drift = report["drift"]
    return line if drift is None else f"{line}, energy drift {drift:.3g} meV/atom/ps"


def summary(folder: Path) -> list[str]:
    """What a run folder shows, in a few lines: errors, drift of its trajectories, its path.

    Raises:
        InputError: the folder holds no finished run.
    """
    metrics, trajectories = _results(folder)
    parts = {name: value for name, value in metrics.items() if isinstance(value, dict)}
    return [
        f"{metrics['n_weights']} weights, {metrics['steps']} steps in {metrics['seconds']:.0f} s",
        *error_lines(parts),
        *reliability_lines(parts),
        *(dynamics_line(name, report) for name, report in trajectories.items()),
        f"run folder: {folder}",
    ]


def html_page(folder: Path) -> Path:
    """Write `report.html` of a run folder, one file with all pictures in it.

    Raises:
        InputError: the folder holds no finished run.
    """
    lines = summary(folder)
    pictures = [
        f'<img alt="{html.escape(name)}" src="data:image/png;base64,'
        f'{base64.b64encode((folder / name).read_bytes()).decode()}">'
        for name in (
            *("parity.png", "learning.png", "uncertainty.png"),
            *(f"{n}.png" for n in _results(folder)[1]),
        )
        if (folder / name).exists()
    ]
    page = PAGE.format(
        title=html.escape(folder.name),
        summary=html.escape("\n".join(lines[:-1])),
        pictures="\n".join(pictures),
        config=html.escape((folder / "config.toml").read_text()),
    )
    path = folder / "report.html"
    atomic_write(path, page)
    return path


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>qiff: {title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; }}
img {{ max-width: 100%; max-height: 26rem; }}
pre {{ background: #f4f6f9; padding: 0.8rem; overflow-x: auto; font-size: 13px; }}
</style></head><body>
<h1>{title}</h1>
<pre>{summary}</pre>
{pictures}
<h2>Config</h2>
<pre>{config}</pre>
</body></html>
"""


def _results(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics of a run and the reports of the trajectories of its model, by name."""
    metrics = read_record(folder / "metrics.json")
    if "n_weights" not in metrics:
        raise InputError(f"{folder}: holds no finished run; train one, or go on with --resume.")
    reports = {}
    for trajectory in sorted(folder.glob("*.xyz")):
        record = read_record(trajectory.with_suffix(".json"))
        if record.get("model_sha256") == file_hash(str(folder / "model.qiff")):
            reports[trajectory.stem] = record
    return metrics, reports


def new_figure(n_axes: int, width: float, *, n_rows: int = 1, height: float = 4) -> tuple[Any, Any]:
    """A figure in the style of the package and its axes, a list or a list of rows."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(n_rows, n_axes, squeeze=False)
    for one in axes.flat:
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes if n_rows > 1 else axes[0]


def png(figure: Any) -> bytes:
    """A figure as the content of a file."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150)
    return content.getvalue()
