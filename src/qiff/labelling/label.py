"""Reference data, really computed: the recipes of the data sets; what is done is kept.

A new data set is one `Recipe` in `RECIPES`: its level of theory and how its frames are drawn.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from .._checks import InputError
from .._files import atomic_write
from ..atoms.data.dataset import write
from .level import (
    FCI,
    MP2,
    PBE0,
    diatomic,
    fci_label,
    import_pyscf,
    mp2_label,
    pbe0_hessian,
    pbe0_label,
)
from .sampling import AbstractFrames, Listed, Sampling, Trajectory, relax, turned, wigner


@dataclass(frozen=True)
class Recipe:
    """A data set to compute: its level of theory and how its frames come about, in words too."""

    level: str
    sampling: str
    n_frames: int
    uses: tuple[str, ...]  # the fields of `Sampling` that change its frames
    source: AbstractFrames


def make(name: str, path: Path, sampling: Sampling, track: Callable[..., Iterable]) -> None:
    """Compute the data set `name` into the extxyz file `path` and its provenance beside it.

    Finished frames are kept in `path` + ".part"; a second call goes on from there.

    Args:
        name: a key of `RECIPES`.
        path: where the frames go (extxyz, eV and Å); provenance goes to the same name in .json.
        sampling: number of frames, temperature and seed.
        track: wraps the frames still to do, to show progress.

    Raises:
        InputError: the partial file belongs to another computation.
        MissingExtraError: PySCF is not installed.
        RunError: a calculation did not converge; what is done is kept.
    """
    pyscf = import_pyscf()
    recipe = RECIPES[name]
    sampling = dataclasses.replace(sampling, n_frames=sampling.n_frames or recipe.n_frames)
    provenance = {
        "data_set": name,
        "level": recipe.level,
        "sampling": recipe.sampling,
        "program": f"PySCF {pyscf.__version__}",
        "units": {"length": "Angstrom", "energy": "eV"},
        **{field: getattr(sampling, field) for field in recipe.uses},
    }
    part = path.with_name(path.name + ".part")
    if not part.exists():
        start = [_pack(atoms) for atoms in recipe.source.start(sampling)]
        atomic_write(part, _line({"provenance": provenance, "start": start}))
    header, *records = _whole_lines(part)
    if header.get("provenance") != provenance:
        raise InputError(f"{part}: belongs to a computation with other settings; delete it first.")
    start = [_unpack(packed) for packed in header["start"]]
    frames = [_unpack(record) for record in records]
    missing = recipe.source.frames(sampling, start, tuple(frames))
    with part.open("a") as lines:
        for atoms in track(missing, completed=len(frames), total=sampling.n_frames):
            frames.append(atoms)
            lines.write(_line(_pack(atoms)))
            lines.flush()
    for atoms in frames:
        atoms.arrays.pop("momenta", None)
    write(path, frames)
    atomic_write(
        path.with_suffix(".json"), json.dumps(provenance, indent=2, ensure_ascii=False) + "\n"
    )
    part.unlink()


def _line(record: dict) -> str:
    return json.dumps(record) + "\n"


def _whole_lines(part: Path) -> list[dict[str, Any]]:
    """Records of a partial file; a last line cut short by a kill is dropped from the file too."""
    text = part.read_text()
    whole = text[: text.rfind("\n") + 1]
    os.truncate(part, len(whole.encode()))
    try:
        return [json.loads(line) for line in whole.splitlines()] or [{}]
    except json.JSONDecodeError:
        raise InputError(f"{part}: is not a partial data set; delete it first.") from None


def _pack(atoms: ase.Atoms) -> dict[str, Any]:
    packed = {name: values.tolist() for name, values in atoms.arrays.items()}
    results = atoms.calc.results if atoms.calc else {}
    return packed | {name: np.asarray(value).tolist() for name, value in results.items()}


def _unpack(packed: dict[str, Any]) -> ase.Atoms:
    results = {name: np.array(packed[name]) for name in ("energy", "forces") if name in packed}
    atoms = ase.Atoms(**{name: packed[name] for name in packed.keys() - results.keys()})
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


# --- geometries -----------------------------------------------------------------------------


def _lih(sampling: Sampling) -> list[ase.Atoms]:
    return [diatomic("LiH", length) for length in np.linspace(0.9, 4.5, sampling.n_frames)]


def _harmonic(name: str) -> Callable[[Sampling], list[ase.Atoms]]:
    """The relaxed molecule, then Wigner samples of its normal modes in random orientation."""

    def geometries(sampling: Sampling) -> list[ase.Atoms]:
        from ase.build import molecule

        relaxed = relax(molecule(name), pbe0_label)
        hessian = pbe0_hessian(relaxed)
        rng = np.random.default_rng(sampling.seed)
        steps = wigner(relaxed, hessian, sampling.temperature, sampling.n_frames - 1, rng)
        drawn = []
        for step in steps:
            moved = relaxed.copy()
            moved.positions += step
            drawn.append(turned(moved, rng))
        return [relaxed, *drawn]

    return geometries


def _dimer() -> ase.Atoms:
    """Two water molecules, the first one's second hydrogen towards the second one's oxygen."""
    return ase.Atoms(
        "OHHOHH",
        positions=[
            [-1.55, -0.11, 0.0],
            [-1.93, 0.76, 0.0],
            [-0.60, 0.04, 0.0],
            [1.35, 0.11, 0.0],
            [1.68, -0.37, -0.76],
            [1.68, -0.37, 0.76],
        ],
    )


def _dimer_cut(sampling: Sampling) -> list[ase.Atoms]:
    """The relaxed dimer, its bridging hydrogen moved along its bond."""
    relaxed = relax(_dimer(), mp2_label)
    bond = relaxed.positions[2] - relaxed.positions[0]
    frames = []
    for shift in np.linspace(-0.2, 0.5, sampling.n_frames):
        moved = relaxed.copy()
        moved.positions[2] += shift * bond / np.linalg.norm(bond)
        frames.append(moved)
    return frames


_HARMONIC = (
    "frame 0 the relaxed molecule; then harmonic Wigner samples (zero-point motion included) of "
    "its normal modes at `temperature` K, each in a random orientation"
)

RECIPES: dict[str, Recipe] = {
    "lih": Recipe(
        level=FCI,
        sampling="bond lengths on an even grid from 0.9 to 4.5 Å",
        n_frames=181,
        uses=("n_frames",),
        source=Listed(_lih, fci_label),
    ),
    "water": Recipe(
        level=PBE0,
        sampling=_HARMONIC,
        n_frames=1001,
        uses=("n_frames", "temperature", "seed"),
        source=Listed(_harmonic("H2O"), pbe0_label),
    ),
    "ammonia": Recipe(
        level=PBE0,
        sampling=_HARMONIC,
        n_frames=501,
        uses=("n_frames", "temperature", "seed"),
        source=Listed(_harmonic("NH3"), pbe0_label),
    ),
    "water-dimer": Recipe(
        level=MP2,
        sampling="ab initio molecular dynamics from the relaxed dimer: BAOAB Langevin thermostat "
        "at `temperature` K with time constant 100 fs, timestep 1 fs, a frame every 3 fs after "
        "the first 150 fs; atoms in the order O, H, H of each molecule",
        n_frames=1501,
        uses=("n_frames", "temperature", "seed"),
        source=Trajectory(
            _dimer, mp2_label, timestep=1.0, interval=3, equilibration=150, friction_time=100.0
        ),
    ),
    "water-dimer-cut": Recipe(
        level=MP2,
        sampling="the relaxed dimer, its bridging hydrogen moved along its O-H bond by -0.2 to "
        "0.5 Å on an even grid, all else fixed",
        n_frames=141,
        uses=("n_frames",),
        source=Listed(_dimer_cut, mp2_label),
    ),
}
