"""Rows of the tables of studies."""

import numpy as np

from ...atoms.properties import PROPERTIES, Property
from ...report.section import TableRow
from ...report.tables import spread
from .experiment import Outcome

REPORTED: dict[str, Property] = {key: PROPERTIES[key] for key in ("energy", "forces")}
"""Properties that the studies report; their data are of isolated molecules, without stress."""


def error_row(label: str, outcome: Outcome, test: str) -> TableRow:
    """Test errors of an experiment, mean ± standard deviation over seeds."""
    mean_squares = {
        f"{key} MSE ({squared(one.unit)})": spread(outcome.mean_square(test, key))
        for key, one in REPORTED.items()
    }
    mean_absolutes = {
        f"{key} MAE (m{one.unit})": spread(1000 * outcome.mean_absolute(test, key))
        for key, one in REPORTED.items()
    }
    return {
        "model": label,
        "test": test,
        "weights": outcome.n_weights,
        "rate": outcome.rate,
        "seeds": len(outcome.folders),
        **mean_squares,
        **mean_absolutes,
        "training s": round(outcome.seconds),
    }


def squared(unit: str) -> str:
    """The square of a unit such as eV/Å."""
    return "/".join(f"{part}²" for part in unit.split("/"))


def ratio(one: np.ndarray, other: np.ndarray) -> float:
    """Mean of one over the mean of the other."""
    return float(np.mean(one) / np.mean(other))
