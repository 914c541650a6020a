"""Data sets: read labelled configurations from any source, in ASE's units and signs."""

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.outputs import all_outputs

from ..._checks import InputError
from ..._files import atomic_write
from ..._tell import tell
from ..graph import check_apart, check_cell, has_volume
from ..properties import PROPERTIES, Property, labels
from ..rigid import without_cell
from .formats import files_of, format_of, locate
from .source import RawFrames, Source, split_index
from .units import ENERGY_UNITS, LENGTH_UNITS, declared, size_of


def read(
    source: Source, *, need_energy: bool = False, need_forces: bool = False
) -> list[ase.Atoms]:
    """Read every configuration of a source.

    Args:
        source: the file and what its numbers mean.
        need_energy, need_forces: whether there must be this label, in every configuration if
            the source is `strict`, else in one at least.

    Returns:
        Frames with positions in Å and, as calculator results, the labels of `PROPERTIES` that
        the file has, in ASE's units. Other columns and results of the file are kept in `info` and
        `arrays` as they are.

    Raises:
        InputError: the file is missing, empty or unreadable; its units or elements are not
            declared; a needed label is absent; a number is not finite; atoms coincide.
    """
    raw = read_raw(source)
    frames = labelled(raw, source)
    for key, needed in {"energy": need_energy, "forces": need_forces, "stress": False}.items():
        named = source.key_of(PROPERTIES[key])
        absent = [index for index, atoms in enumerate(frames) if key not in labels(atoms)]
        too_many = 1 if source.strict and needed else len(frames)
        if (needed or _is_absent(raw, named)) and len(absent) >= too_many:
            place = f"{source.path}: frame {absent[0]}"
            raise _missing(raw.frames[absent[0]], PROPERTIES[key], named, place)
    return frames


def read_raw(source: Source) -> RawFrames:
    """The configurations of a source as the file has them, in its units.

    Raises:
        InputError: the file is missing, empty or unreadable, or has no such frame.
    """
    path, index = split_index(source.path)
    raw = format_of(path).read(locate(path), replace(source, path=path))
    if not raw.frames:
        raise InputError(f"{source.path}: has no frames; is the file empty or cut short?")
    n_frames = len(raw.frames)
    every = np.arange(n_frames)
    if isinstance(index, int) and not -n_frames <= index < n_frames:
        raise InputError(f"{source.path}: there are {n_frames} frames, from 0 on; choose another.")
    chosen = np.atleast_1d(every[index]).tolist()
    if not chosen:
        raise InputError(f"{source.path}: chooses none of {n_frames} frames; choose others.")
    return raw._replace(frames=[raw.frames[i] for i in chosen])


def labelled(raw: RawFrames, source: Source) -> list[ase.Atoms]:
    """The configurations with their labels in ASE's units, see `read`."""
    found = []
    for index, atoms in enumerate(raw.frames):
        found.append(_labelled(atoms, raw, source, f"{source.path}: frame {index}"))
        tell(f"checking {source.path}", len(found), len(raw.frames))
    return found


def units_of(atoms: ase.Atoms, raw: RawFrames, source: Source) -> dict[str, str]:
    """Units by key of a property, `length` or `virial`: given, declared by the frame, by the file.

    Raises:
        InputError: those of energy or length are not declared.
    """
    of_file = {"energy": raw.energy_unit, "length": raw.length_unit}
    of_frame = {declared(name): str(atoms.info[name]) for name in atoms.info if declared(name)}
    units = of_file | of_frame | source.units()
    if not (units["energy"] and units["length"]):
        raise InputError(
            f"{source.path}: does not declare its units; set `energy_unit` (--energy-unit, one of "
            f"{', '.join(ENERGY_UNITS)}) and `length_unit` (--length-unit, one of "
            f"{', '.join(LENGTH_UNITS)})."
        )
    return units


