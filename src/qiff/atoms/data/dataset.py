"""Data sets: read labelled configurations from anything, in eV and Å, and split them.

A new format is one function in `FORMATS`: from a source to frames, their numbers still in the
units of the file, and the units that the file declares.
"""

import hashlib
import io
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from jaxtyping import Int

from ..._checks import InputError, check_known
from ..._files import atomic_write
from . import rmd17
from .arrays import read_folder, read_npz
from .source import ENERGY_UNITS, LENGTH_UNITS, PART, RawFrames, Source

Label = float | np.ndarray | None

TOO_CLOSE = 0.2  # Å; no two atoms of a molecule come this near


def locate(path: str) -> Path:
    """The file or folder a path names; of a data set in several files the first.

    Raises:
        InputError: there is no such file or no such data set.
    """
    return _files(path)[0]


def _files(path: str) -> tuple[Path, ...]:
    target = Path(path).expanduser()
    if scheme := _scheme(path):
        return SCHEMES[scheme](path)
    if not target.exists():
        raise InputError(f"{path}: no such file or folder; check the path.")
    return (target,)


def _scheme(path: str) -> str:
    return next((scheme for scheme in SCHEMES if path.startswith(scheme)), "")


def _bundled(path: str) -> tuple[Path, ...]:
    folder = Path(str(files("qiff.atoms.data"))) / "bundled"
    name = path.removeprefix(BUNDLED)
    check_known("Bundled data set", name, [found.stem for found in folder.glob("*.xyz")])
    return (folder / f"{name}.xyz",)


BUNDLED = "bundled:"
"""Prefix of the data sets that come with the package, for instance `bundled:water`."""

SCHEMES: dict[str, Callable[[str], tuple[Path, ...]]] = {
    BUNDLED: _bundled,
    rmd17.PREFIX: rmd17.files,
}
"""Prefixes of named data sets: from a path to its files."""


def read(
    source: Source, *, need_energy: bool = False, need_forces: bool = False
) -> list[ase.Atoms]:
    """Read every configuration of a source.

    Returns:
        Frames with positions in Å and, as calculator results, `energy` in eV and `forces` in
        eV/Å where the file has them. Other columns of the file are kept as they are.

    Raises:
        InputError: the file is missing, empty or unreadable; its units or elements are not
            declared; a needed label is absent; a number is not finite; atoms coincide.
    """
    path = locate(source.path)
    frames, energy_unit, length_unit = _reader(path, source)(path, source)
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
        for kind, key, needed, shape, unit in (
            ("energy", source.energy_key, need_energy, (), eV),
            ("forces", source.forces_key, need_forces, (len(atoms), 3), eV / angstrom),
        ):
            label = find_label(atoms, kind, key, needed, place)
            if label is not None:
                results[kind] = _numbers(label, kind, shape, place) * unit
            for name in (key, f"REF_{kind}", kind):  # labels live in the results alone from here
                scaled.info.pop(name, None)
                scaled.arrays.pop(name, None)
        scaled.calc = SinglePointCalculator(scaled, **results)
        check_geometry(scaled, place)
        converted.append(scaled)
    return converted


def find_label(atoms: ase.Atoms, kind: str, key: str, needed: bool, place: str) -> Label:
    """The label of a kind: under `key` if given, else `REF_<kind>`, else the calculator's result.

    Raises:
        InputError: the key asked for, or a needed label, is absent; the keys found are listed.
    """
    available = {**atoms.info, **atoms.arrays, **labels(atoms)}
    for candidate in (key,) if key else (f"REF_{kind}", kind):
        if candidate in available:
            return available[candidate]
    if key or needed:
        found = ", ".join(sorted(set(available) - {"numbers", "positions"})) or "none"
        missing = f"{kind} label `{key}`" if key else f"{kind} label"
        raise InputError(
            f"{place}: has no {missing}; keys found: {found}. "
            f"Name the right one as `{kind}_key` (--{kind}-key)."
        )
    return None


def _numbers(label: Label, kind: str, shape: tuple[int, ...], place: str) -> Any:
    """A label as an array of floats of a shape; a float if it is a single number."""
    try:
        values = np.asarray(label, float)
    except (TypeError, ValueError):
        raise InputError(f"{place}: {kind} must be numbers, but is {label!r}.") from None
    if values.shape != shape:
        raise InputError(f"{place}: {kind} must have shape {shape}, but has {values.shape}.")
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


