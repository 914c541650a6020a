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
from ..properties import PROPERTIES, Property, labels
from .formats import files_of, format_of, locate
from .source import ENERGY_UNITS, LENGTH_UNITS, Source

TOO_CLOSE = 0.2  # Å; no two atoms of a molecule come this near


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
            label = find_label(atoms, one, key, needed.get(one.key, False), place)
            if label is not None:
                unit = eV * angstrom**one.length_power
                results[one.key] = _numbers(label, one, len(atoms), place) * unit
            for name in (key, *one.aliases):  # from here on the results are the only labels
                scaled.info.pop(name, None)
                scaled.arrays.pop(name, None)
        scaled.calc = SinglePointCalculator(scaled, **results)
        check_geometry(scaled, place)
        converted.append(scaled)
    return converted


def find_label(atoms: ase.Atoms, one: Property, key: str, needed: bool, place: str) -> Any:
    """The label of a property: under `key` if given, else under its first alias that there is.

    Raises:
        InputError: the key asked for, or a needed label, is absent; the keys found are listed.
    """
    available = {**atoms.info, **atoms.arrays, **labels(atoms)}
    for candidate in (key,) if key else one.aliases:
        if candidate in available:
            return available[candidate]
    if key or needed:
        found = ", ".join(sorted(set(available) - {"numbers", "positions"})) or "none"
        missing = f"{one.key} label `{key}`" if key else f"{one.key} label"
        raise InputError(
            f"{place}: has no {missing}; keys found: {found}. "
            f"Name the right one as `{one.key}_key` (--{one.key}-key)."
        )
    return None


def _numbers(label: Any, one: Property, n_atoms: int, place: str) -> Any:
    """A label as an array of floats of the shape of its property; a float if it is one number."""
    try:
        values = one.standardised(np.asarray(label, float))
    except (TypeError, ValueError):
        raise InputError(f"{place}: {one.key} must be numbers, but is {label!r}.") from None
    shape = one.full_shape(n_atoms)
    if values.shape != shape:
        raise InputError(f"{place}: {one.key} must have shape {shape}, but has {values.shape}.")
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
    distances = atoms.get_all_distances() + np.diag(np.full(len(atoms), np.inf))
    if distances.size and distances.min() < TOO_CLOSE:
        i, j = sorted(np.unravel_index(distances.argmin(), distances.shape))
        raise InputError(
            f"{place}: atoms {i} and {j} are {distances.min():.3g} Å apart; "
            "check the positions and the length unit."
        )


def write(path: Path, frames: Sequence[ase.Atoms]) -> None:
    """Write frames with their calculator results as extxyz, atomically."""
    import ase.io

    text = io.StringIO()
    ase.io.write(text, list(frames), format="extxyz")
    atomic_write(path, text.getvalue())


def file_hash(path: str) -> str:
    """SHA-256 of the files of a source, or of the arrays of a folder in order of name."""
    digest = hashlib.sha256()
    for target in files_of(path):
        for part in [target] if target.is_file() else sorted(target.glob("*.npy")):
            digest.update(part.read_bytes())
    return digest.hexdigest()
