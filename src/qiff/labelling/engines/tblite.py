"""Tight binding by tblite: `gfn1` and `gfn2`, milliseconds for a molecule; with stress in a cell.

Reference: Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 15, 1652 (2019).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import ase
import ase.units
import numpy as np

from ..._checks import InputError, check_at_least, check_positive, missing_extra
from ..._records import from_table
from ...atoms.graph import has_volume
from ..level import Level, Results, electrons, given, results_of

METHODS = {"gfn1": "GFN1-xTB", "gfn2": "GFN2-xTB"}
_HEAVIEST = 86


@dataclass(frozen=True)
class TightBinding:
    """Energy, forces and, in a periodic cell, stress by an extended tight-binding method.

    Args:
        method: as tblite calls it.
        charge: in e, of every structure; if not given that in `info`, else 0.
        multiplicity: of every structure; if not given that in `info`, else the lowest.
        accuracy: of the mean field, see tblite; forces of a molecule have an error of about
            2e-6 eV/Å at 0.01.
        electronic_temperature: K, of the occupation of orbitals.
        max_iterations: of the mean field.
        threads: of one calculation. For molecules one is as fast as several, which wait for each
            other wherever processors are busy.
    """

    method: str
    charge: int | None = None
    multiplicity: int | None = None
    accuracy: float = 0.01
    electronic_temperature: float = 300.0
    max_iterations: int = 250
    threads: int = 1

    def __post_init__(self):
        check_positive("accuracy", self.accuracy)
        check_at_least("electronic_temperature", self.electronic_temperature, 0)
        check_at_least("max_iterations", self.max_iterations, 1)
        check_at_least("threads", self.threads, 1)

    def check(self, atoms: ase.Atoms) -> None:
        """Raise unless elements, electrons and cell are such as tblite can describe."""
        electrons(atoms, self.charge, self.multiplicity)
        if atoms.numbers.max() > _HEAVIEST:
            raise InputError(f"{self.method} has no parameters for elements beyond radon (86).")
        if atoms.pbc.any() and not (atoms.pbc.all() and has_volume(atoms)):
            raise InputError(
                f"{self.method} needs a cell that is periodic in three directions or none."
            )

    def __call__(self, atoms: ase.Atoms) -> Results:
        self.check(atoms)
        return results_of("tblite", self._results, atoms)

    def _results(self, atoms: ase.Atoms) -> Results:
        charge, unpaired = electrons(atoms, self.charge, self.multiplicity)
        periodic = has_volume(atoms)
        cell = {"lattice": np.asarray(atoms.cell) / ase.units.Bohr, "periodic": atoms.pbc}
        with _thread_pools().limit(limits=self.threads):
            calculator = _interface().Calculator(
                self.method,
                atoms.numbers,
                atoms.positions / ase.units.Bohr,
                charge,
                unpaired,
                **(cell if periodic else {}),
            )
            calculator.set("verbosity", 0)
            calculator.set("accuracy", self.accuracy)
            kelvin = ase.units.kB / ase.units.Hartree
            calculator.set("temperature", self.electronic_temperature * kelvin)
            calculator.set("max-iter", self.max_iterations)
            found = calculator.singlepoint()
        results = {
            "energy": float(found["energy"]) * ase.units.Hartree,
            "forces": -found["gradient"] * ase.units.Hartree / ase.units.Bohr,
        }
        if periodic:
            stress = found["virial"] * ase.units.Hartree / atoms.get_volume()
            results["stress"] = stress.ravel()[[0, 4, 8, 5, 2, 1]]
        return results


def level(name: str, settings: Mapping[str, Any]) -> Level:
    """The level of a method of `METHODS`."""
    _interface()
    label = from_table(TightBinding, {**settings, "method": METHODS[name.lower()]})
    return Level(label.method, label, program, given(label, "method", "threads"), label.check)


def _interface() -> Any:
    try:
        import threadpoolctl  # noqa: F401
        from tblite import interface
    except ImportError as error:
        raise missing_extra(error.name or "tblite", "xtb", "Tight binding") from None
    return interface


@lru_cache
def _thread_pools() -> Any:
    """What limits the threads of tblite."""
    from threadpoolctl import ThreadpoolController

    _interface()
    return ThreadpoolController()


def program() -> str:
    """Name and version."""
    from importlib.metadata import version

    _interface()
    return f"tblite {version('tblite')}"
