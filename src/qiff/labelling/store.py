"""Labels by geometry: nothing that has been computed at a level of theory is computed again."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ase

from .._files import hold
from .._workers import Map
from ..atoms.properties import labels
from .batch import Labelled, attempt
from .journal import geometry_hash, open_journal
from .level import LabelError, Level, Results


class LabelStore:
    """A level of theory with a memory in a file; also the labeller of one structure.

    A calculation that failed is kept with its reason, and fails again without being repeated.
    """

    def __init__(self, path: Path, level: Level, map: Map = map):
        """
        Args:
            path: of the journal, see `open_journal`.
            level: of theory.
            map: applies the level to several structures, see `Map`.

        Raises:
            InputError: the file is no journal, that of another level, or in use by another process.
        """
        self._level, self._map = level, map
        hold(self, path)
        self._journal = open_journal(path, level.provenance())

    def __len__(self) -> int:
        """The number of calculations so far."""
        return self._journal.n_done()

    @property
    def n_failed(self) -> int:
        """How many of them failed."""
        return len(self._journal.failures)

    @property
    def provenance(self) -> dict[str, Any]:
        """Level of theory, program and settings."""
        return self._level.provenance()

    def label(
        self, frames: Sequence[ase.Atoms], after_label: Callable[[int], None] = lambda n: None
    ) -> Labelled:
        """Labelled copies of frames, with their `info`; equal frames are computed once.

        Args:
            frames: what to label.
            after_label: called with the number of frames that are done.

        Raises:
            InputError: the level cannot describe a frame.
        """
        kept, keys = self._journal, [geometry_hash([atoms]) for atoms in frames]
        missing = kept.missing(zip(keys, frames, strict=True))
        for atoms in missing.values():
            self._level.check(atoms)
        before = kept.n_done() - (len(frames) - len(missing))
        outcomes = self._map(partial(attempt, self._level.label), missing.items())
        kept.record(len(self) + len(missing), outcomes, lambda n: after_label(n - before))
        found = [
            _with_results(atoms, kept.frames[key])
            for key, atoms in zip(keys, frames, strict=True)
            if key in kept.frames
        ]
        failures = {n: kept.failures[key] for n, key in enumerate(keys) if key in kept.failures}
        return Labelled(found, failures)

    def __call__(self, atoms: ase.Atoms) -> Results:
        """The results of one structure.

        Raises:
            LabelError: its calculation failed, now or before.
        """
        found = self.label([atoms])
        if found.failures:
            raise LabelError(found.failures[0])
        return labels(found.frames[0])


def _with_results(atoms: ase.Atoms, outcome: ase.Atoms) -> ase.Atoms:
    from ase.calculators.singlepoint import SinglePointCalculator

    found = atoms.copy()
    found.calc = SinglePointCalculator(found, **labels(outcome))
    return found
