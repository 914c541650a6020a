"""Numbers of a report, small enough for a page: base64 of integers, and a choice of frames."""

import base64
import json
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.cell import Cell
from ase.data import chemical_symbols
from ase.geometry import wrap_positions
from jaxtyping import Bool, Float, Int

from ..atoms.properties import PROPERTIES
from ..dynamics.trajectory import read_trajectory
from ..training.comparison import has_free_constant
from .predictions import Predictions
from .records import read_table

MOST_ATOMS = 40_000
"""Atoms of structures in a page."""
MOST_MOVING = 24_000
"""Atoms of all frames of a trajectory in a page."""
_MOST_FRAMES = 300  # of a trajectory
_WORST = 12
_BINS = 40


def embedded(data: Any) -> str:
    """JSON that may stand in a script element: nothing in it ends the element."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c")


def quantised(values: np.ndarray) -> dict[str, Any]:
    """Numbers as 16-bit integers in base64, their unit, and NaN as the smallest integer."""
    flat = np.ravel(values).astype(float)
    known = np.isfinite(flat)
    unit = float(np.max(np.abs(flat[known]), initial=0.0)) / 32767 or 1.0
    whole = np.where(known, np.round(np.where(known, flat, 0) / unit), -32768).astype("<i2")
    return {"unit": unit, "i16": base64.b64encode(whole.tobytes()).decode()}


def rounded(values: np.ndarray, digits: int = 6) -> list[float | None]:
    """Numbers with so many significant digits; None for NaN."""
    return [float(f"{v:.{digits}g}") if np.isfinite(v) else None for v in np.ravel(values)]


def of_frames(shown: Predictions, key: str) -> Float[np.ndarray, " n_frames"]:
    """Root mean square error of a property in each configuration; NaN without labels."""
    squares = np.square(shown.errors(key)).reshape(len(shown.errors(key)), -1).mean(1)
    if PROPERTIES[key].per_atom:
        squares = np.bincount(shown.frame_of_atom, squares) / np.maximum(shown.n_atoms, 1)
    return np.sqrt(squares)


def worst_first(shown: Predictions) -> dict[str, Int[np.ndarray, " n"]]:
    """By property the configurations with the largest errors."""
    found = {}
    for key in shown.labelled:
        errors = of_frames(shown, key)
        order = np.argsort(-np.nan_to_num(errors, nan=-1.0), kind="stable")
        found[key] = order[np.isfinite(errors[order])][:_WORST]
    return found


def chosen(shown: Predictions, most_atoms: int = MOST_ATOMS) -> Int[np.ndarray, " n_chosen"]:
    """The frames in a page: all, or the worst of each property and others, evenly spaced."""
    n = len(shown.n_atoms)
    if shown.n_atoms.sum() <= most_atoms:
        return np.arange(n)
    turns = zip_longest(*worst_first(shown).values())
    worst = [int(i) for turn in turns for i in turn if i is not None]
    n_spaced = max(1, int(most_atoms / shown.n_atoms.mean()))
    spaced = np.linspace(0, n - 1, n_spaced).astype(int).tolist()
    order = list(dict.fromkeys([*worst, *spaced]))
    total = np.cumsum(shown.n_atoms[order])
    return np.sort(np.array(order[: max(1, int((total <= most_atoms).sum()))]))


def structures(shown: Predictions) -> dict[str, Any]:
    """Frames with their labels and predictions, the worst ones and distributions of errors."""
    frames = chosen(shown)
    atoms = np.isin(shown.frame_of_atom, frames)
    apart = np.split(shown.positions, np.cumsum(shown.n_atoms)[:-1])
    positions = np.concatenate([_wrapped(apart[i], shown.cells[i]) for i in frames])
    found: dict[str, Any] = {
        "part": shown.part,
        "total": len(shown.n_atoms),
        "indices": shown.indices[frames].tolist(),
        "n_atoms": shown.n_atoms[frames].tolist(),
        "numbers": base64.b64encode(shown.numbers[atoms].astype("u1").tobytes()).decode(),
        "symbols": {int(z): chemical_symbols[z] for z in np.unique(shown.numbers)},
        "positions": quantised(positions),
        "properties": {key: _compared(shown, key, frames, atoms) for key in shown.labelled},
    }
    if shown.cells.any():
        found["cells"] = rounded(shown.cells[frames], 5)
    return found


def _compared(
    shown: Predictions,
    key: str,
    frames: Int[np.ndarray, " n_chosen"],
    atoms: Bool[np.ndarray, " n_all"],
) -> dict[str, Any]:
    """A property of the chosen frames, whose atoms are `atoms`."""
    one, centred = PROPERTIES[key], has_free_constant(key)
    rows = atoms if one.per_atom else frames
    labelled, predicted = shown.labelled[key], shown.predicted[key]
    centre = float(np.nanmean(labelled)) if centred else 0.0
    place = {int(frame): number for number, frame in enumerate(frames)}
    worst = worst_first(shown)[key].tolist()
    found = {
        "unit": one.unit,
        "components": one.components + " − mean" * centred,
        "per_atom": one.per_atom,
        "size": int(np.prod(one.shape)),
        "labelled": quantised(labelled[rows] - centre),
        "predicted": quantised(predicted[rows] - centre),
        "frame_errors": rounded(of_frames(shown, key)[frames], 4),
        "worst": [place[frame] for frame in worst if frame in place],
        "histograms": histograms(shown, key),
    }
    return found | ({"calibration": calibration(shown, key)} if key in shown.expected else {})


def _wrapped(
    positions: Float[np.ndarray, "n_atoms 3"], cell: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "n_atoms 3"]:
    """Positions inside the cell, along periodic directions, whose vectors are not zero."""
    if not cell.any():
        return positions
    return wrap_positions(positions, Cell(cell).complete(), pbc=cell.any(axis=1))  # pyright: ignore


def histograms(shown: Predictions, key: str) -> dict[str, Any]:
    """Distributions of errors, of forces one for each element, within the 99th percentile."""
    errors = shown.errors(key).reshape(len(shown.errors(key)), -1)
    groups = {"all": np.full(len(errors), True)}
    if PROPERTIES[key].per_atom:
        groups = {chemical_symbols[z]: shown.numbers == z for z in np.unique(shown.numbers)}
    known = np.abs(errors[np.isfinite(errors)])
    reach = float(np.quantile(known, 0.99)) if known.size else 1.0
    edges = np.linspace(-reach, reach, _BINS + 1) if reach else np.linspace(-1e-9, 1e-9, _BINS + 1)
    series, rows = {}, []
    for name, group in groups.items():
        own = errors[group]
        own = own[np.isfinite(own)]
        if own.size:
            counts, _ = np.histogram(own, edges)
            series[name] = rounded(counts / own.size, 4)
            size = np.abs(own)
            values = size.mean(), np.sqrt((own**2).mean()), np.quantile(size, 0.95), size.max()
            rows.append([name, int(own.size), *(float(f"{1000 * v:.4g}") for v in values)])
    return {"edges": rounded(edges, 5), "series": series, "rows": rows}


def calibration(shown: Predictions, key: str, n_bins: int = 12) -> dict[str, Any]:
    """Root mean square errors against standard deviations, in bins of equal number."""
    expected, errors = shown.expected[key], shown.errors(key)
    squares = np.square(errors).reshape(len(errors), -1).mean(1)
    known = np.flatnonzero(np.isfinite(squares) & np.isfinite(expected))
    bins = np.array_split(known[np.argsort(expected[known])], min(n_bins, max(1, len(known))))
    means = lambda values: rounded(np.array([np.sqrt(values[b].mean()) for b in bins if len(b)]), 4)
    return {"expected": means(np.square(expected)), "error": means(squares)}


def trajectory(path: Path) -> dict[str, Any] | None:
    """Frames of a trajectory, evenly spaced, with energy and temperature; None without a table."""
    rows = read_table(path.with_suffix(".csv"))
    if len(rows) < 2:
        return None
    frames: Sequence[ase.Atoms] = read_trajectory(path)
    n = min(len(frames), len(rows))
    most = max(2, min(_MOST_FRAMES, MOST_MOVING // max(1, len(frames[0]))))
    picked = np.unique(np.linspace(0, n - 1, min(n, most)).astype(int))
    kept = [frames[i].copy() for i in picked]
    for atoms in kept:
        if atoms.pbc.any():
            atoms.wrap()
    column = lambda name: np.array([float(rows[i].get(name) or np.nan) for i in picked])
    energy = column("total_eV")
    found = {
        "name": path.stem,
        "total": n,
        "symbols": kept[0].get_chemical_symbols(),
        "positions": quantised(np.stack([atoms.positions for atoms in kept])),
        "time": rounded(column("time_fs") / 1000),
        "temperature": rounded(column("temperature_K"), 5),
        "potential": rounded(1000 * (column("potential_eV") - column("potential_eV")[0]), 5),
        "energy": rounded(1000 * (energy - energy[0]), 5),
    }
    if kept[0].pbc.any():
        found["cells"] = rounded(np.stack([a.cell.array * a.pbc[:, None] for a in kept]), 5)
    return found


def curves(history: Sequence[Mapping[str, str]]) -> dict[str, list[float | None]]:
    """Columns of `history.csv`."""
    names = dict.fromkeys(name for row in history for name in row)
    return {n: rounded(np.array([float(row.get(n) or "nan") for row in history])) for n in names}
