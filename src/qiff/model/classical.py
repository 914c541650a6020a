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
from .density import AbstractLocal, Density, Moments
from .rounds import N_MESSAGES, AbstractRound, Measured, Rounds


class Classical(AbstractLocal):
    r"""Energy of an atom from scalar products of channels of its density.

    $$ x = \big(s_a,\; v_a\cdot v_b,\; \mathrm{tr}\, Q_a Q_b\big)_{a \le b} $$

    with channels $s$, $v$, $Q$ that are sums of the moments of `Density`; read-out, messages and
    network are those of `Rounds`: the pipeline of `Local` with products in the place of circuits,
    which these have to be better than. Without hidden units it is linear in the invariants.
    """

    rounds: Rounds
    density: Density = eqx.field(static=True)

    def __init__(
        self,
        elements: Sequence[str],
        n_channels: int = 16,
        n_rounds: int = 1,
        n_messages: int = N_MESSAGES,
        cutoff: float = 5.0,
        n_basis: int = 8,
        n_kinds: int = 0,
        n_hidden: int = 32,
        *,
        key: PRNGKeyArray,
    ):
        """
        Args:
            elements: chemical symbols that may occur.
            n_channels: of each multipole.
            n_rounds, n_messages: see `Local`.
            cutoff: distance in Å from which on atoms do not see each other.
            n_basis: radial functions.
            n_kinds: kinds of neighbours, see `Local`.
            n_hidden: hidden units; 0 makes the model linear in its invariants.
            key: of the random start.

        Raises:
            InputError: an element is unknown or named twice, or a number is out of range.
        """
        check_at_least("n_channels", n_channels, 1)
        self.density = Density(tuple(elements), float(cutoff), n_basis)
        make = partial(Products, n_channels)
        self.rounds = Rounds(self.density, make, n_rounds, n_messages, n_kinds, n_hidden, key=key)

    def __call__(self, graph: Graph) -> Energies:
        return self.rounds(self.density, graph)

    def config(self) -> dict[str, Any]:
        products: Any = self.rounds.rounds[0]
        return {
            "kind": "classical",
            **self.density.config(),
            **self.rounds.config(),
            "n_channels": products.n_vectors,
        }


class Products(AbstractRound):
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

    def __call__(self, moments: Moments, species: Float[Array, "n_atoms n_species"]) -> Measured:
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
        return Measured(invariants, vectors)
