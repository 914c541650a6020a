"""Figures of a run, as PNG. matplotlib is imported inside."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import ase
import numpy as np

from ..atoms.properties import PROPERTIES
from ..model.predict import Prediction
from ..training.calibration import Deviations
from ..training.comparison import compared, has_free_constant
from ..training.fit import HistoryRow

COLOURS = {"train": "#b8c4d6", "valid": "#e8a33d", "test": "#1f5fa8"}

LabelledPredictions = tuple[Sequence[Prediction], Sequence[ase.Atoms]]
"""Predictions for labelled frames."""


def parity_figure(parts: Mapping[str, LabelledPredictions]) -> bytes:
    """Predicted against labelled values of each part, one panel for each property with labels."""
    found = {part: compared(*labelled) for part, labelled in parts.items()}
    keys = [key for key in PROPERTIES if any(key in both for both in found.values())]
    figure, panels = new_figure(len(keys), width=4.5 * len(keys))
    for axes, key in zip(panels, keys, strict=True):
        unit, shown = PROPERTIES[key].unit, PROPERTIES[key].components
        values = {
            part: (_flat(both[key].predicted), _flat(both[key].labelled))
            for part, both in found.items()
            if key in both
        }
        centre = 0.0
        if has_free_constant(key):
            centre = np.mean(np.concatenate([labelled for _, labelled in values.values()]))
            shown += " − mean"
        for part, (predicted, labelled) in values.items():
            mae = 1000 * np.abs(predicted - labelled).mean()
            style = {"color": COLOURS[part], "label": f"{part}  MAE {mae:.4g} m{unit}"}
            points = labelled - centre, predicted - centre
            axes.plot(*points, ".", ms=4, rasterized=True, **style)
        axes.axline((0, 0), slope=1, color="0.5", lw=0.8, zorder=0)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set(xlabel=f"reference {shown} ({unit})", ylabel=f"predicted {shown} ({unit})")
        axes.legend(frameon=False, fontsize=8)
    return png(figure)


def _flat(values: Sequence[Any]) -> np.ndarray:
    """All components of all configurations."""
    return np.concatenate([np.ravel(value) for value in values])


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
    for one, (key, (wrong, expected)) in zip(axes, found.items(), strict=True):
        bins = np.array_split(np.argsort(expected), min(n_bins, len(expected)))
        size, deviation = (
            [1000 * np.sqrt(np.mean(values[bin] ** 2)) for bin in bins]
            for values in (wrong, expected)
        )
        unit = f"m{PROPERTIES[key].unit}"
        one.plot(deviation, size, "o", ms=4, color=COLOURS["test"])
        one.axline((0, 0), slope=1, color="0.5", lw=0.8, zorder=0)
        one.set(xlabel=f"{key}: expected σ ({unit})", ylabel=f"RMS error on test ({unit})")
    return png(figure)


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
    return saved(figure, "png")


def saved(figure: Any, format: str) -> bytes:
    """A figure in a format of matplotlib; as SVG transparent, with its words as text."""
    from matplotlib import rc_context

    content = io.BytesIO()
    date = {"metadata": {"Date": None}, "transparent": True} if format == "svg" else {}
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "qiff"}):
        figure.savefig(content, format=format, dpi=150, **date)
    return content.getvalue()
