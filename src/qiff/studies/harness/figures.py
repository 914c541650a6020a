"""Figures of the studies, as PNG. matplotlib is imported inside."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np

from ...atoms.properties import labels
from ...model.predict import predict
from ...report.figures import new_figure, png
from ...training.checkpoint import load
from ...training.comparison import has_free_constant
from .experiment import Outcome
from .rows import REPORTED, squared

COLOURS = ("#1f5fa8", "#e8a33d", "#5b9a68", "#b0413e", "#7a5ea8", "#5c6770", "#c98bb9", "#8a6d3b")


def _coloured(names) -> list[tuple[str, str]]:
    return [(name, COLOURS[n % len(COLOURS)]) for n, name in enumerate(names)]


def _values(atoms: Sequence[ase.Atoms], key: str) -> np.ndarray:
    return np.array([labels(one)[key] for one in atoms])


def bond_curves(models: Mapping[str, Path], frames: Sequence[ase.Atoms]) -> bytes:
    """Energy and force along the bond of a diatomic molecule: models and reference."""
    length = np.array([atoms.get_distance(0, 1) for atoms in frames])
    return _curves(models, frames, length, "bond length (Å)", atom=1, axis=2)


def cut(models: Mapping[str, Path], frames: Sequence[ase.Atoms]) -> bytes:
    """Energy and force along the cut of the dimer, where one hydrogen moves."""
    length = np.array([atoms.get_distance(0, 2) for atoms in frames])
    return _curves(models, frames, length, "O–H distance (Å)", atom=2, axis=0)


def _curves(
    models: Mapping[str, Path],
    frames: Sequence[ase.Atoms],
    length: np.ndarray,
    along: str,
    atom: int,
    axis: int,
) -> bytes:
    figure, (left, right) = new_figure(2, width=10)
    energy, forces = _values(frames, "energy"), _values(frames, "forces")[:, atom, axis]
    lowest = energy.min()
    left.plot(length, energy - lowest, color="0.2", lw=3, alpha=0.35, label="reference")
    right.plot(length, forces, color="0.2", lw=3, alpha=0.35, label="reference")
    for (name, folder), (_, colour) in zip(models.items(), _coloured(models), strict=True):
        found = predict(load(folder / "model.qiff"), frames)
        left.plot(length, [p.energy - lowest for p in found], color=colour, lw=1, label=name)
        right.plot(length, [p.forces[atom, axis] for p in found], color=colour, lw=1)
    left.set(xlabel=along, ylabel="energy − minimum (eV)")
    right.set(xlabel=along, ylabel="force (eV/Å)", ylim=_span(forces))
    left.set_ylim(*_span(energy - lowest))
    left.legend(frameon=False, fontsize=8)
    return png(figure)


def _span(values: np.ndarray) -> tuple[float, float]:
    margin = 0.1 * float(np.ptp(values))
    return float(values.min()) - margin, float(values.max()) + margin


def parity(models: Mapping[str, Path], frames: Sequence[ase.Atoms]) -> bytes:
    """Predicted against reference values of the test, a row of panels for each property."""
    figure, axes = new_figure(len(models), width=3 * len(models), n_rows=len(REPORTED), height=6)
    for column, ((name, folder), (_, colour)) in enumerate(
        zip(models.items(), _coloured(models), strict=True)
    ):
        found = predict(load(folder / "model.qiff"), frames)
        for panels, (key, shown) in zip(axes, REPORTED.items(), strict=True):
            one = panels[column]
            wanted = np.ravel(_values(frames, key))
            values = np.ravel([getattr(p, key) for p in found])
            centre = wanted.mean() if has_free_constant(key) else 0.0
            one.plot(wanted - centre, values - centre, ".", ms=2, color=colour, rasterized=True)
            one.axline((0, 0), slope=1, color="0.5", lw=0.8, zorder=0)
            one.set(xlabel=f"reference {key} ({shown.unit})")
            one.set_ylim(*_span(wanted - centre))
        axes[0][column].set_title(name.replace(", ", ",\n"), fontsize=9)
    for panels, (key, shown) in zip(axes, REPORTED.items(), strict=True):
        centred = " − mean" if has_free_constant(key) else ""
        panels[0].set_ylabel(f"predicted {key}{centred} ({shown.unit})")
    return png(figure)


def learning_curves(found: Mapping[str, Outcome]) -> bytes:
    """Validation loss against steps, every seed."""
    figure, (axes,) = new_figure(1, width=6.5)
    for label, colour in _coloured(found):
        for n, folder in enumerate(found[label].folders):
            table = np.genfromtxt(folder / "history.csv", delimiter=",", names=True)
            axes.semilogy(
                np.atleast_1d(table["step"]),
                np.atleast_1d(table["valid_loss"]),
                color=colour,
                lw=1,
                alpha=0.8,
                label=None if n else label,
            )
    axes.set(xlabel="step", ylabel="validation loss")
    axes.legend(frameon=False, fontsize=8)
    return png(figure)


def against_noise(found: Mapping[str, Outcome], sigmas: Sequence[float]) -> bytes:
    """Errors against the noise of the labels, mean and spread over seeds."""
    figure, axes = new_figure(len(REPORTED), width=10)
    models = list(dict.fromkeys(label.split("-")[0] for label in found))
    for one, (key, shown) in zip(axes, REPORTED.items(), strict=True):
        for (name, colour), test in (
            (each, test) for each in _coloured(models) for test in ("full", "relevant")
        ):
            errors = [found[f"{name}-{s:g}"].mean_square(test, key) for s in sigmas]
            style = {"full": "--", "relevant": "-"}[test]
            _with_range(one, sigmas, errors, color=colour, ls=style, label=f"{name} ({test})")
        one.set(xscale="log", yscale="log", xlabel="σ of the labels (eV)")
        one.set_ylabel(f"MSE of {key} ({squared(shown.unit)})")
    axes[0].legend(frameon=False, fontsize=8)
    return png(figure)


def gains(factors: Mapping[str, Mapping[str, float]]) -> bytes:
    """Factor by which symmetry breaking reduces the errors in each setting."""
    figure, (axes,) = new_figure(1, width=7)
    settings = list(factors["energy"])
    for offset, (what, colour) in zip((-0.2, 0.2), _coloured(factors), strict=True):
        places = np.arange(len(settings)) + offset
        axes.barh(places, list(factors[what].values()), 0.35, color=colour, label=what)
    axes.axvline(1, color="0.4", lw=0.8)
    axes.axvline(10, color="0.4", lw=0.8, ls=":")
    axes.set(xscale="log", xlabel="MSE without symmetry breaking over MSE with it")
    axes.set_yticks(range(len(settings)), settings)
    axes.invert_yaxis()
    axes.legend(frameon=False, fontsize=8)
    return png(figure)


def lines(panels: Sequence[Mapping[str, Any]]) -> bytes:
    """Panels of lines: `series` (label to x and y), `x`, `y` and the scales of the axes.

    Each y is a number, or those of all seeds: the line is their mean, a bar their range.
    """
    from matplotlib.ticker import LogFormatter

    figure, axes = new_figure(len(panels), width=4.2 * len(panels))
    for one, panel in zip(axes, panels, strict=True):
        for label, colour in _coloured(panel["series"]):
            _with_range(one, *panel["series"][label], color=colour, lw=1, label=label)
        scales = {name: panel.get(name, "linear") for name in ("xscale", "yscale")}
        one.set(xlabel=panel["x"], ylabel=panel["y"], **scales)
        if scales["yscale"] == "log":
            one.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.4)))
        one.legend(frameon=False, fontsize=7)
    return png(figure)


def _with_range(axes: Any, x: Sequence[float], y: Sequence[Any], **style: Any) -> None:
    """A line through means, with bars from the smallest to the largest value."""
    values = [np.atleast_1d(several) for several in y]
    means = np.array([several.mean() for several in values])
    lowest, highest = ([pick(several) for several in values] for pick in (np.min, np.max))
    axes.errorbar(x, means, [means - lowest, highest - means], marker="o", ms=3, capsize=2, **style)
