"""Numbers of the loop: errors, whether they meet the targets, a row for each generation."""

from collections.abc import Mapping, Sequence
from typing import Any

import ase
import numpy as np

from ..atoms.properties import labels
from ..training.metrics import PER_ATOM
from .settings import Targets


def meets(found: Mapping[str, Any], targets: Targets) -> bool:
    """Whether errors are at most the targeted ones."""
    return all(error_of(found, key) <= getattr(targets, key) for key in ("forces", "energy"))


def error_of(found: Mapping[str, Any], key: str) -> float:
    """Mean absolute error, of the energy of periodic systems by atom; infinite without labels."""
    value = found.get(f"{key}{PER_ATOM}_mae", found.get(f"{key}_mae"))
    return float("inf") if value is None else float(value)


def forces_rms(frames: Sequence[ase.Atoms]) -> float | None:
    """Root mean square in eV/Å of the labelled force components."""
    if not frames:
        return None
    forces = np.concatenate([labels(atoms)["forces"].ravel() for atoms in frames])
    return float(np.sqrt(np.mean(forces**2)))


def row(record: Mapping[str, Any]) -> dict[str, str | int]:
    """A generation as a row of a table.

    Args:
        record: of a finished generation.
    """
    check, walks = record.get("check", {}), record.get("picoseconds", [])
    shown = lambda key: f"{1000 * error_of(check, key):.1f}" if check else "–"
    return {
        "generation": record["generation"],
        "temperature (K)": f"{record['temperature']:g}",
        "candidates": record.get("n_candidates", "–"),
        "stable (ps)": f"{sum(walks):.3g} in {len(walks)}" if walks else "–",
        "uncertain (%)": f"{100 * record['uncertain']:.1f}" if walks else "–",
        "forces MAE (meV/Å)": shown("forces"),
        "energy MAE (meV)": shown("energy"),
        "learned frames": record["n_learned"],
        "labels": record["n_labels"],
        "seconds": round(sum(record["seconds"].values())),
    }
