"""Labels of many independent structures, resumable; failures are kept apart with their reasons."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ase

from .._checks import InputError
from .._files import locked
from .._workers import Map
from .journal import Outcome, geometry_hash, open_journal
from .level import LabelError, Labeller, Level, label_one


class Labelled(NamedTuple):
    """Labelled structures, and why others have no labels.

    Args:
        frames: copies of the structures that could be labelled, in order, with their results.
        failures: reasons by the index of the structure.
    """

    frames: list[ase.Atoms]
    failures: dict[int, str]


def label_frames(
    level: Level,
    frames: Sequence[ase.Atoms],
    journal: Path,
    map: Map = map,
    after_label: Callable[[int], None] = lambda n_done: None,
) -> Labelled:
    """Label structures; a second call with the same journal repeats nothing.

    Args:
        level: the level of theory.
        frames: the structures; they are left as they are.
        journal: the file in which every outcome is kept as it arrives. It stays there.
        map: applies a function to every structure, see `Map`; the result does not depend on it.
        after_label: called with the number of structures that are done, first when labelling
            begins.

    Raises:
        InputError: the level cannot describe a structure; the journal belongs to another
            computation, or another process uses it.
        RunError: `map` lost a structure; the others are kept.
    """
    for index, atoms in enumerate(frames):
        try:
            level.check(atoms)
        except InputError as error:
            raise InputError(f"frame {index}: {error}") from None
    provenance = {**level.provenance(), "frames": len(frames), "sha256": geometry_hash(frames)}
    with locked(journal):
        kept = open_journal(journal, provenance)
        outcomes = map(partial(attempt, level.label), kept.missing(enumerate(frames)).items())
        kept.record(len(frames), outcomes, after_label)
    indices = range(len(frames))
    labelled = [kept.frames[index] for index in indices if index in kept.frames]
    failures = {index: kept.failures[index] for index in indices if index in kept.failures}
    return Labelled(labelled, failures)


def attempt(label: Labeller, item: tuple[Any, ase.Atoms]) -> tuple[Any, Outcome]:
    """As `label_one`, with the reason instead of the structure if its calculation fails."""
    try:
        return label_one(label, item)
    except LabelError as error:
        return item[0], " ".join(str(error).split())
