"""The order in which configurations are trained on, and the configurations of a batch."""

from collections.abc import Iterator

import jax
import numpy as np
from jaxtyping import Int

from ..atoms.frames import Frames

PIECE = 32
"""Configurations that are validated at a time."""
LARGEST = 1 << 26
"""Bytes of the batches that are put on the devices at a time, unless one batch is larger."""


def batches(
    n_frames: int, batch_size: int, seed: int, begin: int, end: int
) -> Int[np.ndarray, "n_steps size"]:
    """Indices of the batches of steps `begin` to `end`: a function of seed and step alone.

    Every epoch is a new permutation, cut into batches of equal size; what remains is left out.
    """
    size = min(batch_size, n_frames)
    per_epoch = n_frames // size
    epochs = range(begin // per_epoch, -(-end // per_epoch))
    order = [
        np.random.default_rng([seed, epoch]).permutation(n_frames)[: per_epoch * size]
        for epoch in epochs
    ]
    offset = begin - epochs.start * per_epoch
    return np.concatenate(order).reshape(-1, size)[offset : offset + end - begin]


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
