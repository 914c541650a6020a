"""Where labelled configurations come from: the record, its units, and what a reader returns."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import ase
import ase.units
from ase.data import chemical_symbols

from ..._checks import check_known
from ..properties import Property

ENERGY_UNITS: dict[str, float] = {
    "eV": 1.0,
    "meV": 1e-3,
    "Hartree": ase.units.Hartree,
    "Rydberg": ase.units.Rydberg,
    "kcal/mol": ase.units.kcal / ase.units.mol,
    "kJ/mol": ase.units.kJ / ase.units.mol,
}
LENGTH_UNITS: dict[str, float] = {
    "Angstrom": 1.0,
    "Ang": 1.0,
    "Bohr": ase.units.Bohr,
    "nm": ase.units.nm,
}
PART = "part"
"""Key in `info` of a frame: `test` if its data set sets it apart for testing."""


def data_folder() -> Path:
    """Where data sets are kept: the folder that QIFF_DATA names, else `data`."""
    return Path(os.environ.get("QIFF_DATA") or "data").expanduser()


@dataclass(frozen=True)
class Source:
    """Where labelled configurations come from and what their numbers mean.

    Args:
        path: a file ASE reads, an `.npz` archive (rMD17, sGDML), a folder with the arrays
            `Positions.npy`, `Energy.npy` and `Forces.npy`, or `bundled:` and a name, or
            `rmd17:` and a molecule, or `smiles:` and a SMILES. What is not there is looked for in
            the folder QIFF_DATA.
        energy_unit, length_unit: units of the file; other labels are in units made of these.
            Empty means the units that the file declares, or eV and Å for files read by ASE.
        energy_key, forces_key, stress_key: names of the labels in the file; empty means the
            usual ones, such as `REF_energy` and `REF_forces`, then the results of a calculator.
        elements: chemical symbols in the order of the atoms, for formats that have none.
    """

    path: str
    energy_unit: str = ""
    length_unit: str = ""
    energy_key: str = ""
    forces_key: str = ""
    stress_key: str = ""
    elements: tuple[str, ...] = ()

    def __post_init__(self):
        if self.energy_unit:
            check_known("Energy unit", self.energy_unit, ENERGY_UNITS)
        if self.length_unit:
            check_known("Length unit", self.length_unit, LENGTH_UNITS)
        for symbol in self.elements:
            check_known("Element", symbol, chemical_symbols[1:])

    def key_of(self, one: Property) -> str:
        """The name of the label of a property in the file; empty for its aliases."""
        return getattr(self, f"{one.key}_key")


class RawFrames(NamedTuple):
    """What a reader returns: frames in the units of the file, and the units if it names them."""

    frames: list[ase.Atoms]
    energy_unit: str
    length_unit: str
