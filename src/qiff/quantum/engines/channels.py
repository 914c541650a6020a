r"""Channels of densities: products of the moments of atoms with the weights of their elements.

$$ Y_{p(m, k),\, a s} = \sum_f M_{a m f}\, W_{g_a f k s} $$

for the rows $m$ and the channels $k$ of every rank, each of them for every set $s$ of weights.
Gates of circuits read them as angles: $p(m, k)$ is where they do.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


class Places(NamedTuple):
    """Where channels are put.

    Args:
        shape: of every rank, the rows and the channels.
        of: $p$ for all channels of the first row, of the second, and so on, of all ranks; every
            number once.
        parts: the places of each array that they are put in, one after the other.
    """

    shape: tuple[tuple[int, int], ...]
    of: tuple[int, ...]
    parts: tuple[int, ...]


def channels(
    moments: Float[Array, "n_atoms n_rows n_features"],
    weights: Sequence[Float[Array, "n_sets n_groups n_features n_channels"]],
    groups: Int[Array, " n_atoms"],
    places: Places,
) -> list[Float[Array, "n_places n_atoms n_sets"]]:
    """Channels of all ranks, by plain JAX operations: an array of each part.

    Args:
        moments: rows of all ranks one after the other.
        weights: of each rank; of several arrays for one rank, channels follow one another.
        groups: of each atom, whose weights it has; -1 for none and channels that are zero.
        places: where the channels are put.
    """
    of_all = jnp.concatenate([jnp.moveaxis(own, 0, 3) for own in weights], axis=2)
    (n_atoms, _, n_features), (n_groups, *_, n_sets) = moments.shape, of_all.shape
    n_weights = n_groups * n_features
    belongs = jax.nn.one_hot(groups, n_groups, dtype=moments.dtype)
    found, row, channel = [], 0, 0
    for n_rows, n_channels in places.shape:
        part = moments[:, row : row + n_rows, None] * belongs[:, None, :, None]
        of_rank = of_all[:, :, channel : channel + n_channels].reshape(n_weights, -1)
        flat = part.reshape(n_atoms * n_rows, n_weights)
        product = jnp.matmul(flat, of_rank, precision="highest")  # these are angles, also on a GPU
        found.append(product.reshape(n_atoms, n_rows * n_channels, n_sets))
        row, channel = row + n_rows, channel + n_channels
    in_places = jnp.moveaxis(jnp.concatenate(found, axis=1)[:, np.argsort(places.of)], 1, 0)
    return jnp.split(in_places, np.cumsum(places.parts)[:-1])
