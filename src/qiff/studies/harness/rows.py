"""Rows of the tables of studies."""

import numpy as np

from ...report.section import TableRow
from .experiment import Outcome


def error_row(label: str, outcome: Outcome, test: str) -> TableRow:
    """Test errors of an experiment, mean ± standard deviation over seeds."""
    energy, forces = (outcome.mean_absolute(test, name) for name in ("energy", "forces"))
    return {
        "model": label,
        "test": test,
        "weights": outcome.n_weights,
        "rate": outcome.rate,
        "seeds": len(outcome.folders),
        "energy MSE (eV²)": spread(outcome.mean_square(test, "energy")),
        "forces MSE (eV²/Å²)": spread(outcome.mean_square(test, "forces")),
        "energy MAE (meV)": spread(1000 * energy),
        "forces MAE (meV/Å)": spread(1000 * forces),
        "training s": round(outcome.seconds),
    }


def spread(values: np.ndarray) -> str:
    """Mean ± standard deviation."""
    if len(values) == 1:
        return f"{values[0]:.3g}"
    return f"{np.mean(values):.3g} ± {np.std(values, ddof=1):.2g}"


def ratio(one: np.ndarray, other: np.ndarray) -> float:
    """How many times larger the mean of one is."""
    return float(np.mean(one) / np.mean(other))
