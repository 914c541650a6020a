"""What a run needs before its first step: labelled frames, their split, the initial potential."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ase
import jax
import numpy as np
from ase.data import chemical_symbols

from .._checks import InputError
from .._tell import tell
from ..atoms.data.dataset import file_hash, read
from ..atoms.data.source import PART
from ..atoms.data.split import Split, equal_frames, split
from ..atoms.frames import Frames, stack
from ..atoms.graph import has_volume
from ..atoms.properties import PROPERTIES, labels
from ..atoms.reference import apart
from ..atoms.stored import stack_in_files, stacked_size
from ..model.build import (
    build_ensemble_for,
    build_for,
    check_engines,
    skeleton,
    with_defaults,
    with_references_of,
)
from ..model.potential import AbstractPotential, ScaleShift
from ..model.predict import check_atoms
from ..training.checkpoint import load, model_hash
from .config import Data, Run

VERSIONS = ("qiff", "jax", "jaxlib", "equinox", "optax", "ase", "numpy")
"""Packages whose versions are in the provenance of a run."""

log = logging.getLogger("qiff")


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to begin.

    Args:
        run: the config with every default of the model spelled out, and its provenance.
        potential: before it is trained.
        frames: all labelled configurations.
        parts: indices of the frames of each part.
        notes: what a person should know about the data, in sentences.
    """

    run: Run
    potential: AbstractPotential
    frames: Sequence[ase.Atoms]
    parts: Split
    notes: Sequence[str] = ()

    def part(self, name: str) -> list[ase.Atoms]:
        """The frames of a part, `train`, `valid` or `test`."""
        return [self.frames[i] for i in getattr(self.parts, name)]

    def stacked(self, name: str, folder: Path) -> Frames:
        """The frames of a part as one stack; in a folder if it is too large for `in_memory`."""
        frames, how = self.part(name), (self.run.dtype, self.potential.cutoff)
        if stacked_size(frames, *how) <= 1e9 * self.run.data.in_memory:
            return stack(frames, *how)
        log.info("the %s part is kept in files: it exceeds `data.in_memory`", name)
        return stack_in_files(frames, folder / name, *how)


def prepare(run: Run) -> Prepared:
    """Read and split the data, and build the initial potential.

    Raises:
        InputError: the data do not fit the config or the model.
    """
    check_engines(run.model)
    learned = run.train.loss.learned
    found, frames = apart(_read(run.data, need_forces="forces" in learned))
    given = {chemical_symbols.index(s): e for s, e in run.data.reference_energies.items()}
    data = run.data
    parts = split(frames, data.train, data.valid, data.test, run.seed, data.group_by)
    _check_labels(run, frames, parts)
    potential = _initial(run, [frames[i] for i in parts.train], given | found)
    for index, atoms in enumerate(frames):
        check_atoms(potential, atoms, f"{run.data.path}: frame {index}")
        tell(f"comparing {run.data.path} with the model", index + 1, len(frames))
    run = dataclasses.replace(run, model=with_defaults(run.model), provenance=_provenance(run))
    return Prepared(run, potential, frames, parts, _notes(found, frames, parts, learned))


def _lacks(atoms: ase.Atoms, key: str) -> bool:
    """Whether a configuration has no label of a property that it could have."""
    return key not in labels(atoms) and (has_volume(atoms) or not PROPERTIES[key].needs_cell)


def _check_labels(run: Run, frames: Sequence[ase.Atoms], parts: Split) -> None:
    """Raise InputError unless there are labels to learn from, in every frame if that is asked."""
    for key in run.train.loss.learned:
        remedy = f"label it, or set `train.{key}_weight` to 0."
        lacking = [index for index, atoms in enumerate(frames) if _lacks(atoms, key)]
        if run.data.strict and lacking:
            raise InputError(
                f"{run.data.path}: frame {lacking[0]}: has no {key} to learn from; {remedy}"
            )
        for name in ("train", "valid"):
            if not any(key in labels(frames[index]) for index in getattr(parts, name)):
                place = f"{run.data.path}: no frame of the {name} part"
                raise InputError(f"{place} has {key} to learn from; {remedy}")


