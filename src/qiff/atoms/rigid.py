"""Rigid motion of a molecule or a periodic system."""

import ase
import numpy as np


def n_rigid(atoms: ase.Atoms) -> int:
    """Degrees of freedom of translation and rotation.

    6, 5 for a linear molecule, 3 for an atom; 3 if anything is periodic, for there only
    translation leaves the energy as it is.
    """
    if atoms.pbc.any():
        return 3
    return 3 + int(np.sum(np.asarray(atoms.get_moments_of_inertia()) > 1e-6))
