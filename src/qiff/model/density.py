"""Densities: the neighbours of each atom as sums of radial functions times multipoles."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase.data import atomic_numbers
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._checks import InputError, check_positive, check_size
from .._types import Numbers
from ..atoms.graph import Graph, displacements
from ..quantum.engine import XLA, choose
from ..quantum.engines.record import Engine
from .multipoles import Moments, of_directions, of_products
from .order import check_distinct, check_listed
from .potential import AbstractSinglePotential


class Edges(NamedTuple):
    """What an atom sees of each neighbour; of a masked entry the basis is zero.

    Args:
        directions: unit vectors.
        distances: in Å; of a masked entry the cutoff.
        basis: radial functions.
        multipoles: of the directions, all ranks one after the other.
    """

    directions: Float[Array, "n_atoms n_neighbours 3"]
    distances: Float[Array, "n_atoms n_neighbours"]
    basis: Float[Array, "n_atoms n_neighbours n_basis"]
    multipoles: Float[Array, "n_atoms n_neighbours n_all"]


@dataclass(frozen=True)
class Density:
    r"""The density of the neighbours $j$ of atom $i$, by their features and radius.

    $$ M^{(l)}_{i,\,k n} = \sum_j b_n(r_{ij})\, s_{jk}\, Y^{(l)}(\hat r_{ij}),
       \qquad b_n(r) = \sqrt{\tfrac{2}{r_c}}\, \frac{\sin(n\pi r/r_c)}{r}\, w(r/r_c) $$

    with the multipoles $Y^{(l)}$ of `multipoles.RANKS` and the envelope
    $w(x) = 1 - 10x^3 + 15x^4 - 6x^5$, which has two continuous derivatives at the cutoff.
    Neighbours are weighted by scalar features $s_{jk}$. For vector features $u_{jk}$ the products
    $\hat r\cdot u$, $u$ and $\tfrac12(\hat r u^T + u\hat r^T) - \tfrac13\hat r\cdot u$ take the
    place of $s\,Y$. Sums over neighbours do not depend on their order.

    Args:
        elements: chemical symbols that may occur.
        cutoff: $r_c$ in Å.
        n_basis: radial functions $n = 1, 2, \dots$

    Raises:
        InputError: an element is unknown or named twice, a number is out of range.

    Reference: the basis is that of Gasteiger et al., arXiv:2003.03123, Eq. 7.
    """

    elements: tuple[str, ...]
    cutoff: float
    n_basis: int

    def __post_init__(self):
        check_distinct(self.elements)
        check_positive("cutoff", self.cutoff)
        check_size("n_basis", self.n_basis, 1)

    def edges(
        self,
        apart: Float[Array, "n_atoms n_neighbours 3"],
        distances: Float[Array, "n_atoms n_neighbours"],
    ) -> Edges:
        """What each atom sees of each neighbour.

        Args:
            apart: displacements of the neighbours in Å, see `edge_vectors`.
            distances: their lengths; of a masked entry the cutoff or more.
        """
        unit = apart / distances[..., None]
        return Edges(unit, distances, self.basis(distances), of_directions(unit))

    def basis(
        self, distances: Float[Array, "n_atoms n_neighbours"]
    ) -> Float[Array, "n_atoms n_neighbours n_basis"]:
        """Radial functions of distances in Å, zero from the cutoff on."""
        x = jnp.minimum(distances / self.cutoff, 1.0)[..., None]
        order = jnp.arange(1, self.n_basis + 1, dtype=x.dtype)
        waves = jnp.sin(np.pi * order * x) / distances[..., None]
        return math.sqrt(2 / self.cutoff) * waves * envelope(x)

    def moments(
        self,
        apart: Float[Array, "n_atoms n_neighbours 3"],
        neighbours: Int[Array, "n_atoms n_neighbours"],
        scalars: Float[Array, "n_all_atoms n_scalars"],
        vectors: Float[Array, "n_all_atoms 3 n_vectors"] | None = None,
        engine: str | Engine = XLA,
    ) -> Moments:
        """The multipole moments of the density around each atom, or around some of the atoms.

        Args:
            apart: displacements of their neighbours in Å, see `neighbour_vectors`.
            neighbours: which of all atoms they see.
            scalars: scalar features of all atoms, by which they are weighted as neighbours.
            vectors: vector features of all atoms.
            engine: what computes them; if it has no kernels for that, JAX operations do.
        """
        if kernel := choose(engine).moments:
            none = jnp.zeros((len(scalars), 3, 0), scalars.dtype)
            radial = self.cutoff, self.n_basis
            return kernel(radial, apart, neighbours, scalars, none if vectors is None else vectors)
        edges = self.edges(apart, jnp.sqrt((apart**2).sum(-1)))
        weighted = edges.multipoles[..., None] * scalars[neighbours][:, :, None, :]
        if vectors is not None:
            products = of_products(edges.directions, vectors[neighbours])
            weighted = jnp.concatenate([weighted, products], axis=-1)
        around = jnp.einsum("ijmk,ijn->imkn", weighted, edges.basis)
        return around.reshape(*around.shape[:2], -1)

    def initial_embedding(
        self, n_embedding: int, key: PRNGKeyArray
    ) -> Float[Array, "n_species n_embedding"]:
        """The identity if the embedding is as large as the number of elements or 0, else random."""
        n_species = len(self.elements)
        if n_embedding in (0, n_species):
            return jnp.eye(n_species)
        return jax.random.normal(key, (n_species, n_embedding))

    def n_features(self, n_scalars: int) -> int:
        """Weights of a channel, for neighbours with so many features: for every element of the
        atom, the length of the last axis of `moments`."""
        return len(self.elements) * n_scalars * self.n_basis


class AbstractLocalPotential(AbstractSinglePotential):
    """A potential whose atoms see their neighbours and nothing else."""

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols that may occur."""
        return self.settings.elements

    def reference_energy(self, numbers: Numbers) -> float:
        return 0.0

    def check(self, numbers: Numbers) -> None:
        check_listed(numbers, self.elements)