def labels(atoms: ase.Atoms) -> dict[str, Any]:
    """Stored results of a frame: `energy` in eV and `forces` in eV/Å, if it has them.

    What a live calculator last computed is no label.
    """
    return atoms.calc.results if isinstance(atoms.calc, SinglePointCalculator) else {}


def write(path: Path, frames: Sequence[ase.Atoms]) -> None:
    """Write frames with their calculator results as extxyz, atomically."""
    import ase.io

    text = io.StringIO()
    ase.io.write(text, list(frames), format="extxyz")
    atomic_write(path, text.getvalue())


def file_hash(path: str) -> str:
    """SHA-256 of the files of a source, or of the arrays of a folder in order of name."""
    digest = hashlib.sha256()
    for target in _files(path):
        for part in [target] if target.is_file() else sorted(target.glob("*.npy")):
            digest.update(part.read_bytes())
    return digest.hexdigest()


class Split(NamedTuple):
    """Indices of the frames of each part."""

    train: Int[np.ndarray, " n_train"]
    valid: Int[np.ndarray, " n_valid"]
    test: Int[np.ndarray, " n_test"]


def split(frames: Sequence[ase.Atoms], train: float, valid: float, test: float, seed: int) -> Split:
    """Shuffle the indices of `frames` by `seed` and cut them into three parts.

    Frames with `part = test` in their `info` are never trained or validated on. If there are
    any, the test part is the first of them, the same for every seed.

    Args:
        frames: what to split.
        train, valid, test: sizes: below 1 a fraction of the frames that the part is taken from,
            from 1 on a whole number of frames.
        seed: of the shuffle.

    Raises:
        InputError: a size is neither; the parts need more frames than there are; or training or
            validation get none.
    """
    order = np.random.default_rng(seed).permutation(len(frames))
    set_apart = np.flatnonzero([str(atoms.info.get(PART)) == "test" for atoms in frames])
    if set_apart.size:
        learn = order[~np.isin(order, set_apart)]
        first, second = _cut(
            len(learn), " outside the test part of the data", train=(train, 1), valid=(valid, 1)
        )
        (third,) = _cut(len(set_apart), " in the test part of the data", test=(test, 0))
        return Split(learn[:first], learn[first:second], set_apart[:third])
    first, second, third = _cut(len(frames), "", train=(train, 1), valid=(valid, 1), test=(test, 0))
    return Split(order[:first], order[first:second], order[second:third])


def _cut(n_frames: int, where: str, **parts: tuple[float, int]) -> list[int]:
    """Where parts of such sizes end; each has a size and how many frames it needs."""
    for name, (size, _) in parts.items():
        if not 0 <= size < 1 and not (size >= 1 and float(size).is_integer()):
            raise InputError(
                f"`{name}` must be a fraction below 1 or a whole number of frames, but is {size}."
            )
    ends = np.cumsum([size * n_frames if size < 1 else size for size, _ in parts.values()])
    ends = [round(end, 6) for end in ends]  # 0.7 + 0.1 + 0.2 is one, whatever the last bit says
    cuts = [int(end + 0.5) for end in ends]
    counts = np.diff(cuts, prepend=0)
    needed = [least for _, least in parts.values()]
    if ends[-1] > n_frames or np.any(counts < needed):
        names = ", ".join(f"`{name}`" for name in parts)
        raise InputError(
            f"{names} must be at least {', '.join(map(str, needed))} frames and together at most "
            f"{n_frames}{where}, but are {', '.join(map(str, counts))}."
        )
    return cuts


# --- formats --------------------------------------------------------------------------------


Reader = Callable[[Path, Source], RawFrames]


def _reader(path: Path, source: Source) -> Reader:
    suffix = path.suffix.lower() if path.is_file() else "folder"
    return FORMATS.get(_scheme(source.path)) or FORMATS.get(suffix, _read_ase)


def _read_ase(path: Path, source: Source) -> RawFrames:
    import ase.io

    try:
        frames = list(ase.io.iread(path, index=":")) if path.stat().st_size else []
    except Exception as error:  # every reader of ASE fails in a way of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{source.path}: cannot be read as a structure file ({reason}); check its format."
        ) from error
    return RawFrames(frames, "eV", "Angstrom")


FORMATS: dict[str, Reader] = {
    ".npz": read_npz,
    "folder": read_folder,
    rmd17.PREFIX: rmd17.read_rmd17,
}
"""Readers by suffix, or by the prefix of a named data set; ASE reads every other file."""
