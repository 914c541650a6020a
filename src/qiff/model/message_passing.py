"""Message passing: circuits of atoms in several interactions, and energies from their features."""

import abc
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import check_at_least
from .._types import Energies
from ..atoms.graph import Graph
from .density import Density, Moments

N_MESSAGES = 4
"""Numbers, and vectors, that an atom tells its neighbours, unless said otherwise."""


class AtomFeatures(NamedTuple):
    """What the circuits of a round say of each atom: numbers, and vectors that turn with it."""

    invariants: Float[Array, "n_atoms n_invariants"]
    vectors: Float[Array, "n_atoms 3 n_vectors"]


class AbstractInteraction(eqx.Module):
    """What is measured on every atom, given the density around it."""

    @property
    @abc.abstractmethod
    def n_invariants(self) -> int:
        """Numbers measured on every atom."""

    @property
    @abc.abstractmethod
    def n_vectors(self) -> int:
        """Vectors measured on every atom."""

    @abc.abstractmethod
    def __call__(
        self, moments: Moments, species: Float[Array, "n_atoms n_species"]
    ) -> AtomFeatures:
        """The measurements, invariant and turning with the atoms."""


class MessagePassing(eqx.Module):
    r"""Energies of atoms from measurements $x$ of one round or several.

    $$ u_i = b_{z_i} + c_{z_i}\cdot x_i + \mathrm{MLP}(x_i) $$

    In the first round a neighbour counts as its element. Between rounds atoms tell their neighbours
    sums of what was measured on them, by which these are counted in the next; $x$ are the
    invariants of all rounds.
    """

    embedding: Float[Array, "n_species n_embedding"]
    interactions: tuple[AbstractInteraction, ...]
    messages: "tuple[Message, ...]"
    readout: Float[Array, "n_species n_read"]
    bias: Float[Array, " n_species"]
    network: "Network | None"

    def __init__(
        self,
        density: Density,
        make: Callable[[int, PRNGKeyArray], AbstractInteraction],
        n_interactions: int,
        n_messages: int,
        n_embedding: int,
        n_hidden: int,
        *,
        key: PRNGKeyArray,
    ):
        """
        Args:
            density: what atoms see.
            make: a round, from the number of features of the density and a key.
            n_interactions, n_messages, n_embedding, n_hidden: see `Local`.
            key: of the random start.

        Raises:
            InputError: a number is out of range.
        """
        check_at_least("n_interactions", n_interactions, 1)
        check_at_least("n_messages", n_messages, 1)
        check_at_least("n_embedding", n_embedding, 0)
        check_at_least("n_hidden", n_hidden, 0)
        keys = iter(jax.random.split(key, 2 * n_interactions + 4))
        self.embedding = density.start(n_embedding, next(keys))
        n_species, n_embedding = self.embedding.shape
        counts = (n_embedding, *[n_embedding + 2 * n_messages] * (n_interactions - 1))
        self.interactions = tuple(make(density.n_features(count), next(keys)) for count in counts)
        self.messages = tuple(
            Message(r, n_messages, key=next(keys)) for r in self.interactions[:-1]
        )
        n_read = sum(r.n_invariants for r in self.interactions)
        self.readout = jax.random.normal(next(keys), (n_species, n_read)) * 0.3 / np.sqrt(n_read)
        self.bias = jnp.zeros(n_species)
        self.network = Network(n_read, n_hidden, n_species, key=next(keys)) if n_hidden else None

    def __call__(self, density: Density, graph: Graph) -> Energies:
        """Energy of each atom."""
        species, edges = density.species(graph), density.edges(graph)
        element = species @ self.embedding
        first, *later = self.interactions
        measured = [first(density.moments(graph, edges, species, element), species)]
        for message, measure in zip(self.messages, later, strict=True):
            scalars, vectors = message(measured[-1])
            scalars = jnp.concatenate([element, scalars], axis=-1)
            moments = density.moments(graph, edges, species, scalars, vectors)
            measured.append(measure(moments, species))
        invariants = jnp.concatenate([found.invariants for found in measured], axis=-1)
        energies = (invariants * (species @ self.readout)).sum(-1) + species @ self.bias
        return energies + self.network(invariants, species) if self.network else energies

    def config(self) -> dict[str, int]:
        """The arguments from which it was made."""
        return {
            "n_interactions": len(self.interactions),
            "n_messages": self.messages[0].scalars.shape[1] if self.messages else N_MESSAGES,
            "n_embedding": self.embedding.shape[1],
            "n_hidden": self.network.shift.shape[1] if self.network else 0,
        }


class Message(eqx.Module):
    """What an atom tells its neighbours: sums of what was measured on it."""

    scalars: Float[Array, "n_invariants n_messages"]
    vectors: Float[Array, "n_vectors n_messages"]

    def __init__(self, measured: AbstractInteraction, n_messages: int, *, key: PRNGKeyArray):
        first, second = jax.random.split(key)
        n_invariants, n_vectors = measured.n_invariants, measured.n_vectors
        scalars = jax.random.normal(first, (n_invariants, n_messages))
        vectors = jax.random.normal(second, (n_vectors, n_messages))
        self.scalars, self.vectors = scalars / np.sqrt(n_invariants), vectors / np.sqrt(n_vectors)

    def __call__(
        self, measured: AtomFeatures
    ) -> tuple[Float[Array, "n_atoms n_messages"], Float[Array, "n_atoms 3 n_messages"]]:
        """Numbers and vectors of each atom."""
        return measured.invariants @ self.scalars, measured.vectors @ self.vectors


class Network(eqx.Module):
    r"""One hidden layer, $a_z\cdot\mathrm{silu}(W x + c_z)$, of the invariants $x$ of an atom."""

    hidden: Float[Array, "n_invariants n_hidden"]
    shift: Float[Array, "n_species n_hidden"]
    readout: Float[Array, "n_species n_hidden"]

    def __init__(self, n_invariants: int, n_hidden: int, n_species: int, *, key: PRNGKeyArray):
        first, second = jax.random.split(key)
        self.hidden = jax.random.normal(first, (n_invariants, n_hidden)) / np.sqrt(n_invariants)
        self.shift = jnp.zeros((n_species, n_hidden))
        self.readout = 0.1 * jax.random.normal(second, (n_species, n_hidden)) / np.sqrt(n_hidden)

    def __call__(
        self,
        invariants: Float[Array, "n_atoms n_invariants"],
        species: Float[Array, "n_atoms n_species"],
    ) -> Energies:
        hidden = jax.nn.silu(invariants @ self.hidden + species @ self.shift)
        return (hidden * (species @ self.readout)).sum(-1)
