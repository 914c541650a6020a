"""Whether a model is good, in words: its errors compared with the spread of the data."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..atoms.properties import PROPERTIES
from ..training.comparison import has_free_constant
from .predictions import Predictions

GRADES = ((0.02, "very good"), (0.05, "good"), (0.15, "fair"), (0.5, "poor"))
"""Root mean square errors over the spread of the data, below which a model is called so."""
WORST = "of no use"
_OVERFITTED = 2.0  # errors on new frames over errors on training frames
_KCAL = 23.0605  # kcal/mol in 1 eV


def spread(values: np.ndarray, key: str) -> float:
    """Root mean square of a property, about the mean if it is defined up to a constant."""
    known = values[np.isfinite(values)]
    return float(np.sqrt(np.mean((known - known.mean() * has_free_constant(key)) ** 2)))


def grade(ratio: float) -> str:
    """The word for an error of this size, in units of the spread of the data."""
    return next((word for limit, word in GRADES if ratio < limit), WORST)


def sizes(shown: Predictions) -> dict[str, dict[str, float]]:
    """By property: `mae`, `rmse`, `spread`, and `ratio` of the last two, in the unit of each."""
    found = {}
    for key, labelled in shown.labelled.items():
        errors = shown.errors(key)
        errors = errors[np.isfinite(errors)]
        whole = spread(labelled, key)
        if errors.size:
            rmse = float(np.sqrt(np.mean(errors**2)))
            ratio = rmse / whole if whole > 0 else np.inf
            mae = float(np.abs(errors).mean())
            found[key] = {"mae": mae, "rmse": rmse, "spread": whole, "ratio": ratio}
    return found


def sentences(
    shown: Predictions, metrics: Mapping[str, Any], history: Sequence[Mapping[str, float]]
) -> list[str]:
    """What the errors mean, in sentences; the first is the verdict on the worst property."""
    found = sizes(shown)
    worst = max((one["ratio"] for one in found.values()), default=np.inf)
    lines = [f"On the {shown.part} part this model is {grade(worst)}."]
    for key, one in found.items():
        unit = f"m{PROPERTIES[key].unit}"
        line = (
            f"{key.capitalize()}: mean absolute error {_milli(one['mae'])} {unit}, root mean "
            f"square error {_milli(one['rmse'])} {unit}, which is {_percent(one['ratio'])} of "
            f"the spread of the labels ({_milli(one['spread'])} {unit}): {grade(one['ratio'])}."
        )
        if key == "energy":
            each = 1000 * np.nanmean(np.abs(shown.errors(key)) / shown.n_atoms)
            line += f" That is {each:.3g} meV/atom, or {_KCAL * one['mae']:.2g} kcal/mol."
            varying = metrics.get(shown.part, {}).get("energy_shifted_mae")
            if varying is not None and varying < one["mae"] / 2:
                line += f" All but {_milli(varying)} {unit} of it is a constant."
        lines.append(line)
    return lines + _training(shown, metrics) + _curve(history)


def _training(shown: Predictions, metrics: Mapping[str, Any]) -> list[str]:
    """Whether errors are larger than on the frames that were trained on."""
    lines = []
    for key in shown.labelled if shown.part != "train" else ():
        name = f"{key}_rmse"
        ours, train = (metrics.get(part, {}).get(name) for part in (shown.part, "train"))
        if ours and train and ours > _OVERFITTED * train:
            lines.append(
                f"The {key} error is {ours / train:.1f} times that of the training part: the model "
                "is overfitted; more training data or fewer weights would help."
            )
    return lines


def _curve(history: Sequence[Mapping[str, float]]) -> list[str]:
    """Whether the validation loss was still falling at the end."""
    if len(history) > 3 and min(history, key=lambda row: row["valid_loss"]) is history[-1]:
        before = history[-1 - len(history) // 4]["valid_loss"]
        if history[-1]["valid_loss"] < 0.9 * before:
            return ["The validation loss was still falling at the last step: train longer."]
    return []


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.2g} %" if ratio < 10 else f"{ratio:.2g} times"


def _milli(value: float) -> str:
    """In thousandths, with three digits, but without an exponent."""
    return f"{1000 * value:.3g}" if 1e-3 < 1000 * value < 1000 else f"{1000 * value:,.0f}"
