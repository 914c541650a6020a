"""The batches of a fit: configurations of similar size, in a new order in every epoch."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from ..atoms.frames import Frames, cut
from ..atoms.graph import Size, sizes

PIECE = 32
"""Configurations that are validated at a time."""
LARGEST = 1 << 26
"""Bytes of the batches that are put on the devices at a time, unless one batch is larger."""
MOST_GROUPS, _SAVED, _FEWEST = 5, 0.1, 4
"""Groups of configurations at most; share of the work that another one saves, and batches in it."""
_OF_ATOM = 16  # neighbours whose work is that of the circuits of an atom


class Group(NamedTuple):
    """Configurations of similar size, whose batches have little padding.

    Args:
        indices: of the configurations, in their order.
        size: what the largest of them needs.
    """

    indices: Int[np.ndarray, " n_frames"]
    size: Size


class Batches:
    """All batches of a fit: a function of the configurations, a seed and the step alone.

    In every epoch the configurations of each group are in a new order, cut into batches of equal
    size; what remains is left out. The batches of all groups follow each other at random.
    """

    def __init__(self, frames: Frames, batch_size: int, seed: int):
        """
        Args:
            frames: labelled configurations.
            batch_size: configurations of a batch; all of them if there are fewer.
            seed: of the order.
        """
        self.frames, self.seed = frames, seed
        self.batch_size = min(batch_size, len(frames))
        self.groups = groups(frames, self.batch_size)

    def order(self, begin: int, end: int) -> list[tuple[int, Int[np.ndarray, " size"]]]:
        """Group and configurations of each of the steps `begin` to `end`."""
        size = self.batch_size
        per_epoch = sum(len(group.indices) // size for group in self.groups)
        found = []
        for epoch in range(begin // per_epoch, -(-end // per_epoch)):
            random = np.random.default_rng([self.seed, epoch])
            batches = [
                (number, batch)
                for number, group in enumerate(self.groups)
                for batch in _divided(random.permutation(group.indices), size)
            ]
            if len(self.groups) > 1:
                batches = [batches[i] for i in random.permutation(len(batches))]
            found += batches
        offset = begin // per_epoch * per_epoch
        return found[begin - offset : end - offset]

    def between(
        self, begin: int, end: int, most: int
    ) -> Iterator[tuple[Int[np.ndarray, " n_steps"], Frames]]:
        """Steps `begin` to `end`, some at a time, and their batches, whose axis comes first.

        Few shapes occur, since a program is compiled for each: batches of several groups come one
        by one, and otherwise as many as `steps_at_once` says.

        Args:
            begin, end: the steps.
            most: steps at a time at most.
        """
        order = self.order(begin, end)
        n_steps = 1
        if len(self.groups) == 1:
            n_steps = steps_at_once(self.frames, self.batch_size, most)
        for first in range(begin, end, n_steps):
            steps = np.arange(first, min(first + n_steps, end))
            number, _ = order[first - begin]
            indices = np.array([order[step - begin][1] for step in steps])
            yield steps, cut(taken(self.frames, indices), self.groups[number].size)


def _divided(indices: Int[np.ndarray, " n"], size: int) -> Int[np.ndarray, "n_batches size"]:
    return indices[: len(indices) // size * size].reshape(-1, size)


def groups(frames: Frames, batch_size: int) -> Sequence[Group]:
    """Configurations by size, in as few groups as leave little padding; all in one if alike.

    The work of a configuration grows as $n(m + c)$ with the atoms $n$ and neighbours $m$ that it
    has room for. A group is divided where that saves most, as long as it saves a tenth of all.

    Args:
        frames: labelled configurations.
        batch_size: configurations of a batch; a group has several batches.
    """
    n_atoms, n_neighbours = sizes(frames.graph)
    work = _work(n_atoms, n_neighbours)
    order = np.argsort(work, kind="stable")
    found, fewest = [order], _FEWEST * batch_size
    while len(found) < MOST_GROUPS:
        divisions = [_division(n_atoms[own], n_neighbours[own], fewest) for own in found]
        largest = max(range(len(found)), key=lambda number: divisions[number][0])
        saved, place = divisions[largest]
        if saved < _SAVED * sum(_padded(n_atoms[own], n_neighbours[own]) for own in found):
            break
        own = found[largest]
        found[largest : largest + 1] = [own[:place], own[place:]]
    if len(found) == 1:
        _, n_rows, n_columns = frames.graph.mask.shape
        return [Group(np.sort(order), Size(n_rows, n_columns))]
    return [
        Group(np.sort(own), Size(int(n_atoms[own].max()), int(n_neighbours[own].max())))
        for own in found
    ]


def _work(n_atoms: np.ndarray, n_neighbours: np.ndarray) -> np.ndarray:
    return n_atoms * (n_neighbours + _OF_ATOM)


def _padded(n_atoms: np.ndarray, n_neighbours: np.ndarray) -> int:
    """Work of all configurations of a group."""
    return int(len(n_atoms) * _work(n_atoms.max(), n_neighbours.max()))


def _division(n_atoms: np.ndarray, n_neighbours: np.ndarray, fewest: int) -> tuple[int, int]:
    """Where to divide a group that is sorted by work, and what that saves."""
    n = len(n_atoms)
    places = np.arange(fewest, n - fewest + 1)
    if not len(places):
        return 0, 0
    largest = np.maximum.accumulate
    below = _work(largest(n_atoms), largest(n_neighbours))[places - 1]
    above = _work(largest(n_atoms[::-1]), largest(n_neighbours[::-1]))[::-1][places]
    saved = _padded(n_atoms, n_neighbours) - places * below - (n - places) * above
    best = int(saved.argmax())
    return int(saved[best]), int(places[best])


def taken(frames: Frames, indices: Int[np.ndarray, "..."]) -> Frames:
    """The configurations of some indices, whose axes come first."""
    return jax.tree.map(lambda values: np.asarray(values)[indices], frames)


def steps_at_once(frames: Frames, size: int, most: int) -> int:
    """How many batches of a size are put on the devices at a time: a divisor of `most`."""
    of_one = sum(values.nbytes for values in jax.tree.leaves(frames)) // len(frames)
    limit = LARGEST // (size * of_one)
    return max(n for n in range(1, most + 1) if most % n == 0 and (n <= limit or n == 1))


def pieces(frames: Frames) -> Iterator[Frames]:
    """All configurations, as many at a time: `PIECE`, or all if there are fewer.

    The last ones are completed with copies of the first without labels, which do not count.
    """
    size = min(PIECE, len(frames))
    for begin in range(0, len(frames), size):
        indices = np.arange(begin, begin + size)
        absent = indices >= len(frames)
        found = taken(frames, np.where(absent, 0, indices))
        for values in found.labels.values():
            values[absent] = np.nan
        yield found
