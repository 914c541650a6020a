"""Drawings of circuits as figures, by matplotlib: gates that share a weight have one colour."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from .draw import Placed, Sketch, observable_names

TRAINED = ("#2a7f62", "#b4532a", "#7a4fa3", "#a3842a", "#a33e6f", "#3a6ea8", "#6b7f2a", "#8a5a44")
"""Colours of weights, one after the other and again from the start."""
DATA = "#5b6f8a"
"""Colour of gates that encode data."""
INK = "#010203"
"""Colour of wires and names, which a page may replace."""
Extent = tuple[float, float]
"""Width and height of a drawing, in its own units."""
_INCH = 0.62  # a unit
_COLUMN, _ROW, _BOX = 1.25, 0.8, (1.0, 0.5)


class Drawing(Figure):
    """A figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=150)
        return buffer.getvalue()


def circuit_figure(sketch: Sketch) -> Drawing:
    """A circuit as a figure of matplotlib.

    Wires from the initial state on the left to the observables on the right, the repeated layer
    once in a frame. Data gates are grey; trained gates have the colour and label of their weight.
    """
    return stacked_figure([(extent(sketch), lambda axes: draw_circuit(axes, sketch))])


def stacked_figure(panels: Sequence[tuple[Extent, Callable[[Any], None]]]) -> Drawing:
    """A figure of drawings below each other, all to one scale.

    Args:
        panels: width and height of each, and a function that draws it in axes.
    """
    width = max(size[0] for size, _ in panels)
    heights = [size[1] for size, _ in panels]
    figure = Drawing(figsize=(_INCH * width, _INCH * sum(heights)))
    ends = 1 - np.cumsum([0, *heights]) / sum(heights)
    for (size, draw), bottom in zip(panels, ends[1:], strict=True):
        axes = figure.add_axes((0, bottom, 1, size[1] / sum(heights)))
        axes.set(xlim=(-1.6, width - 1.6), ylim=(size[1] - 0.9, -0.9))
        axes.axis("off")
        draw(axes)
    return figure


def extent(sketch: Sketch) -> Extent:
    """Width and height of the drawing of a circuit."""
    names = observable_names(sketch.program.observables)
    words = 0.135 * max(map(len, names), default=0)
    rows = max(sketch.program.n_qubits * _ROW, 0.42 * len(names))
    return sum(_columns(sketch)) * _COLUMN + 2.4 + words, rows + 0.9


def draw_circuit(axes: Any, sketch: Sketch) -> None:
    """Draw a circuit in axes of matplotlib."""
    (first, layer), (n_first, n_layer) = sketch.parts, _columns(sketch)
    n, names = sketch.program.n_qubits, observable_names(sketch.program.observables)
    end = (n_first + n_layer) * _COLUMN + 0.3
    _wires(axes, sketch, end)
    _gates(axes, first, 0.0)
    _gates(axes, layer, n_first * _COLUMN + 0.3)
    if layer:
        _frame(axes, n_first * _COLUMN - 0.1, end, n, f"× {sketch.program.n_layers}")
    for number, name in enumerate(names):
        height = (n - 1) * _ROW / 2 + (number - (len(names) - 1) / 2) * 0.42
        axes.text(end + 0.35, height, name, va="center", color=INK, fontsize=8)


def _columns(sketch: Sketch) -> list[int]:
    return [1 + max((one.column for one in part), default=-1) for part in sketch.parts]


def _wires(axes: Any, sketch: Sketch, end: float) -> None:
    state = sketch.program.state
    for qubit in range(state.n_qubits):
        axes.plot([-0.7, end + 0.25], [qubit * _ROW] * 2, color=INK, lw=0.8, zorder=0)
        pair = next((i for i, pair in enumerate(state.pairs) if qubit in pair), None)
        start = "|0⟩" if pair is None else f"ψ{pair}"
        axes.text(-1.5, qubit * _ROW, f"q{qubit}  {start}", va="center", color=INK, fontsize=8)


def _gates(axes: Any, gates: tuple[Placed, ...], left: float) -> None:
    for one in gates:
        x, rows = left + one.column * _COLUMN + 0.5, [q * _ROW for q in one.gate.qubits]
        colour = _colour(one)
        if len(rows) > 1:
            axes.plot([x, x], [min(rows), max(rows)], color=colour, lw=1.6, zorder=1)
        for y, face in zip(rows, one.faces, strict=True):
            if one.mark.role == "fixed" and not face.isalpha():
                style = {"marker": "o" if face == "●" else "$⊕$", "ms": 6 if face == "●" else 11}
                axes.plot(x, y, color=colour, zorder=2, **style)
                continue
            corner = (x - _BOX[0] / 2, y - _BOX[1] / 2)
            style = {"boxstyle": "round,pad=0,rounding_size=0.08", "lw": 0, "zorder": 2}
            axes.add_patch(FancyBboxPatch(corner, *_BOX, facecolor=colour, **style))
            axes.text(x, y, face, ha="center", va="center", color="white", fontsize=7.5)


def _colour(one: Placed) -> str:
    if one.mark.role == "fixed":
        return INK
    if one.mark.role == "data":
        return DATA
    return TRAINED[int(one.mark.label.removeprefix("θ")) % len(TRAINED)]


def _frame(axes: Any, left: float, right: float, n_qubits: int, text: str) -> None:
    """Around the layer that is repeated."""
    style = {
        "boxstyle": "round,pad=0,rounding_size=0.15",
        "fill": False,
        "lw": 1,
        "ls": (0, (4, 3)),
    }
    size = right - left, n_qubits * _ROW - 0.05
    axes.add_patch(FancyBboxPatch((left, -0.42), *size, edgecolor=INK, **style))
    axes.text(left + 0.1, -0.5, text, va="bottom", color=INK, fontsize=9)
