"""Whether an ensemble knows how wrong it is: its factors of calibration, and how well they hold."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import ase
import numpy as np
from jaxtyping import Float

from .._checks import InputError
from ..atoms.properties import PROPERTIES, labels
from ..model.ensemble import Ensemble, EnsembleSettings, Uncertainty, uncertainty
from ..model.predict import Prediction, predict


class Deviations(NamedTuple):
    """Errors of energies (n_components = 1) or forces (3), and their standard deviations."""

    errors: Float[np.ndarray, "n n_components"]
    expected: Float[np.ndarray, " n"]


def calibrated(ensemble: Ensemble, frames: Sequence[ase.Atoms]) -> Ensemble:
    """The ensemble with factors that make its spread as large as its errors on labelled frames.

    Each is the root mean square error over the root mean square spread of the members. What
    the frames have no label for keeps its factor.

    Args:
        ensemble: trained members.
        frames: labelled, and not among those that it was trained on.

    Raises:
        InputError: all members predict the same.
    """
    factors = dict(ensemble.calibration)
    found = deviations(predict(ensemble, frames), uncertainty(ensemble, frames), frames)
    for label, (wrong, expected) in found.items():
        if not np.any(expected):
            raise InputError(f"`ensemble` must have members that differ in their {label}.")
        factors[label] *= float(np.sqrt(np.mean(wrong**2) / np.mean(expected**2)))
    return Ensemble(ensemble.members, EnsembleSettings(calibration=factors))


def deviations(
    predictions: Sequence[Prediction],
    uncertainties: Sequence[Uncertainty],
    frames: Sequence[ase.Atoms],
) -> dict[str, Deviations]:
    """Of `energy` and `forces`, as far as all frames have the label."""
    found = {}
    for label in PROPERTIES:
        if not frames or not all(label in labels(atoms) for atoms in frames):
            continue
        wrong = [
            np.atleast_2d(getattr(prediction, label) - labels(atoms)[label])
            for prediction, atoms in zip(predictions, frames, strict=True)
        ]
        expected = [np.atleast_1d(getattr(u, label)) for u in uncertainties]
        found[label] = Deviations(np.concatenate(wrong), np.concatenate(expected))
    return found


def reliability(found: dict[str, Deviations]) -> dict[str, float | None]:
    r"""How standard deviations $\sigma$ compare with errors $\epsilon$ of frames held out.

    For `energy` and `forces` the coverage, that is the part of errors within 1 and 2 $\sigma$
    (Gaussian errors: 0.683 and 0.954), the root mean square of the z-score $\epsilon/\sigma$
    (calibrated: 1), and Spearman's rank correlation of $|\epsilon|$ and $\sigma$ (None for two
    configurations or fewer, and where all $\sigma$ are equal).
    """
    from scipy.stats import spearmanr

    table: dict[str, float | None] = {}
    for label, (wrong, expected) in found.items():
        for n in (1, 2):
            table[f"{label}_coverage_{n}sigma"] = float(
                np.mean(np.abs(wrong) <= n * expected[:, None])
            )
        certain = expected == 0
        z = wrong[~certain] / expected[~certain, None]
        size = np.linalg.norm(wrong, axis=1)
        several = len(size) > 2 and np.ptp(expected) > 0 and np.ptp(size) > 0
        table[f"{label}_z_rms"] = float(np.sqrt(np.mean(z**2))) if z.size else None
        rank: Any = spearmanr(size, expected) if several else None
        table[f"{label}_rank_correlation"] = rank and float(rank.statistic)
    return table
