"""The control: classical invariants of the same densities, without any circuit."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import check_at_least
from .._types import Energies
from ..atoms.graph import Graph
from .density import AbstractLocalPotential, Density, Moments
from .message_passing import N_MESSAGES, AbstractInteraction, AtomFeatures, MessagePassing


class Classical(AbstractLocalPotential):
    r"""Energy of an atom from scalar products of channels of its density.

    $$ x = \big(s_a,\; v_a\cdot v_b,\; \mathrm{tr}\, Q_a Q_b\big)_{a \le b} $$

    with channels $s$, $v$, $Q$ that are sums of the moments of `Density`; read-out, messages and
    network are those of `MessagePassing`: the pipeline of `Local` with products in the place of
    circuits. Without hidden units it is linear in the invariants.
    """

    message_passing: MessagePassing
    density: Density = eqx.field(static=True)

    def __init__(
        self,
        elements: Sequence[str],
        n_channels: int = 16,
        n_interactions: int = 1,
        n_messages: int = N_MESSAGES,
        cutoff: float = 5.0,
        n_basis: int = 8,
        n_embedding: int = 0,
        n_hidden: int = 32,
        *,
        key: PRNGKeyArray,
    ):
        """
        Args:
            elements: chemical symbols that may occur.
            n_channels: of each multipole.
            n_interactions, n_messages: see `Local`.
            cutoff: distance in Å from which on atoms do not see each other.
            n_basis: radial functions.
            n_embedding: kinds of neighbours, see `Local`.
            n_hidden: hidden units; 0 makes the model linear in its invariants.
            key: of the random start.

        Raises:
            InputError: an element is unknown or named twice, or a number is out of range.
        """
        check_at_least("n_channels", n_channels, 1)
        self.density = Density(tuple(elements), float(cutoff), n_basis)
        make = partial(ProductInteraction, n_channels)
        self.message_passing = MessagePassing(
            self.density, make, n_interactions, n_messages, n_embedding, n_hidden, key=key
        )

    def __call__(self, graph: Graph) -> Energies:
        return self.message_passing(self.density, graph)

    def config(self) -> dict[str, Any]:
        products: Any = self.message_passing.interactions[0]
        return {
            "kind": "classical",
            **self.density.config(),
            **self.message_passing.config(),
            "n_channels": products.n_vectors,
        }


class ProductInteraction(AbstractInteraction):
    """Scalar products of channels of the density: see `Classical`."""

    scalars: Float[Array, "n_features n_channels"]
    vectors: Float[Array, "n_features n_channels"]
    quadrupoles: Float[Array, "n_features n_channels"]

    def __init__(self, n_channels: int, n_features: int, key: PRNGKeyArray):
        self.scalars, self.vectors, self.quadrupoles = (
            0.3 * jax.random.normal(k, (n_features, n_channels)) for k in jax.random.split(key, 3)
        )

    @property
    def n_vectors(self) -> int:
        """Channels of vectors."""
        return self.vectors.shape[1]

    @property
    def n_invariants(self) -> int:
        """Channels of scalars, and pairs of channels of vectors and of quadrupoles."""
        return self.n_vectors * (self.n_vectors + 2)

    def __call__(
        self, moments: Moments, species: Float[Array, "n_atoms n_species"]
    ) -> AtomFeatures:
        vectors, quadrupoles = (
            moments.vectors @ self.vectors,
            moments.quadrupoles @ self.quadrupoles,
        )
        twice = np.array([1, 2, 2, 1, 2, 1], np.float32)[:, None]  # off-diagonal entries
        first, second = np.triu_indices(self.n_vectors)
        products = jnp.einsum("ixa,ixb->iab", vectors, vectors)
        contractions = jnp.einsum("ixa,ixb->iab", quadrupoles * twice, quadrupoles)
        pairs = (products[:, first, second], contractions[:, first, second])
        invariants = jnp.concatenate([moments.scalars @ self.scalars, *pairs], axis=-1)
        return AtomFeatures(invariants, vectors)
