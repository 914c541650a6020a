"""Message passing: interactions that measure features of atoms, messages, and a read-out."""

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._checks import check_size
from .._types import Energies
from ..atoms.graph import Graph
from ..quantum.engine import XLA, choose
from ..quantum.engines.channels import Places
from ..quantum.engines.record import Engine
from .blocks import by_blocks
from .density import AbstractLocalPotential, Density, neighbour_vectors, one_hot
from .multipoles import Moments


class AtomFeatures(NamedTuple):
    """Invariants of each atom, and vectors that rotate with the configuration."""

    invariants: Float[Array, "n_atoms n_invariants"]
    vectors: Float[Array, "n_atoms 3 n_vectors"]


class AbstractInteraction(eqx.Module):
    """From the density around every atom to features of the atom."""

    @property
    @abc.abstractmethod
    def engine(self) -> str | Engine:
        """What computes the moments of the density and their channels."""

    @property
    @abc.abstractmethod
    def n_invariants(self) -> int:
        """Invariants of every atom."""

    @property
    @abc.abstractmethod
    def n_vectors(self) -> int:
        """Vectors of every atom."""

    @abc.abstractmethod
    def __call__(
        self, moments: Moments, species: Float[Array, "n_atoms n_species"]
    ) -> AtomFeatures:
        """The features, invariant and equivariant under rotations and reflections."""


@dataclass(frozen=True, kw_only=True)
class MessagePassingSettings:
    """Settings that all potentials with message passing between atoms have in common.

    Args:
        elements: chemical symbols that may occur.
        cutoff: radius in Å beyond which atoms do not see each other.
        n_basis: radial functions.
        n_interactions: how often features are formed; from the second on, neighbours are weighted
            by messages that are made of their features.
        n_messages: scalars, and vectors, in a message.
        n_embedding: size of the embedding of a neighbour's element: with many elements a few, so
            that the weights grow with their number and not with that of their pairs; 0 for as
            many as elements.
        n_hidden: hidden units of a network that reads the invariants too; 0 for none.

    Raises:
        InputError: an element is unknown or named twice, or a number is out of range.
    """

    elements: tuple[str, ...]
    cutoff: float = 5.0
    n_basis: int = 8
    n_interactions: int = 1
    n_messages: int = 4
    n_embedding: int = 0
    n_hidden: int = 0

    def __post_init__(self):
        check_size("n_interactions", self.n_interactions, 1)
        check_size("n_messages", self.n_messages, 1)
        check_size("n_embedding", self.n_embedding, 0)
        check_size("n_hidden", self.n_hidden, 0)
        _ = self.density

    @property
    def density(self) -> Density:
        """What atoms see of their neighbours."""
        return Density(self.elements, self.cutoff, self.n_basis)


class MessagePassing(eqx.Module):
    r"""Energies of atoms from the invariants $x$ of one or several interactions.

    $$ u_i = b_{z_i} + c_{z_i}\cdot x_i + \mathrm{MLP}(x_i) $$

    In the first interaction a neighbour is weighted by an embedding of its element. Between
    interactions every atom forms a message, linear in its features; in the next, neighbours are
    weighted by their messages too. $x$ are the invariants of all interactions.
    """

    embedding: Float[Array, "n_species n_embedding"]
    interactions: tuple[AbstractInteraction, ...]
    messages: "tuple[Message, ...]"
    readout: Float[Array, "n_species n_read"]
    bias: Float[Array, " n_species"]
    network: "Network | None"

    def __init__(
        self,
        settings: MessagePassingSettings,
        make: Callable[[int, PRNGKeyArray], AbstractInteraction],
        *,
        key: PRNGKeyArray,
    ):
        """
        Args:
            settings: the sizes.
            make: an interaction, from the number of features of the density and a key.
            key: of the random initial weights.
        """
        density, n, n_messages = settings.density, settings.n_interactions, settings.n_messages
        keys = iter(jax.random.split(key, 2 * n + 4))
        self.embedding = density.initial_embedding(settings.n_embedding, next(keys))
        n_species, n_embedding = self.embedding.shape
        n_scalars = (n_embedding, *[n_embedding + 2 * n_messages] * (n - 1))
        self.interactions = tuple(make(density.n_features(k), next(keys)) for k in n_scalars)
        self.messages = tuple(
            Message(interaction, n_messages, key=next(keys))
            for interaction in self.interactions[:-1]
        )
        n_read = sum(interaction.n_invariants for interaction in self.interactions)
        self.readout = jax.random.normal(next(keys), (n_species, n_read)) * 0.3 / np.sqrt(n_read)
        self.bias = jnp.zeros(n_species)
        self.network = None
        if settings.n_hidden:
            self.network = Network(n_read, settings.n_hidden, n_species, key=next(keys))

    def __call__(self, density: Density, graph: Graph) -> Energies:
        """Energy of each atom."""
        species = one_hot(graph, density.elements)
        apart = neighbour_vectors(graph, density.cutoff)
        atoms = species, jnp.asarray(graph.neighbours), apart
        element = species @ self.embedding

        def features_of(
            interaction: AbstractInteraction, scalars: Array, vectors: Array | None = None
        ) -> AtomFeatures:
            def of_block(species: Array, neighbours: Array, apart: Array) -> AtomFeatures:
                engine = interaction.engine
                moments = density.moments(apart, neighbours, scalars, vectors, engine)
                return interaction(moments, species)

            return by_blocks(of_block, atoms, graph.block)

        first, *later = self.interactions
        features = [features_of(first, element)]
        for message, interaction in zip(self.messages, later, strict=True):
            scalars, vectors = message(features[-1])
            scalars = jnp.concatenate([element, scalars], axis=-1)
            features.append(features_of(interaction, scalars, vectors))
        invariants = jnp.concatenate([found.invariants for found in features], axis=-1)
        energies = (invariants * (species @ self.readout)).sum(-1) + species @ self.bias
        return energies + self.network(invariants, species) if self.network else energies


