"""Molecules by PySCF: Hartree-Fock, any density functional, and second-order perturbation theory.

A level is `METHOD/BASIS`: `pbe0/def2-svp`, `b3lyp-d3bj/6-31g*`, `hf/sto-3g`, `mp2/def2-svp`. A
dispersion correction follows the functional: `-d3bj`, `-d3zero`, `-d4`.
"""

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import ase
import ase.units
import numpy as np
from jaxtyping import Float

from ..._checks import InputError, check_at_least, check_known, check_positive, missing_extra
from ..._records import from_table
from ..level import LabelError, Level, Results, electrons, given, results_of

_WAVE_FUNCTIONS = ("hf", "mp2")


@dataclass(frozen=True)
class Molecular:
    """Energy and analytic forces of a molecule; unrestricted where electrons are unpaired.

    Forces of a functional include the response of the integration grid, so that they are the
    derivatives of the energy.

    Args:
        method: `hf`, `mp2` (frozen core) or a functional, perhaps with a dispersion correction.
        basis: as PySCF calls it, with the effective core potentials of that name.
        charge: in e, of every structure; if not given that in `info`, else 0.
        multiplicity: of every structure; if not given that in `info`, else the lowest.
        convergence: of the energy of the mean field, in Hartree.
        max_iterations: of the mean field.
        grid: level of the integration grid of a functional, 0 to 9.
    """

    method: str
    basis: str
    charge: int | None = None
    multiplicity: int | None = None
    convergence: float = 1e-11
    max_iterations: int = 100
    grid: int = 3

    def __post_init__(self):
        check_positive("convergence", self.convergence)
        check_at_least("max_iterations", self.max_iterations, 1)
        if not 0 <= self.grid <= 9:
            raise InputError(f"`grid` must be 0 to 9, but is {self.grid}.")

    def check(self, atoms: ase.Atoms) -> None:
        """Raise unless it is a molecule of elements that the basis set has."""
        from pyscf import gto

        if atoms.pbc.any():
            raise InputError(
                f"{self.method}/{self.basis} is for molecules, and this is a periodic cell: use "
                "gfn2 or a calculator of ASE (MODULE:CLASS), or take the cell away (--isolated)."
            )
        electrons(atoms, self.charge, self.multiplicity)
        for symbol in sorted(set(atoms.get_chemical_symbols())):
            if not _has(gto.basis.load, self.basis, symbol):
                raise InputError(f"the basis set {self.basis} has no {symbol}; choose another.")

    def mean_field(self, atoms: ase.Atoms) -> Any:
        """The converged mean field of PySCF.

        Raises:
            LabelError: it does not converge.
        """
        charge, unpaired = electrons(atoms, self.charge, self.multiplicity)
        field = _mean_field(self.method, _molecule(atoms, self.basis, charge, unpaired))
        if _is_functional(self.method):
            field.grids.level = self.grid
        return converged(field.run(conv_tol=self.convergence, max_cycle=self.max_iterations))

    def __call__(self, atoms: ase.Atoms) -> Results:
        self.check(atoms)
        return results_of("PySCF", self._results, atoms)

    def _results(self, atoms: ase.Atoms) -> Results:
        found = self.mean_field(atoms)
        if self.method == "mp2":
            found = _perturbed(found)
        gradient = found.nuc_grad_method()
        if _is_functional(self.method):
            gradient.grid_response = True
        forces = -gradient.kernel() * ase.units.Hartree / ase.units.Bohr
        return {"energy": float(found.e_tot) * ase.units.Hartree, "forces": forces}

    def hessian(self, atoms: ase.Atoms) -> Float[np.ndarray, "n_coordinates n_coordinates"]:
        """Second derivatives of the energy of the mean field in eV/Å²."""
        hessian = self.mean_field(atoms).Hessian().kernel()  # (atom, atom, 3, 3)
        n = 3 * len(atoms)
        return hessian.swapaxes(1, 2).reshape(n, n) * ase.units.Hartree / ase.units.Bohr**2


