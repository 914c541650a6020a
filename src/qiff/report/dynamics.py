"""What a simulation shows a person: figure, table and record beside its trajectory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._files import atomic_write
from ..dynamics.settings import Dynamics
from ..dynamics.statistics import DynamicsReport, Sample, save_statistics
from .figures import COLOURS, new_figure, png


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


def dynamics_line(name: str, report: Mapping[str, Any]) -> str:
    """One line of text for a trajectory."""
    line = (
        f"{name}: {report['picoseconds']:g} ps, mean temperature {report['mean_temperature']:.0f} K"
    )
    if report["drift"] is not None:
        line += f", energy drift {report['drift']:.3g} meV/atom/ps"
    if report.get("mean_volume") is not None:
        mean, error = report["mean_pressure"], report["pressure_error"]
        line += f", mean pressure {mean:.3g} ± {error:.1g} GPa"
        line += f", density {report['density']:.4g} g/cm³"
    return line


def dynamics_figure(samples: Sequence[Sample], n_atoms: int) -> bytes:
    """Energies, temperature and, with a volume, pressure and volume along a trajectory, as PNG."""
    in_volume = samples[0].volume is not None
    figure, (left, right, *further) = new_figure(4 if in_volume else 2, 18 if in_volume else 9)
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
    for axes, name, unit in zip(further, ("pressure", "volume"), ("GPa", "Å³"), strict=in_volume):
        axes.plot(time, [getattr(s, name) for s in samples], color=COLOURS["valid"], lw=1)
        axes.set(xlabel="time (ps)", ylabel=f"{name} ({unit})")
    return png(figure)