class AbstractMessagePassingPotential(AbstractLocalPotential):
    """A potential of atoms with one or several interactions."""

    message_passing: eqx.AbstractVar[MessagePassing]

    def __call__(self, graph: Graph) -> Energies:
        return self.message_passing(self.settings.density, graph)

    @property
    def cutoff(self) -> float | None:
        return self.settings.cutoff

    @property
    def interaction_range(self) -> float | None:
        return self.settings.cutoff * self.settings.n_interactions


class Message(eqx.Module):
    """What an atom passes to its neighbours: sums of its features."""

    scalars: Float[Array, "n_invariants n_messages"]
    vectors: Float[Array, "n_vectors n_messages"]

    def __init__(self, interaction: AbstractInteraction, n_messages: int, *, key: PRNGKeyArray):
        first, second = jax.random.split(key)
        n_invariants, n_vectors = interaction.n_invariants, interaction.n_vectors
        scalars = jax.random.normal(first, (n_invariants, n_messages))
        vectors = jax.random.normal(second, (n_vectors, n_messages))
        self.scalars, self.vectors = scalars / np.sqrt(n_invariants), vectors / np.sqrt(n_vectors)

    def __call__(
        self, features: AtomFeatures
    ) -> tuple[Float[Array, "n_atoms n_messages"], Float[Array, "n_atoms 3 n_messages"]]:
        """Scalars and vectors of each atom."""
        return features.invariants @ self.scalars, features.vectors @ self.vectors


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


def channels(
    moments: Moments,
    weights: tuple[Float[Array, "n_sets n_features n_channels"], ...],
    species: Float[Array, "n_atoms n_species"],
    places: Sequence[Int[np.ndarray, "n_channels n_components"]],
    parts: Sequence[int],
    engine: str | Engine = XLA,
) -> list[Float[Array, "n_places n_atoms n_sets"]]:
    """Weighted sums of the features of a density, one for each channel of each set of weights.

    Args:
        moments: of the density.
        weights: of each rank; `n_features` counts those of every element of the atom.
        species: the element of each atom, see `one_hot`.
        places: of each rank, where its channels are put: every number once.
        parts: the numbers of places of the arrays that they are put in.
        engine: what computes the products.
    """
    n_features, n_species = moments.shape[-1], species.shape[1]
    of_groups = tuple(w.reshape(len(w), n_species, n_features, -1) for w in weights)
    groups = (species @ jnp.arange(1, n_species + 1, dtype=species.dtype)).astype("int32") - 1
    order = np.concatenate([of_rank.T.ravel() for of_rank in places])
    shape = tuple(of_rank.shape[::-1] for of_rank in places)
    found = Places(shape, tuple(order.tolist()), tuple(parts))
    return choose(engine).channels(moments, of_groups, groups, found)
