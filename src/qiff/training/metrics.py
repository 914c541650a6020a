"""Errors of a potential on labelled configurations."""

from collections.abc import Sequence

import ase
import numpy as np

from ..atoms.properties import labels
from ..model.ensemble import Ensemble, uncertainty
from ..model.potential import AbstractPotential
from ..model.predict import Prediction, predict
from .calibration import deviations, reliability

Metrics = dict[str, float | int | None]


def evaluate(potential: AbstractPotential, frames: Sequence[ase.Atoms]) -> Metrics:
    """`errors` of a potential, and of an ensemble its `reliability` too."""
    predictions = predict(potential, frames)
    found = errors(predictions, frames)
    if isinstance(potential, Ensemble):
        found |= reliability(deviations(predictions, uncertainty(potential, frames), frames))
    return found


def errors(predictions: Sequence[Prediction], frames: Sequence[ase.Atoms]) -> Metrics:
    """`energy_mae`, `energy_rmse` in eV, `forces_mae`, `forces_rmse` in eV/Å (per component).

    `energy_shifted_mae` is what is left when the mean error of the energies is taken off.
    An error is None where the frames do not all have the label; `n_frames` counts them.
    """
    found: Metrics = {}
    for name in ("energy", "forces"):
        wanted = [labels(atoms)[name] for atoms in frames if name in labels(atoms)]
        complete = 0 < len(wanted) == len(frames)
        given = [getattr(prediction, name) for prediction in predictions]
        off = (
            np.concatenate([np.ravel(a - b) for a, b in zip(given, wanted, strict=True)])
            if complete
            else None
        )
        found[f"{name}_mae"] = None if off is None else float(np.abs(off).mean())
        found[f"{name}_rmse"] = None if off is None else float(np.sqrt((off**2).mean()))
        if name == "energy":
            shifted = None if off is None else float(np.abs(off - off.mean()).mean())
            found["energy_shifted_mae"] = shifted
    return found | {"n_frames": len(frames)}
