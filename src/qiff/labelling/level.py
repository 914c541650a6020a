"""Levels of theory: energy and forces of a geometry, computed with PySCF."""

from typing import Any

import ase
import ase.units
import numpy as np
from jaxtyping import Float

from .._checks import RunError, missing_extra

Label = tuple[float, Float[np.ndarray, "n_atoms 3"]]
"""Energy in eV and forces in eV/Å."""

_FORCES = ase.units.Hartree / ase.units.Bohr


def import_pyscf() -> Any:
    """PySCF, or the error that says how to install it."""
    try:
        import pyscf
    except ImportError:
        raise missing_extra("pyscf", "label", "Computing reference data") from None
    return pyscf


def _molecule(atoms: ase.Atoms, basis: str) -> Any:
    from pyscf import gto

    geometry = list(zip(atoms.get_chemical_symbols(), atoms.positions.tolist(), strict=True))
    return gto.M(atom=geometry, basis=basis, unit="Angstrom", verbose=0)


def _converged(mean_field: Any) -> Any:
    if not mean_field.converged:
        geometry = mean_field.mol.tostring().replace("\n", "; ")
        raise RunError(f"the mean field did not converge at {geometry}.")
    return mean_field


# --- full configuration interaction ---------------------------------------------------------

FCI = "FCI/STO-3G; forces by central differences of the curve, step 0.001 Å"
_STEP = 1e-3  # Å, of the central difference


def diatomic(symbols: str, length: float) -> ase.Atoms:
    """Two atoms along z."""
    return ase.Atoms(symbols, positions=[[0, 0, 0], [0, 0, length]])


def fci_label(atoms: ase.Atoms) -> Label:
    r"""Energy of two atoms by exact diagonalisation and $-dE/dr$ by central differences."""
    symbols, length = "".join(atoms.get_chemical_symbols()), atoms.get_distance(0, 1)
    ahead, behind = (_fci_energy(diatomic(symbols, length + s)) for s in (_STEP, -_STEP))
    pull = (ahead - behind) / (2 * _STEP)
    axis = (atoms.positions[1] - atoms.positions[0]) / length
    return _fci_energy(diatomic(symbols, length)), np.array([pull * axis, -pull * axis])


def _fci_energy(atoms: ase.Atoms) -> float:
    from pyscf import fci, scf

    mean_field = _converged(scf.RHF(_molecule(atoms, "sto-3g")).run(conv_tol=1e-12))
    energy, _ = fci.FCI(mean_field).kernel(tol=1e-14)
    return float(energy) * ase.units.Hartree


# --- density functional theory --------------------------------------------------------------

PBE0 = "PBE0/def2-TZVP (RKS); analytic forces with grid response"


def pbe0_label(atoms: ase.Atoms) -> Label:
    """PBE0 energy and analytic forces, with the response of the integration grid."""
    mean_field = _pbe0(atoms)
    gradient = mean_field.nuc_grad_method().set(grid_response=True).kernel()
    return float(mean_field.e_tot) * ase.units.Hartree, -gradient * _FORCES


def pbe0_hessian(atoms: ase.Atoms) -> Float[np.ndarray, "3*n_atoms 3*n_atoms"]:
    """Second derivatives of the PBE0 energy in eV/Å²."""
    hessian = _pbe0(atoms).Hessian().kernel()  # (atom, atom, 3, 3)
    n = 3 * len(atoms)
    return hessian.swapaxes(1, 2).reshape(n, n) * ase.units.Hartree / ase.units.Bohr**2


def _pbe0(atoms: ase.Atoms) -> Any:
    from pyscf import dft

    return _converged(dft.RKS(_molecule(atoms, "def2-tzvp"), xc="pbe0").run(conv_tol=1e-11))


# --- perturbation theory --------------------------------------------------------------------

MP2 = "MP2/def2-SVP, frozen core; analytic forces"


def mp2_label(atoms: ase.Atoms) -> Label:
    """Second-order Møller-Plesset energy and analytic forces: no grid, exactly invariant."""
    from pyscf import mp, scf
    from pyscf.data.elements import chemcore

    molecule = _molecule(atoms, "def2-svp")
    mean_field = _converged(scf.RHF(molecule).run(conv_tol=1e-11))
    perturbed = mp.MP2(mean_field, frozen=chemcore(molecule)).run()
    gradient = perturbed.nuc_grad_method().kernel()
    return float(perturbed.e_tot) * ase.units.Hartree, -gradient * _FORCES
