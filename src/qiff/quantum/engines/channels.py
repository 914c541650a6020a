r"""Channels of densities: products of the moments of atoms with the weights of their elements.

$$ Y_{a m k} = \sum_f M_{a m f}\, W_{g_a f k} $$

for the rows $m$ and the channels $k$ of every rank, whose angles the gates of a circuit read.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Shape = tuple[tuple[int, int], ...]
"""Of every rank, the rows and the channels."""


def channels(
    moments: Float[Array, "n_atoms n_rows n_features"],
    weights: Float[Array, "n_groups n_features n_channels"],
    groups: Int[Array, " n_atoms"],
    shape: Shape,
) -> Float[Array, "n_atoms n_entries"]:
    """Channels of all ranks one after the other, by plain JAX operations.

    Args:
        moments: rows of all ranks one after the other.
        weights: channels of all ranks one after the other.
        groups: of each atom, whose weights it has; -1 for none and channels that are zero.
        shape: rows and channels of the ranks.
    """
    n_atoms, _, n_features = moments.shape
    n_weights = len(weights) * n_features
    belongs = jax.nn.one_hot(groups, len(weights), dtype=moments.dtype)
    found, row, channel = [], 0, 0
    for n_rows, n_channels in shape:
        part = moments[:, row : row + n_rows, None] * belongs[:, None, :, None]
        of_rank = weights[..., channel : channel + n_channels].reshape(n_weights, n_channels)
        product = part.reshape(n_atoms * n_rows, n_weights) @ of_rank
        found.append(product.reshape(n_atoms, n_rows * n_channels))
        row, channel = row + n_rows, channel + n_channels
    return jnp.concatenate(found, axis=-1)
