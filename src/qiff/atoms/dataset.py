"""Data sets: read labelled configurations from anything, in eV and Å, and split them.

A new format is one function in `FORMATS`: from a source to frames, their numbers still in the
units of the file, and the units that the file declares.
"""

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import ase
import ase.units
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers, chemical_symbols
from jaxtyping import Int

from .._checks import InputError, check_known
from .._files import atomic_write

Label = float | np.ndarray | None

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
BUNDLED = "bundled:"
"""Prefix of the data sets that come with the package, for instance `bundled:water`."""

TOO_CLOSE = 0.2  # Å; no two atoms of a molecule come this near


@dataclass(frozen=True)
class Source:
    """Where labelled configurations come from and what their numbers mean.

    Args:
        path: a file ASE reads, an `.npz` archive (rMD17, sGDML), a folder with the arrays
            `Positions.npy`, `Energy.npy` and `Forces.npy`, or `bundled:` and a name.
        energy_unit, length_unit: units of the file; forces are in energy over length. Empty
            means what the file itself declares, or eV and Å for files read by ASE.
        energy_key, forces_key: names of the labels; empty means `REF_energy`/`REF_forces`,
            then the results of a calculator.
        elements: chemical symbols in the order of the atoms, for formats that have none.
    """

    path: str
    energy_unit: str = ""
    length_unit: str = ""
    energy_key: str = ""
    forces_key: str = ""
    elements: tuple[str, ...] = ()

    def __post_init__(self):
        if self.energy_unit:
            check_known("Energy unit", self.energy_unit, ENERGY_UNITS)
        if self.length_unit:
            check_known("Length unit", self.length_unit, LENGTH_UNITS)
        for symbol in self.elements:
            check_known("Element", symbol, chemical_symbols[1:])


class Found(NamedTuple):
    """What a reader returns: frames in the units of the file, and the units if it names them."""

    frames: list[ase.Atoms]
    energy_unit: str
    length_unit: str


def locate(path: str) -> Path:
    """The file a path names; resolves `bundled:` names.

    Raises:
        InputError: there is no such file or no such bundled data set.
    """
    target = Path(path).expanduser()
    if path.startswith(BUNDLED):
        folder = Path(str(files("qiff.atoms"))) / "bundled"
        name = path.removeprefix(BUNDLED)
        check_known("Bundled data set", name, [found.stem for found in folder.glob("*.xyz")])
        target = folder / f"{name}.xyz"
    if not target.exists():
        raise InputError(f"{path}: no such file or folder; check the path.")
    return target


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
    frames, energy_unit, length_unit = FORMATS.get(_format(path), _read_ase)(path, source)
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
    """SHA-256 of a data file, or of the arrays of a folder in order of name."""
    target = locate(path)
    digest = hashlib.sha256()
    for part in [target] if target.is_file() else sorted(target.glob("*.npy")):
        digest.update(part.read_bytes())
    return digest.hexdigest()


class Split(NamedTuple):
    """Indices of the frames of each part."""

    train: Int[np.ndarray, " n_train"]
    valid: Int[np.ndarray, " n_valid"]
    test: Int[np.ndarray, " n_test"]


def split(n_frames: int, train: float, valid: float, test: float, seed: int) -> Split:
    """Shuffle `n_frames` indices by `seed` and cut them into three parts.

    Args:
        n_frames: number of frames to split.
        train, valid, test: sizes: below 1 a fraction, from 1 on a whole number of frames.
        seed: of the shuffle.

    Raises:
        InputError: a size is neither; the parts need more frames than there are; or training or
            validation get none.
    """
    given = {"train": train, "valid": valid, "test": test}
    for name, size in given.items():
        if not 0 <= size < 1 and not (size >= 1 and float(size).is_integer()):
            raise InputError(
                f"`{name}` must be a fraction below 1 or a whole number of frames, but is {size}."
            )
    ends = np.cumsum([size * n_frames if size < 1 else size for size in given.values()])
    ends = [round(end, 6) for end in ends]  # 0.7 + 0.1 + 0.2 is one, whatever the last bit says
    first, second, third = (int(end + 0.5) for end in ends)
    if ends[2] > n_frames or first < 1 or second <= first:
        raise InputError(
            "`train`, `valid` and `test` must be at least 1, 1 and 0 frames and together at most "
            f"{n_frames}, but are {first}, {second - first} and {third - second}."
        )
    order = np.random.default_rng(seed).permutation(n_frames)
    return Split(order[:first], order[first:second], order[second:third])


# --- formats --------------------------------------------------------------------------------


def _format(path: Path) -> str:
    return path.suffix.lower() if path.is_file() else "folder"


def _read_ase(path: Path, source: Source) -> Found:
    import ase.io

    try:
        frames = list(ase.io.iread(path, index=":")) if path.stat().st_size else []
    except Exception as error:  # every reader of ASE fails in a way of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{source.path}: cannot be read as a structure file ({reason}); check its format."
        ) from error
    return Found(frames, "eV", "Angstrom")


def _read_npz(path: Path, source: Source) -> Found:
    archive = _load(path, source)
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise InputError(f"{source.path}: is not an .npz archive.")
    try:
        arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # truncated members fail in zipfile, zlib or numpy
        raise InputError(f"{source.path}: is corrupt, or holds pickled objects.") from error
    return _from_arrays(arrays, source)


def _read_folder(path: Path, source: Source) -> Found:
    arrays = {file.stem.lower(): _load(file, source) for file in sorted(path.glob("*.npy"))}
    return _from_arrays(arrays, source)


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
    "energy": ("energies", "e", "energy"),
    "forces": ("forces", "f"),
}
"""Names, in lower case, under which array formats keep each quantity (rMD17, sGDML, `.npy`)."""


def _from_arrays(arrays: Mapping[str, np.ndarray], source: Source) -> Found:
    """Frames of arrays of one molecule."""
    asked = {"energy": source.energy_key, "forces": source.forces_key}
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
    n_frames, shape = len(np.atleast_1d(found["positions"])), (numbers.size, 3)
    each = {"positions": shape, "energy": (), "forces": shape}
    for kind, size in each.items():
        if kind in found and found[kind].size != n_frames * np.prod(size, dtype=int):
            raise InputError(
                f"{source.path}: {kind} must have shape {(n_frames, *size)} for "
                f"{numbers.size} atoms, but has {found[kind].shape}."
            )
    found = {k: v.reshape(n_frames, *each[k]) if k in each else v for k, v in found.items()}
    frames = [ase.Atoms(numbers=numbers.ravel(), positions=p) for p in found["positions"]]
    for index, atoms in enumerate(frames):
        if "energy" in found:
            atoms.info[source.energy_key or "energy"] = found["energy"][index]
        if "forces" in found:
            atoms.arrays[source.forces_key or "forces"] = found["forces"][index]
    return Found(frames, str(arrays.get("e_unit", "")), str(arrays.get("r_unit", "")))


FORMATS: dict[str, Callable[[Path, Source], Found]] = {
    ".npz": _read_npz,
    "folder": _read_folder,
}
"""Readers by suffix; ASE reads every other file."""
