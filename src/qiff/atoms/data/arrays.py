"""Frames from arrays: `.npz` archives (rMD17, sGDML) and folders of `.npy` files."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from ..._checks import InputError
from ..properties import PROPERTIES
from .source import RawFrames, Source


def read_npz(path: Path, source: Source) -> RawFrames:
    """Frames of one `.npz` archive."""
    return from_arrays(load_npz(path, source), source)


def load_npz(path: Path, source: Source) -> dict[str, np.ndarray]:
    """All arrays of an archive.

    Raises:
        InputError: it is no archive, is corrupt or holds pickled objects.
    """
    archive = _load(path, source)
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise InputError(f"{source.path}: is not an .npz archive.")
    try:
        return {name: archive[name] for name in archive.files}
    except Exception as error:  # truncated members fail in zipfile, zlib or numpy
        raise InputError(f"{source.path}: is corrupt, or holds pickled objects.") from error


def read_folder(path: Path, source: Source) -> RawFrames:
    """Frames of the `.npy` files of a folder."""
    arrays = {file.stem.lower(): _load(file, source) for file in sorted(path.glob("*.npy"))}
    return from_arrays(arrays, source)


def _load(path: Path, source: Source) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{source.path}: `{path.name}` is corrupt, or holds pickled objects."
        ) from error


ARRAY_NAMES: dict[str, tuple[str, ...]] = {
    "numbers": ("nuclear_charges", "z", "numbers"),
    "positions": ("coords", "r", "positions"),
    **{one.key: one.array_aliases for one in PROPERTIES.values()},
}
"""Names, in lower case, under which array formats keep each quantity (rMD17, sGDML, `.npy`)."""


def from_arrays(arrays: Mapping[str, np.ndarray], source: Source) -> RawFrames:
    """Frames of arrays of one molecule."""
    asked = {key: source.key_of(one) for key, one in PROPERTIES.items()}
    lower = {name.lower(): name for name in arrays}
    present = ", ".join(arrays) or "none"
    found: dict[str, np.ndarray] = {}
    for kind, names in ARRAY_NAMES.items():
        names = (asked[kind].lower(),) if asked.get(kind) else names
        name = next((lower[name] for name in names if name in lower), None)
        if name is not None:
            found[kind] = np.asarray(arrays[name])
        elif kind == "positions" or asked.get(kind):
            raise InputError(
                f"{source.path}: has no array of {kind} `{' or '.join(names)}`; found: {present}."
            )
    numbers = found.get("numbers", np.array([atomic_numbers[s] for s in source.elements], int))
    if not numbers.size:
        raise InputError(
            f"{source.path}: does not name its elements; set `elements` (--elements O,H,H)."
        )
    if not set(numbers.ravel().tolist()) <= set(range(1, len(chemical_symbols))):
        raise InputError(f"{source.path}: atomic numbers must be from 1 to 118, but are {numbers}.")
    n_frames = len(np.atleast_1d(found["positions"]))
    each = {key: one.full_shape(numbers.size) for key, one in PROPERTIES.items()}
    each["positions"] = (numbers.size, 3)
    for kind, size in each.items():
        if kind in found and found[kind].size != n_frames * np.prod(size, dtype=int):
            raise InputError(
                f"{source.path}: {kind} must have shape {(n_frames, *size)} for "
                f"{numbers.size} atoms, but has {found[kind].shape}."
            )
    found = {k: v.reshape(n_frames, *each[k]) if k in each else v for k, v in found.items()}
    frames = [ase.Atoms(numbers=numbers.ravel(), positions=p) for p in found["positions"]]
    for index, atoms in enumerate(frames):
        for key, one in PROPERTIES.items():
            if key in found:
                kept = atoms.arrays if one.per_atom else atoms.info
                kept[source.key_of(one) or key] = found[key][index]
    return RawFrames(frames, str(arrays.get("e_unit", "")), str(arrays.get("r_unit", "")))
