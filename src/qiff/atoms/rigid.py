"""Rigid motion of a molecule."""

import ase
import numpy as np


def n_rigid(atoms: ase.Atoms) -> int:
    """Degrees of freedom of translation and rotation: 6, 5 for a linear molecule, 3 for an atom."""
    return 3 + int(np.sum(np.asarray(atoms.get_moments_of_inertia()) > 1e-6))
