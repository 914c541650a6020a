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
from ..atoms.data.source import PART
from ..atoms.data.split import Split, split
from ..atoms.frames import Frames, stack
from ..atoms.graph import has_volume
from ..atoms.properties import PROPERTIES, labels
from ..atoms.reference import apart
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
from .config import Data, Run

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
    isolated, frames = apart(_read(run.data, need_forces="forces" in learned))
    parts = split(frames, run.data.train, run.data.valid, run.data.test, run.seed)
    potential = _initial(run, [frames[i] for i in parts.train], isolated)
    somewhere = {key for atoms in frames for key in labels(atoms)}
    for index, atoms in enumerate(frames):
        place = f"{run.data.path}: frame {index}"
        check_atoms(potential, atoms, place)
        exempt = {k for k in somewhere if PROPERTIES[k].needs_cell and not has_volume(atoms)}
        if absent := [k for k in learned if k not in labels(atoms) and k not in exempt]:
            raise InputError(
                f"{place}: has no {absent[0]} to learn from; label it, or set "
                f"`train.{absent[0]}_weight` to 0."
            )
    run = dataclasses.replace(run, model=with_defaults(run.model), provenance=_provenance(run))
    return Prepared(run, potential, frames, parts)


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
