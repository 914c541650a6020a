"""The maker of reference data: labels the frames of a recipe and resumes after an interruption.

Every finished frame is one line of a partial file, under its index. Independent frames are labelled
through a `map`, on this machine or on others, and may arrive in any order; only the process that
called `make` writes.
"""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.jsonio import decode, encode

from .._checks import InputError, RunError, check_known
from .._files import atomic_write
from .._workers import Map
from ..atoms.data.dataset import write
from ..atoms.properties import labels
from .recipes import RECIPES, Recipe
from .sampling import Sampling


def make(
    name: str,
    path: Path,
    sampling: Sampling,
    after_label: Callable[[int], None] = lambda n_done: None,
    map: Map = map,
) -> None:
    """Compute the data set `name` into the extxyz file `path` and its provenance beside it.

    Finished frames are kept in `path` + ".part"; a second call resumes there and repeats none.

    Args:
        name: a key of `RECIPES`.
        path: where the frames go (extxyz, eV and Å); provenance goes to the same name in .json.
        sampling: number of frames, temperature and seed.
        after_label: called with the number of finished frames, first when labelling begins.
        map: applies a function to every frame, see `Map`; the data set does not depend on it.

    Raises:
        InputError: the recipe is unknown; the partial file belongs to another computation.
        MissingExtraError: the program of the recipe is not installed.
        RunError: a calculation did not converge, or `map` lost a frame; finished frames are kept.
    """
    check_known("Data set", name, RECIPES)
    recipe = RECIPES[name]
    sampling = dataclasses.replace(sampling, n_frames=sampling.n_frames or recipe.n_frames)
    provenance, part = _provenance(name, recipe, sampling), path.with_name(path.name + ".part")
    if not part.exists():
        start = [_pack(atoms) for atoms in recipe.sampler.start(sampling, recipe.level.label)]
        atomic_write(part, _line({"provenance": provenance, "start": start}))
    start, done = _read(part, provenance)
    after_label(len(done))
    missing = recipe.sampler.frames(sampling, recipe.level.label, start, dict(done), map)
    with part.open("a", encoding="utf-8") as lines:
        for index, atoms in missing:
            done[index] = atoms
            lines.write(_line({"index": index, "frame": _pack(atoms)}))
            lines.flush()
            after_label(len(done))
    if done.keys() != set(range(sampling.n_frames)):
        raise RunError(
            f"{part}: {len(done)} of {sampling.n_frames} frames were labelled; run the same "
            "command again for the others."
        )
    frames = [done[index] for index in range(sampling.n_frames)]
    for atoms in frames:
        atoms.arrays.pop("momenta", None)
    write(path, frames)
    atomic_write(
        path.with_suffix(".json"), json.dumps(provenance, indent=2, ensure_ascii=False) + "\n"
    )
    part.unlink()


def _provenance(name: str, recipe: Recipe, sampling: Sampling) -> dict[str, Any]:
    return {
        "data_set": name,
        "level": recipe.level.description,
        "sampling": recipe.description,
        "program": recipe.level.program(),
        "units": {"length": "Angstrom", "energy": "eV"},
        **{field: getattr(sampling, field) for field in recipe.uses},
    }


# --- the partial file ------------------------------------------------------------------------


def _read(part: Path, provenance: dict[str, Any]) -> tuple[list[ase.Atoms], dict[int, ase.Atoms]]:
    """What a partial file begins with and its finished frames by index, the first of each.

    Raises:
        InputError: it is no partial file or belongs to another computation.
    """
    try:
        header, *records = _whole_lines(part)
        start = [_unpack(packed) for packed in header["start"]]
        frames = [(int(record["index"]), _unpack(record["frame"])) for record in records]
    except (json.JSONDecodeError, KeyError, TypeError, ValueError):
        raise InputError(f"{part}: is not a partial data set; delete it first.") from None
    if header.get("provenance") != provenance:
        raise InputError(f"{part}: belongs to a computation with other settings; delete it first.")
    return start, dict(reversed(frames))


def _whole_lines(part: Path) -> list[Any]:
    """Records of a partial file; a last line cut short by a kill is dropped from the file too."""
    text = part.read_text("utf-8")
    whole = text[: text.rfind("\n") + 1]
    os.truncate(part, len(whole.encode()))
    return [decode(line, always_array=False) for line in whole.splitlines()]


def _line(record: dict[str, Any]) -> str:
    return encode(record) + "\n"


def _pack(atoms: ase.Atoms) -> dict[str, Any]:
    """A frame with all its results."""
    return {"atoms": atoms.todict(), "results": dict(labels(atoms))}


def _unpack(packed: dict[str, Any]) -> ase.Atoms:
    atoms = ase.Atoms.fromdict(packed["atoms"])
    if packed["results"]:
        atoms.calc = SinglePointCalculator(atoms, **packed["results"])
    return atoms
