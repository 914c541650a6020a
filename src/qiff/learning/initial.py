"""Generation 0: the structures that dynamics start from, and displacements of them."""

from collections.abc import Sequence
from pathlib import Path

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from .._checks import InputError, RunError
from ..atoms.data.dataset import read, write
from ..atoms.data.source import Source
from ..atoms.properties import labels
from ..dynamics.trajectory import read_trajectory
from ..labelling.journal import ELECTRONS
from ..labelling.level import Level
from ..labelling.sampling import (
    conformers,
    displaced,
    hessian_by_differences,
    normal_mode_displacements,
    relax,
)
from ..labelling.store import LabelStore
from ..run.folder import log
from .selection import broken, descriptors, farthest
from .settings import Exploration, Learn
from .show import Show

STRUCTURE = "structure"
"""Key in `info`: the number of the structure that a conformer is of."""
_RELAXED = 0.01  # eV/Å, the largest force on an atom of a relaxed structure
_DRAWN = 4
"""Times as many displaced frames are drawn as are kept, the most different ones."""


def given_structures(settings: Learn, level: Level) -> list[tuple[str, ase.Atoms]]:
    """The structures that are named, each with its name.

    Raises:
        InputError: a structure cannot be read, or the level of theory cannot describe it.
    """
    given = [(name, atoms) for name in settings.structures for atoms in read(Source(name))]
    for name, atoms in given:
        try:
            level.check(atoms)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
    return given


def starting_structures(
    given: Sequence[tuple[str, ase.Atoms]],
    settings: Learn,
    store: LabelStore,
    path: Path,
    show: Show,
) -> list[ase.Atoms]:
    """Structures and their conformers, relaxed at the level of theory unless that is not asked for.

    Args:
        given: structures, each with its name.
        settings: how many conformers of each, and whether they are relaxed.
        store: the level of theory.
        path: where they are kept.
        show: called with what is being done.

    Raises:
        RunError: no conformer of a structure can be labelled.
    """
    if path.exists():
        return read_trajectory(path)
    names = [name for name, _ in given]
    drawn = [_drawn(atoms, settings) for _, atoms in given]
    found, n_done, total = [], 0, sum(map(len, drawn))
    for number, several in enumerate(drawn):
        relaxed = []
        for atoms in several:
            show("structures", n_done, total)
            n_done += 1
            try:
                relaxed.append(_start(atoms, settings.explore, store))
            except RunError as error:
                log.warning("a conformer of %s was left out: %s", names[number], error)
        if not relaxed:
            raise RunError(f"{names[number]}: no structure to begin with could be relaxed.")
        relaxed.sort(key=lambda atoms: labels(atoms)["energy"])
        for index in sorted(farthest(descriptors(relaxed), np.zeros((0, 0)), len(relaxed))):
            found.append(bare(relaxed[index]))
            found[-1].info[STRUCTURE] = number
    write(path, found)
    return read_trajectory(path)


def _drawn(atoms: ase.Atoms, settings: Learn) -> list[ase.Atoms]:
    """Conformers of a structure; the structure alone if one is asked for."""
    n_conformers = settings.explore.n_conformers
    return conformers(atoms, n_conformers, settings.seed) if n_conformers > 1 else [atoms]


def _start(atoms: ase.Atoms, explore: Exploration, store: LabelStore) -> ase.Atoms:
    """A labelled structure, relaxed if that is asked for."""
    moved = relax(atoms, store, _RELAXED) if explore.relax else atoms.copy()
    moved.calc = SinglePointCalculator(moved, **store(moved))
    return moved


def bare(atoms: ase.Atoms) -> ase.Atoms:
    """A frame without labels and momenta; of its `info` only charge and multiplicity are kept."""
    found = ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    found.info = {key: atoms.info[key] for key in ELECTRONS if key in atoms.info}
    return found


def first_frames(
    settings: Learn, starts: Sequence[ase.Atoms], store: LabelStore, show: Show
) -> list[ase.Atoms]:
    """The structures themselves, and displacements of them that differ most from each other.

    With `start = "modes"` the lowest conformer of each structure is displaced, for second
    derivatives take six calculations for each atom; the others are reached by dynamics.
    """
    explore, rng = settings.explore, np.random.default_rng(settings.seed)
    centres = starts
    if explore.start == "modes":
        lowest = {atoms.info[STRUCTURE]: atoms for atoms in reversed(starts)}
        centres = list(lowest.values())
    n_each = -(-_DRAWN * explore.n_initial // len(centres))
    drawn = []
    for start in centres:
        for step in _steps(explore, start, store, n_each, rng, show):
            moved = start.copy()
            moved.positions += step
            if not broken(moved, start):
                drawn.append(moved)
    both = descriptors([*starts, *drawn])
    known, others = both[: len(starts)], both[len(starts) :]
    n_others = explore.n_initial - len(starts)
    copies = [start.copy() for start in starts]
    return [*copies, *(drawn[n] for n in farthest(others, known, n_others))]


def _steps(
    explore: Exploration,
    start: ase.Atoms,
    store: LabelStore,
    n_frames: int,
    rng: np.random.Generator,
    show: Show,
) -> np.ndarray:
    """Displacements in Å of all atoms, a frame each."""
    if explore.start == "random":
        return explore.displacement * rng.standard_normal((n_frames, len(start), 3))
    moved = displaced(start)
    found = store.label(moved, lambda n: show("second derivatives", n, len(moved)))
    if found.failures:
        reason = next(iter(found.failures.values()))
        raise RunError(f"the second derivatives of a structure failed: {reason}")
    hessian = hessian_by_differences(start, store)
    return normal_mode_displacements(start, hessian, explore.temperature(1), n_frames, rng)
