"""Errors of a model on frames of many molecules, by their `group` in `info`, as a Markdown table.

    python runs/organic/groups.py MODEL test.xyz s66x8.xyz

MAE, RMSE. Energies are compared as they are, up to a constant for each group, and up to a constant
for each molecule (`mol` in `info`).
"""

import sys
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain

import ase
import numpy as np
from ase.units import kcal, mol

import qiff
from qiff.atoms.properties import labels

KCAL = kcal / mol


def both(wrong: np.ndarray, unit: float) -> str:
    """MAE and RMSE of those that are known."""
    wrong = wrong[~np.isnan(wrong)] / unit
    if not len(wrong):
        return ""
    return f"{np.abs(wrong).mean():.3g}, {(wrong**2).mean() ** 0.5:.3g}"


def centred(wrong: np.ndarray, keys: Sequence[str]) -> np.ndarray:
    """Errors without the mean of those with the same key."""
    means = {key: np.mean(wrong[np.array(keys) == key]) for key in set(keys)}
    return wrong - np.array([means[key] for key in keys])


def row(potential: qiff.AbstractPotential, group: str, frames: Sequence[ase.Atoms]) -> str:
    """Errors of the frames of a group."""
    found = qiff.predict(potential, frames)
    pairs = list(zip(found, frames, strict=True))
    forces = np.concatenate([(f.forces - a.get_forces()).ravel() for f, a in pairs])
    known = [labels(a).get("energy", np.nan) for a in frames]
    energies = np.array([f.energy for f in found]) - known
    by_molecule = centred(energies, [a.info["mol"] for a in frames])
    cells = (
        both(forces, 0.001), both(forces, KCAL), both(energies, KCAL),
        both(centred(energies, [group] * len(frames)), KCAL), both(by_molecule, KCAL),
    )  # fmt: skip
    return f"| {group} | {len(frames)} | {' | '.join(cells)} |"


if __name__ == "__main__":
    model, *paths = sys.argv[1:]
    potential, groups = qiff.load(model), defaultdict(list)
    for atoms in chain.from_iterable(qiff.read(qiff.Source(path)) for path in paths):
        groups[atoms.info["group"]].append(atoms)
    print("| group | frames | forces (meV/Å) | (kcal/mol/Å) | energies (kcal/mol) | one | each |")
    print("|---|---|---|---|---|---|---|")
    for group, frames in sorted(groups.items()):
        print(row(potential, group, frames), flush=True)
