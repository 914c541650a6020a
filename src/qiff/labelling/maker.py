"""The maker of reference data: labels the frames of a recipe and resumes after an interruption.

Every finished frame is one line of a journal. Independent frames are labelled
through a `map`, on this machine or on others, and may arrive in any order; only the process that
called `make` writes.
"""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .._checks import RunError, check_known
from .._files import atomic_write, locked
from .._workers import Map
from ..atoms.data.dataset import write
from .journal import journal_of, open_journal
from .recipes import RECIPES, Recipe
from .samplers import Sampling


def make(
    name: str,
    path: Path,
    sampling: Sampling,
    after_label: Callable[[int], None] = lambda n_done: None,
    map: Map = map,
) -> None:
    """Compute the data set `name` into the extxyz file `path` and its provenance beside it.

    Finished frames are kept in `path` + ".part"; a second call resumes there and repeats none.
    Frames that the sampler leaves out are counted by reason in the provenance.

    Args:
        name: a key of `RECIPES`.
        path: where the frames go (extxyz, eV and Å); provenance goes to the same name in .json.
        sampling: what is asked for.
        after_label: called with the number of finished frames, first when labelling begins.
        map: applies a function to every frame, see `Map`; the data set does not depend on it.

    Raises:
        InputError: the recipe is unknown, or does not use what is asked for; the partial file
            belongs to another computation, or another process uses it.
        MissingExtraError: the program of the recipe is not installed.
        RunError: a calculation did not converge, `map` lost a frame, or every frame is left out;
            what is finished is kept.
    """
    check_known("Data set", name, RECIPES)
    recipe = RECIPES[name]
    sampling = recipe.completed(sampling)
    provenance, part = _provenance(name, recipe, sampling), journal_of(path)
    with locked(part):
        label, n_frames = recipe.level.label, sampling.n_frames
        journal = open_journal(part, provenance, lambda: recipe.sampler.start(sampling, label))
        found = recipe.sampler.frames(
            sampling,
            label,
            journal.start,
            {int(index): found for index, found in (journal.frames | journal.failures).items()},
            map,
        )
        journal.record(n_frames, found, after_label)
        frames = [journal.frames[index] for index in range(n_frames) if index in journal.frames]
        if not frames:
            raise RunError(f"{part}: every frame is left out: {journal.failures[0]}.")
        if left_out := Counter(journal.failures.values()):
            provenance["left_out"] = dict(left_out.most_common())
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