def _notes(
    isolated: Mapping[int, float],
    frames: Sequence[ase.Atoms],
    parts: Split,
    learned: Sequence[str],
) -> list[str]:
    """What a person should know: isolated atoms, frames without labels, equal frames."""
    notes = []
    if isolated:
        symbols = ", ".join(chemical_symbols[z] for z in isolated)
        notes.append(f"reference energies are those of the isolated atoms {symbols} in the data")
    for key in learned:
        if n_lacking := sum(_lacks(atoms, key) for atoms in frames):
            notes.append(f"{n_lacking} of {len(frames)} frames have no {key}; the others are used")
    sets = [set(same) for same in equal_frames(frames)]
    if sets:
        extra = sum(map(len, sets)) - len(sets)
        crossing = sum(sum(bool(same & set(p.tolist())) for p in parts) > 1 for same in sets)
        notes.append(
            f"{extra} of {len(frames)} frames are copies of others; {crossing} frames are in "
            "more than one of the training, validation and test parts"
        )
    return notes


def _read(data: Data, need_forces: bool) -> list[ase.Atoms]:
    """All frames of the data; those to test on, if they are named, have `part = test`."""
    needed = {"need_energy": True, "need_forces": need_forces}
    frames, chosen = read(data, **needed), []
    if data.test_where:
        key, _, values = data.test_where.partition("=")
        chosen = [atoms for atoms in frames if str(atoms.info.get(key)) in values.split(",")]
        if not chosen:
            found = sorted({str(atoms.info.get(key)) for atoms in frames})
            raise InputError(
                f"{data.path}: has no frames with `test_where` {data.test_where}; found under "
                f"`{key}`: {', '.join(found[:10])}."
            )
    if data.test_path:
        more = read(dataclasses.replace(data, path=data.test_path), **needed)
        frames, chosen = frames + more, chosen + more
    for atoms in chosen:
        atoms.info[PART] = "test"
    return frames


def _initial(
    run: Run, frames: Sequence[ase.Atoms], isolated: Mapping[int, float]
) -> AbstractPotential:
    """The potential before it is trained on these frames."""
    if run.start:
        return with_references_of(_to_fine_tune(run), frames)
    settings: dict[str, Any] = {"seed": run.seed, "dtype": run.dtype, "isolated": isolated}
    if run.members > 1:
        return build_ensemble_for(frames, run.model, members=run.members, **settings)
    return build_for(frames, run.model, **settings)


def _to_fine_tune(run: Run) -> AbstractPotential:
    """The potential in the file `run.start`, in the precision of the run."""
    found = load(run.start)
    members = [member for member in found.members if isinstance(member, ScaleShift)]
    if len(members) < len(found.members):
        raise InputError(f"{run.start}: must be a model that `qiff train` wrote.")
    if len(members) != run.members:
        raise InputError(
            f"{run.start}: must have as many members as the run, {run.members}, but has "
            f"{len(members)}."
        )
    wanted, config = skeleton(run.model).config(), members[0].potential.config()
    if different := differences(config, wanted):
        key = different[0]
        raise InputError(
            f"{run.start}: must have the structure of [model], but its `{key}` is "
            f"{config.get(key)}, not {wanted.get(key)}."
        )
    return jax.tree.map(lambda weights: np.asarray(weights, run.dtype), found)


def _provenance(run: Run) -> dict[str, Any]:
    return {
        "versions": {package: version(package) for package in VERSIONS},
        "data_sha256": file_hash(run.data.path),
        "test_sha256": file_hash(run.data.test_path) if run.data.test_path else "",
        "start_sha256": model_hash(run.start) if run.start else "",
    }


def differences(before: Any, after: Any, place: str = "") -> list[str]:
    """Dotted keys at which two nested tables differ, apart from `provenance`."""
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        return [] if before == after else [place]
    return [
        difference
        for key in {**before, **after}
        if key != "provenance"
        for difference in differences(
            before.get(key), after.get(key), f"{place}.{key}" if place else key
        )
    ]
