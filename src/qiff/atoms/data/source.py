"""Where labelled configurations come from: the record, its units, and what a reader returns."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import ase
from ase.data import chemical_symbols

from ..._checks import InputError, check_known
from ..._files import user_path
from ..properties import PROPERTIES, Property
from .elements import element
from .units import ENERGY_UNITS, LENGTH_UNITS, size_of

SMILES = "smiles:"
"""Prefix of structures that are named by a SMILES, in which @ tells a chirality."""
PART = "part"
"""Key in `info` of a frame: `test` or `valid` if its data set sets it apart for that."""


def data_folder() -> Path:
    """Where data sets are kept: the folder that QIFF_DATA names, else `data`."""
    return user_path(os.environ.get("QIFF_DATA") or "data")


@dataclass(frozen=True)
class Source:
    """Where labelled configurations come from and what their numbers mean.

    Args:
        path: a file ASE reads, an `.npz` archive (rMD17, sGDML), a folder of `.npy` files
            (`Positions.npy`, `Energy.npy`, … or DeePMD), or `bundled:` and a name, or `rmd17:` and
            a molecule; after it perhaps `@` and an index of ASE, such as `@-1` or `@0:100:10`. Or
            `smiles:` and a SMILES. What is not there is looked for in the folder QIFF_DATA.
        energy_unit, length_unit: units of the file; other labels are in units made of these.
            Empty means the units that the file declares, or eV and Å for files read by ASE.
        energy_key, forces_key, stress_key: names of the labels in the file; empty means the
            usual ones, such as `REF_energy` and `REF_forces`, then the results of a calculator.
        elements: chemical symbols in the order of the atoms, for formats that have none.
        forces_unit, stress_unit: if not made of the two units, such as Hartree/Bohr, GPa.
        isolated: every configuration is a molecule; a cell around it is removed.
        strict: every configuration must have the labels that are needed.
    """

    path: str
    energy_unit: str = ""
    length_unit: str = ""
    energy_key: str = ""
    forces_key: str = ""
    stress_key: str = ""
    elements: tuple[str, ...] = ()
    forces_unit: str = ""
    stress_unit: str = ""
    isolated: bool = False
    strict: bool = False

    def __post_init__(self):
        if self.energy_unit:
            check_known("Energy unit", self.energy_unit, ENERGY_UNITS)
        if self.length_unit:
            check_known("Length unit", self.length_unit, LENGTH_UNITS)
        for key in ("forces", "stress"):
            if unit := getattr(self, f"{key}_unit"):
                size_of(unit, PROPERTIES[key].length_power, f"{key.capitalize()} unit")
        for symbol in self.elements:
            if element(symbol) is None:
                check_known("Element", symbol, chemical_symbols[1:])

    def key_of(self, one: Property) -> str:
        """The name of the label of a property in the file; empty for its aliases."""
        return getattr(self, f"{one.key}_key")

    def units(self) -> dict[str, str]:
        """The units that are given, by key of a property or `length`."""
        given = {key: getattr(self, f"{key}_unit") for key in ("length", *PROPERTIES)}
        return {key: unit for key, unit in given.items() if unit}


class RawFrames(NamedTuple):
    """What a reader returns.

    Args:
        frames: in the units of the file.
        energy_unit, length_unit: of the file, if it names them.
        ignored: names of what the file has and the frames have not.
        names: in the file, by the name in the frames, where they differ.
    """

    frames: list[ase.Atoms]
    energy_unit: str
    length_unit: str
    ignored: tuple[str, ...] = ()
    names: Mapping[str, str] = MappingProxyType({})


def split_index(path: str) -> tuple[str, slice | int]:
    """The path of a file, and which of its frames: what follows an `@`, in the notation of ASE.

    Raises:
        InputError: what follows is no index.
    """
    from ase.utils import string2index

    file, at, text = path.rpartition("@")
    if (
        not at
        or path.startswith(SMILES)
        or user_path(path).exists()
        or (data_folder() / path).exists()
    ):
        return path, slice(None)
    try:
        index = string2index(text)
    except ValueError:
        index = text
    if isinstance(index, str):
        raise InputError(f"{path}: what follows @ must be a number or begin:end:step of frames.")
    return file, index
