"""Data sets: read labelled configurations from any source, in ASE's units and signs."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from ..._checks import InputError, check_known
from ..._files import atomic_write
from ..graph import cell_of, check_cell, has_volume
from ..neighbours import pairs_within
from ..properties import PROPERTIES, Property, labels
from .formats import files_of, format_of, locate
from .source import ENERGY_UNITS, LENGTH_UNITS, Source

TOO_CLOSE = 0.2  # Å; no two atoms of a molecule come this near
_SEARCHED = 1.0  # Å; for a shorter distance the library divides space into too many boxes


def read(
    source: Source, *, need_energy: bool = False, need_forces: bool = False
) -> list[ase.Atoms]:
    """Read every configuration of a source.

    Returns:
        Frames with positions in Å and, as calculator results, the labels of `PROPERTIES` that
        the file has, in ASE's units. Other columns of the file are kept as they are.

    Raises:
        InputError: the file is missing, empty or unreadable; its units or elements are not
            declared; a needed label is absent; a number is not finite; atoms coincide.
    """
    needed = {"energy": need_energy, "forces": need_forces}
    frames, energy_unit, length_unit = format_of(source.path).read(locate(source.path), source)
    if not frames:
        raise InputError(f"{source.path}: has no frames; is the file empty or cut short?")
    energy_unit, length_unit = source.energy_unit or energy_unit, source.length_unit or length_unit
    if not (energy_unit and length_unit):
        raise InputError(
            f"{source.path}: does not declare its units; set `energy_unit` (--energy-unit, one of "
            f"{', '.join(ENERGY_UNITS)}) and `length_unit` (--length-unit, one of "
            f"{', '.join(LENGTH_UNITS)})."
        )
    check_known(f"{source.path}: energy unit", energy_unit, ENERGY_UNITS)
    check_known(f"{source.path}: length unit", length_unit, LENGTH_UNITS)
    eV, angstrom = ENERGY_UNITS[energy_unit], LENGTH_UNITS[length_unit]
    converted = []
    for index, atoms in enumerate(frames):
        place = f"{source.path}: frame {index}"
        scaled = atoms.copy()
        scaled.positions *= angstrom
        scaled.set_cell(np.asarray(atoms.cell) * angstrom)
        results = {}
        for one in PROPERTIES.values():
            key = source.key_of(one)
            name = find_label(atoms, one, key, needed.get(one.key, False), place)
            if name and not (one.needs_cell and not has_volume(atoms)):
                unit = eV * angstrom**one.length_power
                results[one.key] = _numbers(name, one, atoms, place) * unit
            for name in (key, *one.aliases, *one.conversions):  # the results are the only labels
                scaled.info.pop(name, None)
                scaled.arrays.pop(name, None)
        scaled.calc = SinglePointCalculator(scaled, **results)
        check_geometry(scaled, place)
        converted.append(scaled)
    return converted


def find_label(atoms: ase.Atoms, one: Property, key: str, needed: bool, place: str) -> str:
    """The name of the label of a property: `key` if given, else its first alias that there is, or
    a name that can be converted; empty if there is none.

    Raises:
        InputError: the key asked for, or a needed label, is absent; the keys found are listed.
    """
    available = _columns(atoms)
    for candidate in (key,) if key else (*one.aliases, *one.conversions):
        if candidate in available:
            return candidate
    if key or needed:
        found = ", ".join(sorted(set(available) - {"numbers", "positions"})) or "none"
        missing = f"{one.key} label `{key}`" if key else f"{one.key} label"
        raise InputError(
            f"{place}: has no {missing}; keys found: {found}. "
            f"Name the right one as `{one.key}_key` (--{one.key}-key)."
        )
    return ""


def _columns(atoms: ase.Atoms) -> dict[str, Any]:
    """Everything that a frame holds, by name."""
    return {**atoms.info, **atoms.arrays, **labels(atoms)}


def _numbers(name: str, one: Property, atoms: ase.Atoms, place: str) -> Any:
    """A label as an array of floats of the shape of its property; a float if it is one number."""
    label = _columns(atoms)[name]
    try:
        values = one.standardised(np.asarray(label, float))
    except (TypeError, ValueError):
        raise InputError(f"{place}: {one.key} must be numbers, but is {label!r}.") from None
    shape = one.full_shape(len(atoms))
    if values.shape != shape:
        raise InputError(f"{place}: {one.key} must have shape {shape}, but has {values.shape}.")
    if name in one.conversions:
        values = one.conversions[name](values, atoms.get_volume())
    return values[()]


def check_geometry(atoms: ase.Atoms, place: str) -> None:
    """Raise unless positions and labels are finite and no two atoms coincide.

    Raises:
        InputError: naming `place` and what is wrong.
    """
    for name, values in {"positions": atoms.positions, **labels(atoms)}.items():
        if not np.all(np.isfinite(values)):
            raise InputError(
                f"{place}: `{name}` must be finite, but has NaN or infinity; correct or remove it."
            )
    check_cell(atoms, place)
    near = pairs_within(_SEARCHED, atoms.positions, cell_of(atoms), atoms.pbc)
    if near.distances.min(initial=np.inf) < TOO_CLOSE:
        nearest = near.distances.argmin()
        i, j = sorted((near.first[nearest], near.second[nearest]))
        raise InputError(
            f"{place}: atoms {i} and {j} are {near.distances[nearest]:.3g} Å apart; "
            "check the positions and the length unit."
        )


def write(path: Path, frames: Sequence[ase.Atoms]) -> None:
    """Write frames with their calculator results as extxyz, atomically."""
    import ase.io

    text = io.StringIO()
    ase.io.write(text, list(frames), format="extxyz")
    atomic_write(path, text.getvalue())


def file_hash(path: str) -> str:
    """SHA-256 of the files of a source, of the arrays of a folder in order of name, or of the name
    itself where it stands for a structure (`smiles:CCO`)."""
    digest = hashlib.sha256()
    for target in files_of(path):
        if not target.exists():
            digest.update(path.encode())
        for part in [target] if target.is_file() else sorted(target.glob("*.npy")):
            digest.update(part.read_bytes())
    return digest.hexdigest()
