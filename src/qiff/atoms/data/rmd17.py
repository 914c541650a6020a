"""Revised MD17: ten molecules, and the official split into frames to learn from and to test on.

`rmd17:ethanol` is the 1000 training frames of split 1 and after them its 1000 test frames;
`rmd17:ethanol/test` is one part alone. PBE/def2-SVP energies in kcal/mol, positions in Å.

Reference: Christensen and von Lilienfeld, Mach. Learn.: Sci. Technol. 1, 045018 (2020).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..._checks import InputError, check_known
from .arrays import from_arrays, load_npz
from .source import PART, RawFrames, Source, data_folder

PREFIX = "rmd17:"

MOLECULES = (
    *("aspirin", "azobenzene", "benzene", "ethanol", "malonaldehyde"),
    *("naphthalene", "paracetamol", "salicylic", "toluene", "uracil"),
)

PER_FRAME = ("coords", "energies", "forces", "old_indices", "old_energies", "old_forces")
"""Arrays that have a row for each frame; the old ones are those of MD17."""


class PartFiles(NamedTuple):
    """The files of one part of a molecule: its arrays and, if they hold more frames, which."""

    arrays: Path
    rows: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """What must be there."""
        return (self.arrays, self.rows) if self.rows else (self.arrays,)


def _archive(root: Path, molecule: str) -> dict[str, PartFiles]:
    """The layout of the official archive: all frames, and lists of their numbers."""
    arrays = root / "npz_data" / f"rmd17_{molecule}.npz"
    return {p: PartFiles(arrays, root / "splits" / f"index_{p}_01.csv") for p in ("train", "test")}


def _parts(root: Path, molecule: str) -> dict[str, PartFiles]:
    """The layout of one file for each part."""
    return {p: PartFiles(root / f"rmd17_{molecule}_{p}_01.npz") for p in ("train", "test")}


LAYOUTS = (_parts, _archive)


def find(molecule: str, folder: Path) -> dict[str, PartFiles]:
    """The parts of a molecule below `folder`; none if a file is missing."""
    for layout in LAYOUTS:
        parts = layout(folder / "rmd17", molecule)
        if all(file.is_file() for part in parts.values() for file in part.files):
            return parts
    return {}


def is_complete(folder: Path) -> bool:
    """Whether all ten molecules are there."""
    return all(find(molecule, folder) for molecule in MOLECULES)


def locate(path: str) -> dict[str, PartFiles]:
    """The parts that a path such as `rmd17:ethanol` or `rmd17:ethanol/test` names.

    Raises:
        InputError: there is no such molecule or part, or its files are not in the data folder.
    """
    molecule, slash, wanted = path.removeprefix(PREFIX).partition("/")
    check_known("rMD17 molecule", molecule, MOLECULES)
    parts = find(molecule, data_folder())
    if not parts:
        raise InputError(
            f"{path}: is not in {data_folder() / 'rmd17'}; fetch it (qiff data fetch rmd17), or "
            "let QIFF_DATA name the folder that holds `rmd17`."
        )
    if slash:
        check_known(f"{path}: part", wanted, parts)
    return {wanted: parts[wanted]} if slash else parts


def files(path: str) -> tuple[Path, ...]:
    """Every file that a path reads, once."""
    return tuple(dict.fromkeys(file for part in locate(path).values() for file in part.files))


def read_rmd17(path: Path, source: Source) -> RawFrames:
    """Training frames, then test frames; each knows its part.

    Raises:
        InputError: a file is corrupt; a list of frames is none, or names a frame twice.
    """
    parts = locate(source.path)
    loaded = {file: _loaded(file, source) for file in {part.arrays for part in parts.values()}}
    rows = {name: _rows(part, loaded[part.arrays], source) for name, part in parts.items()}
    listed = [number for name, part in parts.items() if part.rows for number in rows[name]]
    if len(set(listed)) < len(listed):
        raise InputError(f"{source.path}: the lists of frames in `splits` name a frame twice.")
    frames = []
    for name, part in parts.items():
        arrays = loaded[part.arrays]
        chosen = {key: arrays[key][rows[name]] for key in PER_FRAME if key in arrays}
        for atoms in from_arrays(arrays | chosen, source).frames:
            atoms.info[PART] = name
            frames.append(atoms)
    return RawFrames(frames, "kcal/mol", "Angstrom")


def _loaded(path: Path, source: Source) -> dict[str, np.ndarray]:
    """The arrays of a file; those with values for each frame have an axis of frames."""
    arrays = load_npz(path, source)
    return arrays | {key: np.atleast_1d(arrays[key]) for key in PER_FRAME if key in arrays}


def _rows(part: PartFiles, arrays: Mapping[str, np.ndarray], source: Source) -> np.ndarray:
    """The numbers of the frames of a part."""
    n_frames = min((len(arrays[key]) for key in PER_FRAME if key in arrays), default=0)
    if part.rows is None:
        return np.arange(n_frames)
    try:
        rows = np.loadtxt(part.rows, dtype=int, ndmin=1)
    except (ValueError, OSError):
        rows = np.array([-1])
    if rows.ndim > 1 or not rows.size or rows.min() < 0 or rows.max() >= n_frames:
        raise InputError(
            f"{source.path}: `{part.rows.name}` must list numbers of frames below {n_frames}; "
            "is it damaged?"
        )
    return rows
