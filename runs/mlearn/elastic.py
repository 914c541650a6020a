"""Lattice constant and elastic constants of silicon: from the labels of mlearn, and of a model.

    QIFF_DATA=FOLDER python runs/mlearn/elastic.py [MODEL]

The labels are the stresses of strained cells whose atoms were not relaxed ("clamped"), so the
model is asked for the same; constants with relaxed atoms are printed beside.
"""

import sys

import ase
import ase.build
import ase.units
import numpy as np

import qiff
from qiff.atoms.properties import labels

SMALL = 0.06  # largest component of the strains that are fitted
SIDE = 2  # cubic cells along each side of a cell of the data


def tensor(voigt: np.ndarray) -> np.ndarray:
    """xx, yy, zz, yz, xz, xy as a matrix."""
    return voigt[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]


def fitted(frames: list[ase.Atoms], stresses: list[np.ndarray], length: float) -> np.ndarray:
    """c11, c12, c44 in GPa: slopes of parabolas of stress against strain.

    The data hold cells stretched along one axis, and cells sheared in one plane. The strain is
    that of the right stretch of the cell, and stresses are turned with it.
    """
    along, across, sheared = [], [], []
    for atoms, stress in zip(frames, stresses, strict=True):
        cell = atoms.cell.array / length
        squares, axes = np.linalg.eigh(cell @ cell.T)
        stretch = (axes * np.sqrt(squares)) @ axes.T
        strain, turn = stretch - np.eye(3), np.linalg.solve(stretch, cell)
        turned = turn @ tensor(stress) @ turn.T
        i, j = np.unravel_index(np.abs(strain).argmax(), (3, 3))
        if np.abs(strain).max() > SMALL:
            continue
        if i == j:
            along.append((strain[i, i], turned[i, i]))
            across += [(strain[i, i], turned[k, k]) for k in range(3) if k != i]
        else:
            sheared.append((2 * strain[i, j], turned[i, j]))

    def slope(points: list[tuple[float, float]]) -> float:
        x, y = np.array(points).T
        return np.polyfit(x, y, 2)[1]

    return np.array([slope(along), slope(across), slope(sheared)]) / ase.units.GPa


def main() -> None:
    """Print both."""
    model = qiff.load(sys.argv[1] if len(sys.argv) > 1 else "silicon")
    frames = [
        atoms
        for part in ("train", "test")
        for atoms in qiff.read(qiff.Source(f"mlearn/Si_{part}.xyz"))
        if atoms.info["group"] == "Elastic"
    ]
    lowest = min(frames, key=lambda atoms: labels(atoms)["energy"])
    crystal = ase.build.bulk("Si", "diamond", 5.43, cubic=True)
    calculator = qiff.Calculator(model)
    found = qiff.equation_of_state(calculator, crystal)
    length = lowest.get_volume() ** (1 / 3) / SIDE
    lengths = {"labels": length, "model": found.volume ** (1 / 3)}
    stresses = {
        "labels": [labels(atoms)["stress"] for atoms in frames],
        "model": [one.stress for one in qiff.predict(model, frames)],
    }
    for name, own in lengths.items():
        constants = fitted(frames, stresses[name], SIDE * length)
        print(f"{name}: a = {own:.3f} Å; clamped c11, c12, c44 = {np.round(constants, 1)} GPa")
    print(f"model, relaxed: {qiff.elastic_constants(calculator, crystal).cubic}")


if __name__ == "__main__":
    main()
