"""What a run needs before its first step: labelled frames, their split, the initial potential."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import ase
import jax
import numpy as np

from .._checks import InputError
from ..atoms.data.dataset import file_hash, read
from ..atoms.data.split import Split, split
from ..atoms.frames import Frames, stack
from ..atoms.properties import labels
from ..model.build import (
    build_ensemble_for,
    build_for,
    skeleton,
    with_defaults,
    with_references_of,
)
from ..model.potential import AbstractPotential, ScaleShift
from ..model.predict import check_atoms
from ..training.checkpoint import load, model_hash
from .config import Run

VERSIONS = ("qiff", "jax", "jaxlib", "equinox", "optax", "ase", "numpy")
"""Packages whose versions are in the provenance of a run."""


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to begin.

    Args:
        run: the config with every default of the model spelled out, and its provenance.
        potential: before it is trained.
        frames: all labelled configurations.
        parts: indices of the frames of each part.
    """

    run: Run
    potential: AbstractPotential
    frames: Sequence[ase.Atoms]
    parts: Split

    def part(self, name: str) -> list[ase.Atoms]:
        """The frames of a part, `train`, `valid` or `test`."""
        return [self.frames[i] for i in getattr(self.parts, name)]

    def stacked(self, name: str) -> Frames:
        """The frames of a part as one stack."""
        return stack(self.part(name), self.run.dtype, self.potential.cutoff)


def prepare(run: Run) -> Prepared:
    """Read and split the data, and build the initial potential.

    Raises:
        InputError: the data do not fit the config or the model.
    """
    learned = run.train.loss.learned
    frames = read(run.data, need_energy=True, need_forces="forces" in learned)
    parts = split(frames, run.data.train, run.data.valid, run.data.test, run.seed)
    potential = _initial(run, [frames[i] for i in parts.train])
    for index, atoms in enumerate(frames):
        place = f"{run.data.path}: frame {index}"
        check_atoms(potential, atoms, place)
        if absent := [key for key in learned if key not in labels(atoms)]:
            raise InputError(
                f"{place}: has no {absent[0]} to learn from; label it, or set "
                f"`train.{absent[0]}_weight` to 0."
            )
    run = dataclasses.replace(run, model=with_defaults(run.model), provenance=_provenance(run))
    return Prepared(run, potential, frames, parts)


def _initial(run: Run, frames: Sequence[ase.Atoms]) -> AbstractPotential:
    """The potential before it is trained on these frames."""
    if run.start:
        return with_references_of(_to_fine_tune(run), frames)
    settings: dict[str, Any] = {"seed": run.seed, "dtype": run.dtype}
    if run.members > 1:
        return build_ensemble_for(frames, run.model, members=run.members, **settings)
    return build_for(frames, run.model, **settings)


def _to_fine_tune(run: Run) -> ScaleShift:
    """The potential in the file `run.start`."""
    found = load(run.start)
    if not isinstance(found, ScaleShift):
        raise InputError(f"{run.start}: must be a model that `qiff train` wrote, and no ensemble.")
    wanted = skeleton(run.model).config()
    if different := differences(found.potential.config(), wanted):
        key = different[0]
        raise InputError(
            f"{run.start}: must have the structure of [model], but its `{key}` is "
            f"{found.potential.config().get(key)}, not {wanted.get(key)}."
        )
    return jax.tree.map(lambda weights: np.asarray(weights, run.dtype), found)


def _provenance(run: Run) -> dict[str, Any]:
    return {
        "versions": {package: version(package) for package in VERSIONS},
        "data_sha256": file_hash(run.data.path),
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