def level(name: str, settings: Mapping[str, Any]) -> Level:
    """The level `METHOD/BASIS`.

    Raises:
        InputError: the method, its dispersion correction or the basis set is not known.
        MissingExtraError: PySCF, or its dispersion corrections, are not installed.
    """
    import_pyscf()
    method, _, basis = name.lower().partition("/")
    _check_method(method)
    _check_basis(basis)
    label = from_table(Molecular, {**settings, "method": method, "basis": basis})
    return Level(f"{method}/{basis}", label, program, given(label, "method", "basis"), label.check)


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


def program() -> str:
    """Name and version."""
    return f"PySCF {import_pyscf().__version__}"


def converged(mean_field: Any) -> Any:
    """The mean field.

    Raises:
        LabelError: it did not converge.
    """
    if not mean_field.converged:
        geometry = mean_field.mol.tostring().replace("\n", "; ")
        raise LabelError(f"the mean field did not converge at {geometry}.")
    return mean_field


def _is_functional(method: str) -> bool:
    return method.partition("-")[0] not in _WAVE_FUNCTIONS


def _molecule(atoms: ase.Atoms, basis: str, charge: int = 0, unpaired: int = 0) -> Any:
    from pyscf import gto

    symbols = atoms.get_chemical_symbols()
    cores = {symbol: basis for symbol in set(symbols) if _has(gto.basis.load_ecp, basis, symbol)}
    return gto.M(
        atom=list(zip(symbols, atoms.positions.tolist(), strict=True)),
        basis=basis,
        ecp=cores,
        charge=charge,
        spin=unpaired,
        unit="Angstrom",
        verbose=0,
    )


def _mean_field(method: str, molecule: Any) -> Any:
    """A mean field, restricted unless electrons are unpaired."""
    from pyscf import dft, scf

    if _is_functional(method):
        return dft.KS(molecule, xc=method)
    field: Any = scf.HF(molecule)
    field.disp = method.partition("-")[2] or None
    return field


def _perturbed(mean_field: Any) -> Any:
    """Second-order perturbation theory without the core orbitals."""
    from pyscf import mp
    from pyscf.data.elements import chemcore

    return mp.MP2(mean_field, frozen=chemcore(mean_field.mol)).run()


def _check_method(method: str) -> None:
    """Raise unless PySCF knows a method and the parameters of its dispersion correction."""
    from pyscf import dft
    from pyscf.scf import dispersion

    try:
        functional, _, correction = dispersion.parse_dft(method)
    except NotImplementedError as error:
        raise InputError(f"Method `{method}`: {error}") from None
    if method.startswith("mp2") and correction:
        raise InputError(f"Method `{method}`: MP2 takes no dispersion correction.")
    if functional not in _WAVE_FUNCTIONS:
        try:
            dft.libxc.parse_xc(functional)
        except (KeyError, ValueError):
            known = [*_WAVE_FUNCTIONS, *map(str.lower, dft.libxc.XC_CODES)]
            check_known("Functional", functional, known)
            raise InputError(f"Functional `{functional}` is none of libxc.") from None
    if correction:
        if dispersion.dispersion is None:
            raise missing_extra("pyscf-dispersion", "label", "A dispersion correction")
        try:
            _mean_field(method, _molecule(ase.Atoms("He"), "sto-3g")).get_dispersion()
        except (RuntimeError, ValueError):
            raise InputError(
                f"Method `{method}`: the dispersion correction {correction} is not known for "
                f"{functional}; known: {', '.join(dispersion.DISP_VERSIONS)}."
            ) from None


def _check_basis(basis: str) -> None:
    """Raise unless PySCF knows a basis set, for one element at least."""
    from pyscf import gto

    known = [*gto.basis.ALIAS, *gto.basis.GTH_ALIAS]
    plain = re.sub(r"[-_ ]", "", basis)
    if plain not in known and not any(_has(gto.basis.load, basis, one) for one in ("H", "C", "U")):
        check_known("Basis set", plain, known)


@lru_cache
def _has(load: Callable[[str, str], Any], basis: str, symbol: str) -> bool:
    """Whether PySCF loads something of a basis set for an element."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return bool(load(basis, symbol))
        except (RuntimeError, KeyError, ValueError, AssertionError):
            return False
