"""How well the spread of an ensemble predicts its errors: calibration factors and their tests."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import ase
import numpy as np
from jaxtyping import Float

from .._checks import InputError
from ..model.ensemble import Ensemble, EnsembleSettings, Uncertainty, uncertainty
from ..model.potential import AbstractPotential
from ..model.predict import Prediction, predict
from .comparison import compared


class Deviations(NamedTuple):
    """Errors of a property, of forces 3 components a row, and their standard deviations."""

    errors: Float[np.ndarray, "n n_components"]
    expected: Float[np.ndarray, " n"]


def calibrated(ensemble: AbstractPotential, frames: Sequence[ase.Atoms]) -> Ensemble:
    """The ensemble with factors that make its spread as large as its errors on labelled frames.

    Each is the root mean square error over the root mean square spread of the members. A property
    that the frames have no label for keeps its factor.

    Args:
        ensemble: trained members.
        frames: labelled, and not among those that it was trained on.

    Returns:
        The same members with other factors; the ensemble that was given is not changed.

    Raises:
        InputError: the potential is no ensemble, or all members predict the same.
    """
    factors = dict(ensemble.calibration)
    found = deviations(predict(ensemble, frames), uncertainty(ensemble, frames), frames)
    for key, (wrong, expected) in found.items():
        if not np.any(expected):
            raise InputError(f"`ensemble` must have members that differ in their {key}.")
        factors[key] *= float(np.sqrt(np.mean(wrong**2) / np.mean(expected**2)))
    return Ensemble(ensemble.members, EnsembleSettings(calibration=factors))


def deviations(
    predictions: Sequence[Prediction],
    uncertainties: Sequence[Uncertainty],
    frames: Sequence[ase.Atoms],
) -> dict[str, Deviations]:
    """Of each property, for the frames that have a label of it."""
    found = {}
    for key, both in compared(predictions, frames).items():
        wrong = [np.atleast_2d(error) for error in both.errors]
        expected = [np.atleast_1d(getattr(uncertainties[i], key)) for i in both.indices]
        found[key] = Deviations(np.concatenate(wrong), np.concatenate(expected))
    return found


def reliability(found: dict[str, Deviations]) -> dict[str, float | None]:
    r"""How standard deviations $\sigma$ compare with errors $\epsilon$ of frames held out.

    For each property the coverage, that is the part of errors within 1 and 2 $\sigma$
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