def one_hot(graph: Graph, elements: tuple[str, ...]) -> Float[Array, "n_atoms n_species"]:
    """One where an atom is of an element, zero elsewhere; padding is of no element."""
    known = np.array([atomic_numbers[symbol] for symbol in elements])
    same = jnp.asarray(graph.numbers)[:, None] == known
    return same.astype(graph.positions.dtype)


def neighbour_vectors(graph: Graph, cutoff: float) -> Float[Array, "n_atoms n_neighbours 3"]:
    """Displacements of neighbours in Å; masked entries are beyond the cutoff.

    Raises:
        InputError: the graph lists no neighbours.
    """
    _check_lists_neighbours(graph)
    return jnp.where(jnp.asarray(graph.mask)[..., None], displacements(graph), 2 * cutoff)


def edge_vectors(
    graph: Graph, masked_distance: float
) -> tuple[Float[Array, "n_atoms n_neighbours 3"], Float[Array, "n_atoms n_neighbours"]]:
    """Displacements and distances of neighbours in Å; of a masked entry the distance is given.

    Raises:
        InputError: the graph lists no neighbours.
    """
    _check_lists_neighbours(graph)
    apart = displacements(graph)
    square = jnp.where(jnp.asarray(graph.mask), (apart**2).sum(-1), masked_distance**2)
    return apart, jnp.sqrt(square)


def _check_lists_neighbours(graph: Graph) -> None:
    if graph.neighbours.shape[1] == 0:
        raise InputError("`graph` must list neighbours: make it with the `cutoff` of the model.")


def length(vectors: Float[Array, "*batch 3"]) -> Float[Array, "*batch"]:
    """Lengths of vectors; where one is zero, the derivative of its length is taken to be zero."""
    square = (vectors**2).sum(-1)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def envelope(x: Array) -> Array:
    r"""$w(x) = 1 - 10x^3 + 15x^4 - 6x^5$: from 1 at 0 to 0 at 1, two derivatives zero there."""
    return 1 - x**3 * (10 - 15 * x + 6 * x**2)
