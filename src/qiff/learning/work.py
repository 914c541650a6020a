"""What the steps of active learning share: settings, files, labels and the time they took."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import ase
import numpy as np

from ..atoms.properties import labels
from ..labelling.store import LabelStore
from ..run.folder import log
from .folder import LearnFolder, frames_in
from .settings import Learn
from .show import Show


@dataclass(frozen=True)
class Work:
    """What every step of the loop needs.

    Args:
        settings: what to do.
        folder: where everything is kept.
        store: the level of theory.
        show: called with what is being done, how much of it is done, and of how much.
        seconds: spent since the last generation was finished, by kind of work.
    """

    settings: Learn
    folder: LearnFolder
    store: LabelStore
    show: Show
    seconds: dict[str, float] = field(default_factory=dict)

    def labelled(self, frames: Sequence[ase.Atoms], what: str) -> list[ase.Atoms]:
        """Labelled copies of the frames that could be labelled; the others are named in the log."""
        if not frames:
            return []
        found = self.store.label(frames, lambda done: self.show(what, done, len(frames)))
        for index, reason in found.failures.items():
            log.warning("%s: frame %d could not be labelled: %s", what, index, reason)
        return found.frames

    def learned(self) -> list[ase.Atoms]:
        """Labelled frames to learn from, of all generations so far."""
        paths = sorted(self.folder.path.glob("generation-*/selected.xyz"))
        largest = self.settings.select.largest_force
        return [
            atoms
            for path in paths
            for atoms in frames_in(path)
            if np.abs(labels(atoms)["forces"]).max() <= largest
        ]

    def checked(self) -> list[ase.Atoms]:
        """Labelled frames that are never learned from, of all generations so far."""
        paths = sorted(self.folder.path.glob("generation-*/checked.xyz"))
        return [atoms for path in paths for atoms in frames_in(path)]

    def affordable(self) -> int:
        """Labels that may still be spent before the final validation."""
        left = self.settings.label.budget - len(self.store)
        return max(0, left - self.settings.targets.n_validated)

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """A context whose time is added to that of a kind of work."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0) + time.perf_counter() - begin

    def total_seconds(self) -> dict[str, float]:
        """By kind of work, of all generations and what follows."""
        total: dict[str, float] = dict(self.seconds)
        for generation in self.folder.generations():
            for what, seconds in generation.record["seconds"].items():
                total[what] = total.get(what, 0.0) + seconds
        return {what: round(seconds, 1) for what, seconds in total.items()}

    def hours(self) -> float:
        """All time so far."""
        return sum(self.total_seconds().values()) / 3600
