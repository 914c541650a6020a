"""Frames from arrays: `.npz` archives (rMD17, sGDML) and folders of `.npy` files (DeePMD too)."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.data import chemical_symbols

from ..._checks import InputError, check_regular
from ..properties import PROPERTIES, Property
from .deepmd import is_deepmd, types
from .elements import element, masses
from .source import RawFrames, Source
from .units import declared


def read_npz(path: Path, source: Source) -> RawFrames:
    """Frames of one `.npz` archive."""
    return from_arrays(load_npz(path, source), source)


def load_npz(path: Path, source: Source) -> dict[str, np.ndarray]:
    """All arrays of an archive; `UNREADABLE` in place of those that cannot be read.

    Raises:
        InputError: it is no archive, or is corrupt.
    """
    archive = _load(path, source)
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise InputError(f"{source.path}: is not an .npz archive.")
    return {name: _member(archive, name) for name in archive.files}


_LARGE, _MOST_PACKED = 1 << 28, 100  # bytes that are always read; ratio of packed labels, at most

_KINDS = "biufcSU"  # of types of NumPy: numbers and texts

UNREADABLE = np.full(1, None)
"""In place of an array that is corrupt or holds pickled objects: an error if it is needed."""


def _member(archive: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    try:
        return _sound(archive[name])
    except Exception:  # truncated members fail in zipfile, zlib or numpy
        return UNREADABLE


def _sound(values: Any) -> np.ndarray:
    """An array of numbers or of texts whose characters are characters; else `UNREADABLE`."""
    if not isinstance(values, np.ndarray) or values.dtype.kind not in _KINDS:
        return UNREADABLE
    if values.dtype.kind == "U":
        codes = np.frombuffer(values.tobytes(), f"{values.dtype.byteorder}u4")
        if codes.max(initial=0) > sys.maxunicode:
            return UNREADABLE
    return values


def read_folder(path: Path, source: Source) -> RawFrames:
    """Frames of the `.npy` files of a folder, and of the parts `set.*` of a DeePMD system."""
    parts = sorted(part for part in path.glob("set.*") if part.is_dir()) or [path]
    loaded = [
        {file.stem.lower(): _sound(_load(file, source)) for file in sorted(part.glob("*.npy"))}
        for part in parts
    ]
    names = [name for name in loaded[0] if all(name in arrays for arrays in loaded)]
    if parts == [path]:
        arrays = loaded[0]
    else:
        arrays = {name: _joined([part[name] for part in loaded], name, source) for name in names}
    if not is_deepmd(path):
        return from_arrays(arrays, source)
    found = from_arrays(arrays | types(path, arrays, source), source)
    return found._replace(energy_unit="eV", length_unit="Angstrom")


def _joined(parts: Sequence[np.ndarray], name: str, source: Source) -> np.ndarray:
    """The rows of all parts of a DeePMD system."""
    rows = [np.atleast_1d(part) for part in parts]
    if len({row.shape[1:] for row in rows}) > 1:
        raise InputError(
            f"{source.path}: `{name}.npy` must have rows of one shape in all `set.*`, but has "
            f"{', '.join(str(part.shape) for part in parts)}."
        )
    return np.concatenate(rows)


def _load(path: Path, source: Source) -> Any:
    check_regular(path, f"{source.path}: {path.name}")
    try:
        loaded = np.load(path, allow_pickle=False)
    except Exception as error:  # zipfile, numpy and the parser of its headers raise many kinds
        raise InputError(
            f"{source.path}: `{path.name}` is corrupt, or holds pickled objects."
        ) from error
    if isinstance(loaded, np.lib.npyio.NpzFile) and loaded.zip:
        unpacked, size = sum(info.file_size for info in loaded.zip.infolist()), path.stat().st_size
        if unpacked > max(_LARGE, _MOST_PACKED * size):
            raise InputError(
                f"{source.path}: would unpack to {unpacked / 1e9:.1f} GB, {unpacked // size} times "
                "its size; unpack it, and name the folder of `.npy` files."
            )
    return loaded


ARRAY_NAMES: dict[str, tuple[str, ...]] = {
    "numbers": ("nuclear_charges", "z", "numbers", "atomic_numbers"),
    "positions": ("coords", "r", "positions", "pos", "coord"),
    "cell": ("cell", "cells", "box", "lattice"),
    "pbc": ("pbc",),
    **{one.key: one.names(arrays=True) for one in PROPERTIES.values()},
}
"""Names, in lower case, under which array formats keep each quantity (rMD17, sGDML, `.npy`)."""

UNIT_NAMES = ("e_unit", "r_unit")
"""Arrays that name the units of energies and lengths (sGDML)."""


def from_arrays(arrays: Mapping[str, np.ndarray], source: Source) -> RawFrames:
    """Frames of arrays with a row for each.

    Atomic numbers may have rows too, in which those of 0 or below are padding. Without a cell,
    which is a matrix of rows or one for each frame, the frames are molecules.
    """
    names = _names(arrays, source)
    found = {kind: _readable(arrays[name], kind, name, source) for kind, name in names.items()}
    numbers, weights = _numbers(found, source)
    rows = {
        kind: _rows(kind, found[kind], (len(numbers), numbers.shape[1]), source)
        for kind in ("positions", *PROPERTIES)
        if kind in found
    }
    stored = {
        key: _label_name(PROPERTIES[key], names[key], source) for key in rows.keys() & PROPERTIES
    }
    cells, pbc = _cells(found, names, len(numbers), source)
    units = {k: str(v) for k, v in arrays.items() if v.dtype.kind == "U" and declared(k)}
    frames = []
    for index, of_frame in enumerate(numbers):
        real = of_frame > 0
        atoms = ase.Atoms(numbers=of_frame[real], positions=rows["positions"][index][real])
        atoms.info |= units
        if weights is not None:
            atoms.set_array("masses", weights)
        if cells is not None:
            atoms.cell, atoms.pbc = cells[index], pbc[index]
        for key, name in stored.items():
            if PROPERTIES[key].per_atom:
                atoms.arrays[name] = rows[key][index][real]
            else:
                atoms.info[name] = rows[key][index]
        frames.append(atoms)
    used = {*names.values(), *UNIT_NAMES, *units}
    e_unit, r_unit = (str(arrays.get(name, "")) for name in UNIT_NAMES)
    ignored = tuple(name for name in arrays if name not in used)
    return RawFrames(
        frames, e_unit, r_unit, ignored, {name: names[key] for key, name in stored.items()}
    )


def _readable(values: np.ndarray, kind: str, name: str, source: Source) -> np.ndarray:
    """The values, or InputError if they could not be read."""
    if values.dtype.hasobject:
        raise InputError(
            f"{source.path}: the array of {kind} `{name}` is corrupt, or holds pickled objects; "
            "write it as an array of numbers."
        )
    return values


def _rows(kind: str, values: np.ndarray, size: tuple[int, int], source: Source) -> np.ndarray:
    """Values with a row for each frame, of numbers of frames and atoms.

    Raises:
        InputError: there are more or fewer.
    """
    n_frames, n_atoms = size
    shape = (n_atoms, 3) if kind == "positions" else PROPERTIES[kind].full_shape(n_atoms)
    fixed = kind == "positions" or PROPERTIES[kind].per_atom or not PROPERTIES[kind].shape
    fits = (
        values.size == n_frames * np.prod(shape, dtype=int)
        if fixed
        else (values.size % n_frames == 0 and n_frames <= values.size)
    )
    if not fits:
        raise InputError(
            f"{source.path}: {kind} must have shape {(n_frames, *shape)} for {n_atoms} atoms, but "
            f"has {values.shape}."
        )
    return values.reshape(n_frames, *shape) if fixed else values.reshape(n_frames, -1)


def _label_name(one: Property, name: str, source: Source) -> str:
    """Under which name a label stands in a frame, so that it is found there."""
    related = [known for known in one.conversions if known.lower() == name.lower()]
    return source.key_of(one) or (related[0] if related else one.key)


def _names(arrays: Mapping[str, np.ndarray], source: Source) -> dict[str, str]:
    """The array of each quantity, of those that there are.

    Raises:
        InputError: there are no positions, or none of a name that was asked for.
    """
    asked = {key: source.key_of(one) for key, one in PROPERTIES.items()}
    lower = {name.lower(): name for name in arrays}
    present = ", ".join(arrays) or "none"
    found = {}
    for kind, usual in ARRAY_NAMES.items():
        names = (asked[kind],) if asked.get(kind) else usual
        name = next((lower[name.lower()] for name in names if name.lower() in lower), None)
        if name is not None:
            found[kind] = name
        elif kind == "positions" or asked.get(kind):
            raise InputError(
                f"{source.path}: has no array of {kind} `{' or '.join(names)}`; found: {present}."
            )
    return found


def _numbers(
    found: Mapping[str, np.ndarray], source: Source
) -> tuple[np.ndarray, np.ndarray | None]:
    """Atomic numbers of each frame as the arrays or the source list them; masses of isotopes.

    Raises:
        InputError: nothing lists them, one is no atomic number, or there are more or fewer rows
            than frames.
    """
    named = [one for one in map(element, source.elements) if one]
    listed = found.get("numbers", np.array([one.number for one in named], int))
    positions, weights = found["positions"], None if "numbers" in found else masses(named)
    each = listed.ndim == 2 and (listed.shape[1] > 1 or positions.shape[1:2] == (1,))
    listed = listed if each else listed.ravel()
    if not listed.size:
        raise InputError(
            f"{source.path}: does not name its elements; set `elements` (--elements O,H,H)."
        )
    real = listed[listed > 0] if each else listed
    if not set(real.tolist()) <= set(range(1, len(chemical_symbols))):
        raise InputError(f"{source.path}: atomic numbers must be from 1 to 118, but are {listed}.")
    n_atoms = listed.shape[-1]
    alone = positions.shape == (n_atoms, 3) and not each
    n_frames = 1 if alone else len(np.atleast_1d(positions))
    if each and len(listed) not in (1, n_frames):
        raise InputError(
            f"{source.path}: atomic numbers must have {n_frames} rows, one for each frame, but "
            f"have {len(listed)}."
        )
    return np.broadcast_to(listed, (n_frames, n_atoms)), weights


def _cells(
    found: Mapping[str, np.ndarray], names: Mapping[str, str], n_frames: int, source: Source
) -> tuple[np.ndarray | None, np.ndarray]:
    """Cell vectors as rows of each frame, None without any, and which are periodic.

    Raises:
        InputError: the shape is another, or rows cannot be told from columns.
    """
    pbc = found.get("pbc", np.array(True)).astype(bool)
    if pbc.size not in (1, 3, 3 * n_frames):
        raise InputError(f"{source.path}: pbc must have shape (3,), but has {pbc.shape}.")
    pbc = np.broadcast_to(pbc.reshape(-1, 3) if pbc.size > 1 else pbc, (n_frames, 3))
    if "cell" not in found or not pbc.any():
        return None, pbc
    cell = found["cell"]
    if cell.size not in (9, 9 * n_frames):
        raise InputError(
            f"{source.path}: `{names['cell']}` must have shape (3, 3) or {(n_frames, 3, 3)}, but "
            f"has {cell.shape}."
        )
    cells = np.broadcast_to(cell.reshape(-1, 3, 3), (n_frames, 3, 3))
    if names["cell"].lower() == "lattice" and not np.array_equal(cells, cells.swapaxes(1, 2)):
        raise InputError(
            f"{source.path}: `lattice` has cell vectors as rows or as columns, by the version of "
            "sGDML that wrote it; write them as rows of an array `cell`."
        )
    return (cells, pbc) if cells.any() else (None, pbc)