def _labelled(atoms: ase.Atoms, raw: RawFrames, source: Source, place: str) -> ase.Atoms:
    """A configuration in ASE's units whose labels are calculator results."""
    units = units_of(atoms, raw, source)
    size = lambda kind, power: size_of(units[kind], power, f"{source.path}: {kind} unit")
    eV, angstrom = size("energy", 0), size("length", 1)
    scaled = atoms.copy()
    scaled.positions *= angstrom
    scaled.set_cell(np.asarray(atoms.cell) * angstrom)
    if source.isolated:
        _check_atoms(scaled, place)
        scaled = without_cell(scaled)
    used = set(filter(declared, atoms.info))
    results = {}
    for one in PROPERTIES.values():
        key = source.key_of(one)
        name = find_label(atoms, one, key)
        used |= {name, key, *one.names()}  # the results are the only labels
        if not name or (one.needs_cell and not has_volume(scaled)):
            continue
        value = _numbers(name, one, atoms, place)
        if convert := one.conversions.get(name):
            unit = size("virial", 0) if "virial" in units else eV
            value = convert(value * unit, scaled.get_volume())
        elif one.key in units:
            value = value * size(one.key, one.length_power)
        else:
            value = value * eV * angstrom**one.length_power
        results[one.key] = value[()]
    _keep_results(scaled, {k: v for k, v in labels(atoms).items() if k not in used})
    for name in used:
        scaled.info.pop(name, None)
        scaled.arrays.pop(name, None)
    scaled.calc = SinglePointCalculator(scaled, **results)
    check_geometry(scaled, place)
    return scaled


def _keep_results(atoms: ase.Atoms, results: Mapping[str, Any]) -> None:
    """Put other results of a calculation, such as charges and a dipole, with the configuration."""
    for name, value in results.items():
        if value is not None:
            shape = all_outputs[name].shapespec if name in all_outputs else ()
            (atoms.arrays if "natoms" in shape[:1] else atoms.info).setdefault(name, value)


def find_label(atoms: ase.Atoms, one: Property, key: str = "") -> str:
    """The name of the label of a property: `key` if given, else its first alias that there is, or
    a name that can be converted; empty if there is none.

    Upper and lower case count only where there are both.
    """
    available = columns(atoms)
    lower = {name.lower(): name for name in available}
    for name in (key,) if key else one.names():
        if name in available or name.lower() in lower:
            return name if name in available else lower[name.lower()]
    return ""


def columns(atoms: ase.Atoms) -> dict[str, Any]:
    """Everything that a frame holds, by name."""
    return {**atoms.info, **atoms.arrays, **labels(atoms)}


def _is_absent(raw: RawFrames, key: str) -> bool:
    """Whether a key is asked for and no frame has it."""
    return bool(key) and not any(key.lower() in map(str.lower, columns(a)) for a in raw.frames)


def _missing(atoms: ase.Atoms, one: Property, key: str, place: str) -> InputError:
    """The error for an absent label: what there is instead."""
    found = sorted(set(columns(atoms)) - {"numbers", "positions"})
    missing = f"{one.key} label `{key}`" if key else f"{one.key} label"
    likely = [name for name in found if re.search(one.words, name.lower())]
    hint = f"; `{likely[0]}` may be it" if likely and not key else ""
    return InputError(
        f"{place}: has no {missing}; keys found: {', '.join(found) or 'none'}{hint}. "
        f"Name the right one as `{one.key}_key` (--{one.key}-key)."
    )


def _numbers(name: str, one: Property, atoms: ase.Atoms, place: str) -> np.ndarray:
    """A label as an array of floats of the shape of its property."""
    label = columns(atoms)[name]
    try:
        values = one.standardised(np.asarray(label, float))
    except (TypeError, ValueError):
        raise InputError(f"{place}: {one.key} must be numbers, but is {label!r}.") from None
    shape = one.full_shape(len(atoms))
    if values.shape != shape:
        raise InputError(f"{place}: {one.key} must have shape {shape}, but has {values.shape}.")
    return values


def check_geometry(atoms: ase.Atoms, place: str) -> None:
    """Raise unless positions and labels are finite and no two atoms coincide.

    Raises:
        InputError: naming `place` and what is wrong.
    """
    _check_atoms(atoms, place)
    check_apart(atoms, place)


def _check_atoms(atoms: ase.Atoms, place: str) -> None:
    for name, values in {"positions": atoms.positions, **labels(atoms)}.items():
        if not np.all(np.isfinite(values)):
            raise InputError(
                f"{place}: `{name}` must be finite, but has NaN or infinity; correct or remove it."
            )
    if not len(atoms):
        raise InputError(f"{place}: has no atoms; remove the frame.")
    check_cell(atoms, place)


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
