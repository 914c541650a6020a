"""The order in which configurations are trained on."""

import numpy as np
from jaxtyping import Int


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
