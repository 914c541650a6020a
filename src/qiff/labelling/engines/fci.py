"""Full configuration interaction of two atoms in a minimal basis, by PySCF."""

import ase
import ase.units
import numpy as np

from ..level import Level, Results
from .pyscf import Molecular, program

_STEP = 1e-3  # Å, of the central difference
_MEAN_FIELD = Molecular("hf", "sto-3g", convergence=1e-12)


def diatomic(symbols: str, length: float) -> ase.Atoms:
    """Two atoms along z."""
    return ase.Atoms(symbols, positions=[[0, 0, 0], [0, 0, length]])


def fci_label(atoms: ase.Atoms) -> Results:
    r"""Energy of two atoms by exact diagonalisation and $-dE/dr$ by central differences."""
    symbols, length = "".join(atoms.get_chemical_symbols()), atoms.get_distance(0, 1)
    ahead, behind = (_fci_energy(diatomic(symbols, length + s)) for s in (_STEP, -_STEP))
    pull = (ahead - behind) / (2 * _STEP)
    axis = (atoms.positions[1] - atoms.positions[0]) / length
    energy = _fci_energy(diatomic(symbols, length))
    return {"energy": energy, "forces": np.array([pull * axis, -pull * axis])}


def _fci_energy(atoms: ase.Atoms) -> float:
    from pyscf import fci

    energy, _ = fci.FCI(_MEAN_FIELD.mean_field(atoms)).kernel(tol=1e-14)
    return float(energy) * ase.units.Hartree


_FCI = "FCI/STO-3G; forces by central differences of the curve, step 0.001 Å"
FCI = Level(_FCI, fci_label, program)
