"""What a run shows a person, in lines of text."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..atoms.properties import PROPERTIES
from ..training.comparison import PER_ATOM
from ..training.metrics import N_FRAMES, Metrics
from .dynamics import dynamics_line
from .records import results


def summary(folder: Path, metrics: Mapping[str, Any] | None = None) -> list[str]:
    """A run folder in a few lines: errors, drift of its trajectories, its path.

    Args:
        folder: of the run.
        metrics: if they are not in the folder yet.

    Raises:
        InputError: the folder holds no finished run.
    """
    metrics, trajectories = results(folder, metrics)
    parts = {name: value for name, value in metrics.items() if isinstance(value, dict)}
    return [
        f"{metrics['n_weights']} weights, {metrics['steps']} steps in {metrics['seconds']:.0f} s",
        *error_lines(parts),
        *reliability_lines(parts),
        *(dynamics_line(name, report) for name, report in trajectories.items()),
        *(f"note: {note}" for note in metrics.get("notes", ())),
        f"run folder: {folder}",
    ]


def present_errors(errors: Mapping[str, float]) -> str:
    """Mean absolute errors of a validation in a few words, in meV, meV/Å, …"""
    found = []
    for key, one in PROPERTIES.items():
        for name, unit in ((f"{key}{PER_ATOM}", f"{one.unit}/atom"), (key, one.unit)):
            if f"{name}_mae" in errors:
                found.append(f"{key} {1000 * errors[f'{name}_mae']:.3g} m{unit}")
    return "  ".join(found)


def error_lines(metrics: Mapping[str, Metrics]) -> list[str]:
    """One line of text for each part, errors in meV, meV/Å, …; of properties with labels only."""
    units = {}
    for key, one in PROPERTIES.items():
        units |= {key: one.unit, f"{key}{PER_ATOM}": f"{one.unit}/atom"}
    keys = [k for k in units if any(m.get(f"{k}_mae") is not None for m in metrics.values())]
    names = {
        key: f"{key.removesuffix(PER_ATOM)}{'/atom' * key.endswith(PER_ATOM)} MAE" for key in keys
    }
    heads = [
        f"{name:>{max(13, len(name) + 2)}}{'RMSE':>9}  m{units[k]}" for k, name in names.items()
    ]

    def shown(value: float | int | None) -> str:
        return "–" if value is None else f"{1000 * value:.2f}"

    def column(found: Metrics, key: str, head: str) -> str:
        mae, rmse = (shown(found.get(f"{key}_{name}")) for name in ("mae", "rmse"))
        width = head.index(" MAE") + 4
        return f"{mae:>{width}}{rmse:>9}".ljust(len(head))

    lines = [f"part   frames{''.join(heads)}"]
    for part, found in metrics.items():
        columns = map(partial(column, found), keys, heads)
        lines.append(f"{part:6} {found['n_frames']:6}{''.join(columns)}".rstrip())
    for part, found in metrics.items():
        counts = {
            key: found[f"{key}{N_FRAMES}"] for key in PROPERTIES if f"{key}{N_FRAMES}" in found
        }
        if counts:
            listed = ", ".join(f"{key} of {count}" for key, count in counts.items())
            lines.append(f"{part:6} labels: {listed} of {found['n_frames']} frames")
    return lines


def reliability_lines(metrics: Mapping[str, Metrics]) -> list[str]:
    """One line of text for each part and property; none unless the metrics are of an ensemble."""
    columns = ("coverage_1sigma", "coverage_2sigma", "z_rms", "rank_correlation")

    def shown(value: float | int | None, name: str) -> str:
        form = "6.1%" if "coverage" in name else "6.2f"
        return ("–" if value is None else format(value, form)).rjust(len(name) + 2)

    lines = [
        f"{part:6} {key:6}" + "".join(shown(found[f"{key}_{n}"], n) for n in columns)
        for part, found in metrics.items()
        for key in PROPERTIES
        if f"{key}_z_rms" in found
    ]
    names = "uncertainty  " + "".join(f"  {name}" for name in columns)
    return [names, *lines] if lines else []


def spread(values: np.ndarray) -> str:
    """Mean ± standard deviation."""
    if len(values) == 1:
        return f"{values[0]:.3g}"
    return f"{np.mean(values):.3g} ± {np.std(values, ddof=1):.2g}"
