"""Laws of periodic atoms: a cell may be chosen, repeated, rotated and strained."""

import ase
import numpy as np
from ase.stress import (
    full_3x3_to_voigt_6_stress,
    voigt_6_to_full_3x3_strain,
    voigt_6_to_full_3x3_stress,
)

from ._changes import defect, evaluate, in_precision, random_rotation, transformed
from .model.potential import AbstractPotential
from .model.predict import Prediction

_STRAIN = 2e-5
CELL = np.array([[4.1, 0.3, -0.2], [1.2, 4.4, 0.1], [-0.7, 0.9, 4.8]])
"""Vectors in Å of the cell in which the laws of periodic atoms put a configuration."""


def boxed(atoms: ase.Atoms, cell: np.ndarray = CELL) -> ase.Atoms:
    """A copy that is periodic in a cell.

    Args:
        atoms: one configuration.
        cell: rows are the cell vectors in Å.

    Returns:
        The copy, periodic in all three directions.
    """
    box = atoms.copy()
    box.set_cell(cell)
    box.set_pbc(True)
    return box


def supercell(potential: AbstractPotential, atoms: ase.Atoms) -> float:
    """Two cells have twice the energy, the same forces and the same stress."""
    box = boxed(atoms)
    one, two = evaluate(potential, [box, box.repeat((1, 2, 1))])
    return defect(two, Prediction(2 * one.energy, np.tile(one.forces, (2, 1)), one.stress))


def choice_of_cell(potential: AbstractPotential, atoms: ase.Atoms) -> float:
    """Other vectors of the same lattice change nothing."""
    box = boxed(atoms)
    other = boxed(atoms, np.array([[1, 1, 0], [0, 1, 0], [-1, 0, 1]]) @ CELL)
    before, after = evaluate(potential, [box, other])
    return defect(after, before)


def wrapping(potential: AbstractPotential, atoms: ase.Atoms) -> float:
    """Atoms may be moved by cell vectors."""
    box = boxed(atoms)
    images = np.random.default_rng(5).integers(-2, 3, size=(len(atoms), 3))
    before, after = evaluate(potential, [box, transformed(box, shift=images @ CELL)])
    return defect(after, before)


def box_rotation(potential: AbstractPotential, atoms: ase.Atoms) -> float:
    """When atoms and cell are rotated, energies stay, forces and stress rotate."""
    box, matrix = boxed(atoms), random_rotation()
    turned = boxed(transformed(atoms, matrix), CELL @ matrix.T)
    before, after = evaluate(potential, [box, turned])
    tensor = voigt_6_to_full_3x3_stress(before.stress)
    stress = full_3x3_to_voigt_6_stress(matrix @ tensor @ matrix.T)
    return defect(after, Prediction(before.energy, before.forces @ matrix.T, stress))


def large_box(potential: AbstractPotential, atoms: ase.Atoms) -> float:
    """A molecule in a box much larger than itself is like the molecule alone."""
    reach = float(potential.interaction_range or 0.0)
    box = boxed(atoms, np.diag(np.ptp(atoms.positions, axis=0) + reach + 1.0))
    alone, inside = evaluate(potential, [atoms, box])
    return defect(inside, alone)


def strain_gradient(potential: AbstractPotential, atoms: ase.Atoms) -> float:
    r"""$\sigma = \frac1V\,\partial E/\partial\epsilon$, by fourth-order differences in float64."""
    wide, box = in_precision(potential, "float64"), boxed(atoms)
    frames = []
    for k in (1, -1, 2, -2):
        for voigt in np.eye(6):
            deformation = voigt_6_to_full_3x3_strain(k * _STRAIN * voigt)  # 1 + strain
            frames.append(boxed(transformed(atoms, deformation), CELL @ deformation))
    energies = np.array([found.energy for found in evaluate(wide, frames)]).reshape(4, 6)
    ahead, behind, far_ahead, far_behind = energies
    slopes = (8 * (ahead - behind) - (far_ahead - far_behind)) / (12 * _STRAIN)
    (found,) = evaluate(wide, [box])
    return defect(found, Prediction(found.energy, found.forces, slopes / box.get_volume()))
