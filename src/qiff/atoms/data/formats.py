"""Formats: what reads which file, and which files a named data set has.

A new format is one function, from a source to frames in the units of the file, and its line in
`FORMATS`.
"""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import ase

from ..._checks import InputError, check_known, check_regular
from ..._files import user_path
from ..._tell import tell
from . import rmd17, smiles
from .arrays import read_folder, read_npz
from .source import SMILES, RawFrames, Source, data_folder, split_index
from .xyz import check_sizes, is_xyz, repaired, text_of

BUNDLED = "bundled:"
"""Prefix of the bundled data sets, for instance `bundled:water`."""

Reader = Callable[[Path, Source], RawFrames]


@dataclass(frozen=True)
class Format:
    """A format of files, or a family of named data sets.

    Args:
        read: from the file or folder, and the source, to its frames.
        suffix: of its files, in lower case; empty if they have none of their own.
        prefix: of the names of its data sets; empty if there are none.
        files: from the name of a data set to its files.
    """

    read: Reader
    suffix: str = ""
    prefix: str = ""
    files: Callable[[str], tuple[Path, ...]] = lambda path: (Path(path),)


def read_ase(path: Path, source: Source) -> RawFrames:
    """Frames of any file that ASE reads.

    Raises:
        InputError: ASE cannot read it, or it announces too many columns.
    """
    import ase.io

    what, frames = f"reading {source.path}", []
    try:
        total = check_sizes(path, source.path) if is_xyz(path) else 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # plans of ASE for its readers
            for atoms in ase.io.iread(path, index=":") if path.stat().st_size else ():
                frames.append(atoms)
                tell(what, len(frames), max(total, len(frames)))
    except InputError:
        raise
    except Exception as error:  # every reader of ASE fails in its own way
        frames = _read_repaired(path, source)
        if frames is None:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(
                f"{source.path}: cannot be read as a structure file ({reason}); check its format."
            ) from error
    return RawFrames(frames, "eV", "Angstrom")


def _read_repaired(path: Path, source: Source) -> list[ase.Atoms] | None:
    """Frames of an `.xyz` file that ASE refuses as it stands, see `repaired`; None of others.

    Raises:
        InputError: see `repaired`.
    """
    import ase.io

    if not is_xyz(path):
        return None
    try:
        text = text_of(path)
    except Exception:  # damaged compression; the first error says more
        return None
    again, masses = repaired(text, source.path)
    if again.split() == text.split():
        return None
    try:
        frames = list(ase.io.iread(io.StringIO(again), index=":", format="extxyz"))
    except Exception:  # the first error says more
        return None
    for atoms, known in zip(frames, masses, strict=True):
        if known is not None:
            atoms.set_array("masses", known)
    return frames


def read_database(path: Path, source: Source) -> RawFrames:
    """Frames of a database of ASE; columns and `data` of a row are among its labels.

    Raises:
        InputError: it is no database.
    """
    import ase.db

    try:
        rows = list(ase.db.connect(path).select())
        frames = [row.toatoms() for row in rows]
        for atoms, row in zip(frames, rows, strict=True):
            atoms.info |= {**row.key_value_pairs, **row.data}
    except Exception as error:  # sqlite and ASE fail in their own ways
        raise InputError(f"{source.path}: is no database of ASE ({error}).") from error
    return RawFrames(frames, "eV", "Angstrom")


def _bundled(path: str) -> tuple[Path, ...]:
    folder = Path(str(files("qiff.atoms.data"))) / "bundled"
    name = path.removeprefix(BUNDLED)
    check_known("Bundled data set", name, [found.stem for found in folder.glob("*.xyz")])
    return (folder / f"{name}.xyz",)


FORMATS: dict[str, Format] = {
    "npz": Format(read_npz, suffix=".npz"),
    "database": Format(read_database, suffix=".db"),
    "bundled": Format(read_ase, prefix=BUNDLED, files=_bundled),
    "rmd17": Format(rmd17.read_rmd17, prefix=rmd17.PREFIX, files=rmd17.files),
    "smiles": Format(smiles.read_smiles, prefix=SMILES),
}
"""By prefix of a named data set, or by suffix of a file; ASE reads every other file."""

FOLDER = Format(read_folder)
OTHER = Format(read_ase)


def format_of(path: str) -> Format:
    """The format of a path."""
    path, _ = split_index(path)
    for found in FORMATS.values():
        if found.prefix and path.startswith(found.prefix):
            return found
    target = _target(path)
    if target.is_dir():
        return FOLDER
    suffix = target.suffix.lower()
    return next((found for found in FORMATS.values() if suffix and found.suffix == suffix), OTHER)


def files_of(path: str) -> tuple[Path, ...]:
    """The files, or the folder, that a path names.

    Raises:
        InputError: there is no such file or no such data set.
    """
    found, (file, _) = format_of(path), split_index(path)
    if found.prefix:
        return found.files(file)
    target = _target(file)
    if not target.exists():
        raise InputError(f"{path}: no such file or folder; check the path.")
    check_regular(target, path)
    return (target,)


def _target(path: str) -> Path:
    """The file or folder of this path, or, if there is none, that in the folder of data sets.

    Raises:
        InputError: the path is empty.
    """
    if not path.strip():
        raise InputError(f"`{path}`: is no path; name a file, a folder or a data set.")
    target = user_path(path)
    return target if target.exists() else data_folder() / path


def locate(path: str) -> Path:
    """The file or folder that a path names; of a data set in several files the first.

    Raises:
        InputError: as `files_of`.
    """
    return files_of(path)[0]
