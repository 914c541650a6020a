"""What a simulation shows a person: figure, table and record beside its trajectory."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .._files import atomic_write
from ..dynamics.md import Dynamics, Report, Sample, samples_csv
from .figures import COLOURS, new_figure, png
from .records import save_record


def save_dynamics(
    path: Path,
    dynamics: Dynamics,
    samples: Sequence[Sample],
    report: Report,
    origin: Mapping[str, Any],
) -> dict[str, Any]:
    """Write table, figure and record beside a trajectory; returns the record."""
    found = {**asdict(dynamics), **asdict(report), **origin}
    atomic_write(path.with_suffix(".csv"), samples_csv(samples))
    atomic_write(path.with_suffix(".png"), dynamics_figure(samples, report.n_atoms))
    return save_record(path.with_suffix(".json"), found)


def dynamics_line(name: str, report: Mapping[str, Any]) -> str:
    """One line of text for a trajectory."""
    line = (
        f"{name}: {report['picoseconds']:g} ps, mean temperature {report['mean_temperature']:.0f} K"
    )
    drift = report["drift"]
    return line if drift is None else f"{line}, energy drift {drift:.3g} meV/atom/ps"


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
