"""The control: classical invariants of the same densities, without any circuit."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import check_at_least
from .._types import Energies
from ..atoms.graph import Graph
from .density import AbstractLocal, Density
from .local import Network


class Classical(AbstractLocal):
    r"""Energy of an atom from scalar products of channels of its density.

    $$ u_i = b + c\cdot x_i + \mathrm{MLP}(x_i), \qquad
       x = \big(s_a,\; v_a\cdot v_b,\; \mathrm{tr}\, Q_a Q_b\big)_{a \le b} $$

    with channels $s$, $v$, $Q$ that are sums of the moments of `Density`, as in `Local`: what a
    circuit has to be better than. Without hidden units it is linear in the invariants.
    """

    embedding: Float[Array, "n_species n_kinds"]
    scalars: Float[Array, "n_features n_channels"]
    vectors: Float[Array, "n_features n_channels"]
    quadrupoles: Float[Array, "n_features n_channels"]
    readout: Float[Array, "n_species n_invariants"]
    bias: Float[Array, " n_species"]
    network: Network | None
    density: Density = eqx.field(static=True)

    def __init__(
        self,
        elements: Sequence[str],
        n_channels: int = 16,
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
            cutoff: distance in Å from which on atoms do not see each other.
            n_basis: radial functions.
            n_kinds: kinds of neighbours, see `Local`.
            n_hidden: hidden units; 0 makes the model linear in its invariants.
            key: of the random start.

        Raises:
            InputError: an element is unknown or named twice, or a number is out of range.
        """
        check_at_least("n_channels", n_channels, 1)
        check_at_least("n_kinds", n_kinds, 0)
        check_at_least("n_hidden", n_hidden, 0)
        self.density = Density(tuple(elements), float(cutoff), n_basis)
        keys = iter(jax.random.split(key, 6))
        self.embedding = self.density.start(n_kinds, next(keys))
        n_species, n_features = len(elements), self.density.n_features(self.embedding.shape[1])
        self.scalars, self.vectors, self.quadrupoles = (
            0.3 * jax.random.normal(next(keys), (n_features, n_channels)) for _ in range(3)
        )
        n_invariants = n_channels + n_channels * (n_channels + 1)
        width = 0.3 / np.sqrt(n_invariants)
        self.readout = width * jax.random.normal(next(keys), (n_species, n_invariants))
        self.bias = jnp.zeros(n_species)
        self.network = (
            Network(n_invariants, n_hidden, n_species, key=next(keys)) if n_hidden else None
        )

    def __call__(self, graph: Graph) -> Energies:
        density = self.density
        species, edges = density.species(graph), density.edges(graph)
        moments = density.moments(graph, edges, species, species @ self.embedding)
        scalars, n = moments.scalars @ self.scalars, self.scalars.shape[1]
        vectors = moments.vectors @ self.vectors
        quadrupoles = moments.quadrupoles @ self.quadrupoles
        twice = np.array([1, 2, 2, 1, 2, 1], np.float32)  # off-diagonal entries occur twice
        first, second = np.triu_indices(n)
        products = jnp.einsum("ixa,ixb->iab", vectors, vectors)
        contractions = jnp.einsum("ixa,ixb->iab", quadrupoles * twice[:, None], quadrupoles)
        pairs = (products[:, first, second], contractions[:, first, second])
        invariants = jnp.concatenate([scalars, *pairs], axis=-1)
        energies = (invariants * (species @ self.readout)).sum(-1) + species @ self.bias
        if self.network is not None:
            energies += self.network(invariants, species)
        return energies

    def config(self) -> dict[str, Any]:
        return {
            "kind": "classical",
            "elements": list(self.density.elements),
            "n_channels": self.scalars.shape[1],
            "cutoff": self.density.cutoff,
            "n_basis": self.density.n_basis,
            "n_kinds": self.embedding.shape[1],
            "n_hidden": 0 if self.network is None else self.network.shift.shape[1],
        }
