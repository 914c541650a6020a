"""Levels of theory: energy and forces of a structure, computed with PySCF.

A new level is one `Level`: a function from a structure to its results.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ase
import ase.units
import numpy as np
from jaxtyping import Float

from .._checks import RunError, missing_extra

Results = Mapping[str, Any]
"""Results of a calculation under the names, units and signs of ASE, such as `energy` in eV."""

Labeller = Callable[[ase.Atoms], Results]
"""Computes the results of one structure."""

_FORCES = ase.units.Hartree / ase.units.Bohr


@dataclass(frozen=True)
class Level:
    """A level of theory.

    Args:
        description: method, basis set and how the forces are computed; part of the provenance.
        label: computes the results of one structure; a function of a module, so that it can be
            sent to other processes.
        program: name and version of the program that computes them.
    """

    description: str
    label: Labeller
    program: Callable[[], str]


def import_pyscf() -> Any:
    """PySCF.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyscf
    except ImportError:
        raise missing_extra("pyscf", "label", "Computing reference data") from None
    return pyscf


def _pyscf() -> str:
    return f"PySCF {import_pyscf().__version__}"


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

_STEP = 1e-3  # Å, of the central difference


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
    from pyscf import fci, scf

    mean_field = _converged(scf.RHF(_molecule(atoms, "sto-3g")).run(conv_tol=1e-12))
    energy, _ = fci.FCI(mean_field).kernel(tol=1e-14)
    return float(energy) * ase.units.Hartree


_FCI = "FCI/STO-3G; forces by central differences of the curve, step 0.001 Å"
FCI = Level(_FCI, fci_label, _pyscf)


# --- density functional theory --------------------------------------------------------------


def pbe0_label(atoms: ase.Atoms) -> Results:
    """PBE0 energy and analytic forces, with the response of the integration grid."""
    mean_field = _pbe0(atoms)
    gradient = mean_field.nuc_grad_method().set(grid_response=True).kernel()
    energy = float(mean_field.e_tot) * ase.units.Hartree
    return {"energy": energy, "forces": -gradient * _FORCES}


def pbe0_hessian(atoms: ase.Atoms) -> Float[np.ndarray, "3*n_atoms 3*n_atoms"]:
    """Second derivatives of the PBE0 energy in eV/Å²."""
    hessian = _pbe0(atoms).Hessian().kernel()  # (atom, atom, 3, 3)
    n = 3 * len(atoms)
    return hessian.swapaxes(1, 2).reshape(n, n) * ase.units.Hartree / ase.units.Bohr**2


def _pbe0(atoms: ase.Atoms) -> Any:
    from pyscf import dft

    return _converged(dft.RKS(_molecule(atoms, "def2-tzvp"), xc="pbe0").run(conv_tol=1e-11))


PBE0 = Level("PBE0/def2-TZVP (RKS); analytic forces with grid response", pbe0_label, _pyscf)


# --- perturbation theory --------------------------------------------------------------------


def mp2_label(atoms: ase.Atoms) -> Results:
    """Second-order Møller-Plesset energy and analytic forces: no grid, exactly invariant."""
    from pyscf import mp, scf
    from pyscf.data.elements import chemcore

    molecule = _molecule(atoms, "def2-svp")
    mean_field = _converged(scf.RHF(molecule).run(conv_tol=1e-11))
    perturbed = mp.MP2(mean_field, frozen=chemcore(molecule)).run()
    gradient = perturbed.nuc_grad_method().kernel()
    energy = float(perturbed.e_tot) * ase.units.Hartree
    return {"energy": energy, "forces": -gradient * _FORCES}


MP2 = Level("MP2/def2-SVP, frozen core; analytic forces", mp2_label, _pyscf)
