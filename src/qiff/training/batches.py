"""The batches of a fit: configurations of similar size, in a new order in every epoch."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from ..atoms.frames import Frames, cut
from ..atoms.graph import Size, sizes
from ..atoms.groups import similar

PIECE = 32
"""Configurations that are validated at a time."""
LARGEST = 1 << 26
"""Bytes of the batches that are put on the devices at a time, unless one batch is larger."""
_FEWEST = 4  # batches of a group


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
    """Configurations by size, see `similar`; each group has several batches."""
    n_atoms, n_neighbours = sizes(frames.graph)
    found = similar(n_atoms, n_neighbours, _FEWEST * batch_size)
    if len(found) == 1:
        _, n_rows, n_columns = frames.graph.mask.shape
        return [Group(found[0], Size(n_rows, n_columns))]
    largest = lambda own: Size(int(n_atoms[own].max()), int(n_neighbours[own].max()))
    return [Group(own, largest(own)) for own in found]


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
