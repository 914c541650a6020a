"""The classical control: invariants of the same densities, without any circuit."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import check_size
from ..quantum.engine import XLA
from .message_passing import (
    AbstractInteraction,
    AbstractMessagePassingPotential,
    AtomFeatures,
    MessagePassing,
    MessagePassingSettings,
    channels,
)
from .multipoles import RANKS, Moments


@dataclass(frozen=True, kw_only=True)
class ClassicalSettings(MessagePassingSettings):
    """Settings of `Classical`.

    Args:
        n_channels: channels of each rank.

    Raises:
        InputError: a number is out of range.
    """

    kind: str = "classical"
    n_channels: int = 16
    n_hidden: int = 32

    def __post_init__(self):
        super().__post_init__()
        check_size("n_channels", self.n_channels, 1)


class Classical(AbstractMessagePassingPotential):
    r"""Energy of an atom from scalar products of channels of its density.

    $$ x = \big(s_a,\; v_a\cdot v_b,\; \mathrm{tr}\, Q_a Q_b\big)_{a \le b} $$

    with channels $s$, $v$, $Q$ that are sums of the moments of `Density`; read-out, messages and
    network are those of `MessagePassing`: as `Local`, with products in place of circuits. Without
    hidden units it is linear in the invariants.
    """

    Settings: ClassVar = ClassicalSettings
    message_passing: MessagePassing
    settings: ClassicalSettings = eqx.field(static=True)

    def __init__(self, settings: ClassicalSettings, *, key: PRNGKeyArray):
        """
        Args:
            settings: the hyper-parameters.
            key: of the random initial weights.
        """
        self.settings = settings
        make = partial(ProductInteraction, settings.n_channels)
        self.message_passing = MessagePassing(settings, make, key=key)


class ProductInteraction(AbstractInteraction):
    """Scalar products of channels of the density: see `Classical`.

    `channels[l]` are the weights of the channels of rank `l`.
    """

    channels: tuple[Float[Array, "n_features n_channels"], ...]

    def __init__(self, n_channels: int, n_features: int, key: PRNGKeyArray):
        self.channels = tuple(
            0.3 * jax.random.normal(own, (n_features, n_channels))
            for own in jax.random.split(key, len(RANKS))
        )

    @property
    def engine(self) -> str:
        return XLA

    @property
    def n_vectors(self) -> int:
        """Channels of rank 1."""
        return self.channels[1].shape[1]

    @property
    def n_invariants(self) -> int:
        """Channels of rank 0, and pairs of channels of each higher rank."""
        n = self.n_vectors
        return n + (len(RANKS) - 1) * n * (n + 1) // 2

    def __call__(
        self, moments: Moments, species: Float[Array, "n_atoms n_species"]
    ) -> AtomFeatures:
        sets = tuple(weights[None] for weights in self.channels)
        sizes = [(own.shape[-1], rank.n_components) for own, rank in zip(sets, RANKS, strict=True)]
        n_places = [n * rows for n, rows in sizes]
        ends = np.cumsum([0, *n_places])
        places = [
            end + np.arange(n * rows).reshape(rows, n).T
            for end, (n, rows) in zip(ends, sizes, strict=False)
        ]
        parts = channels(moments, sets, species, places, n_places)
        by_rank = [
            part[..., 0].T.reshape(-1, rows, n)
            for part, (n, rows) in zip(parts, sizes, strict=True)
        ]
        first, second = np.triu_indices(self.n_vectors)
        products = [by_rank[0][:, 0]]
        for rank, found in zip(RANKS[1:], by_rank[1:], strict=True):
            weights = np.array(rank.weights, found.dtype)[:, None]
            contracted = jnp.einsum("ixa,ixb->iab", found * weights, found)
            products.append(contracted[:, first, second])
        return AtomFeatures(jnp.concatenate(products, axis=-1), by_rank[1])
