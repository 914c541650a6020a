"""Rigid motion of a molecule or a periodic system; molecules without the cell around them."""

import ase
import numpy as np
from jaxtyping import Float


def n_rigid(atoms: ase.Atoms) -> int:
    """Degrees of freedom of translation and rotation.

    6, 5 for a linear molecule, 3 for an atom; 3 if anything is periodic, for there only
    translation leaves the energy as it is.
    """
    if atoms.pbc.any():
        return 3
    return 3 + int(np.sum(np.asarray(atoms.get_moments_of_inertia()) > 1e-6))


def without_cell(atoms: ase.Atoms) -> ase.Atoms:
    """A molecule without the cell around it, its atoms at their nearest images.

    Each atom is put at the image that is nearest to the atom it follows in the shortest tree
    which connects all atoms, so that a molecule across a boundary is made whole.
    """
    alone = atoms.copy()
    alone.set_cell(None)
    alone.pbc = False
    if not atoms.pbc.any():
        return alone
    steps = atoms.get_all_distances(mic=True, vector=True)
    alone.positions = connected(atoms.positions, steps)
    return alone


def connected(
    positions: Float[np.ndarray, "n_atoms 3"], apart: Float[np.ndarray, "n_atoms n_atoms 3"]
) -> Float[np.ndarray, "n_atoms 3"]:
    """Positions in Å of atoms at the images that connect them: along the tree of least length.

    Args:
        positions: in Å, in any image; that of the first atom is kept.
        apart: displacement of the second atom, at the image to look for, from the first.
    """
    from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

    tree = minimum_spanning_tree(np.linalg.norm(apart, axis=-1))
    order, before = breadth_first_order(tree, 0, directed=False)
    found = positions.copy()
    for atom in order[1:]:
        found[atom] = found[before[atom]] + apart[before[atom], atom]
    return found
