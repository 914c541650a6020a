"""Densities: the neighbours of each atom as sums of radial functions times multipoles."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import InputError, check_at_least, check_positive
from ..atoms.graph import Graph
from .order import check_symbols
from .potential import AbstractSinglePotential


class Moments(NamedTuple):
    """Scalars, vectors and symmetric traceless matrices (xx, xy, xz, yy, yz, zz) of each atom."""

    scalars: Float[Array, "n_atoms n_features"]
    vectors: Float[Array, "n_atoms 3 n_features"]
    quadrupoles: Float[Array, "n_atoms 6 n_features"]


class Edges(NamedTuple):
    """What an atom sees of each neighbour: a radial basis and its multipoles up to l = 2.

    Where the table of neighbours is only filled up, the distance is the cutoff and the rest zero.
    """

    apart: Float[Array, "n_atoms n_neighbours 3"]
    distance: Float[Array, "n_atoms n_neighbours"]
    basis: Float[Array, "n_atoms n_neighbours n_basis"]
    harmonics: Float[Array, "n_atoms n_neighbours 10"]


@dataclass(frozen=True)
class Density:
    r"""The density of the neighbours $j$ of atom $i$, by its element, their kinds and radius.

    $$ M_{i,\,z k n} = \delta_{z z_i} \sum_j b_n(r_{ij})\, s_{jk}\, Y(\hat r_{ij}), \qquad
       b_n(r) = \sqrt{\tfrac{2}{r_c}}\, \frac{\sin(n\pi r/r_c)}{r}\, w(r/r_c) $$

    with $Y$ = 1, $\hat r$ and $\hat r\hat r^T - \tfrac13$, and the envelope
    $w(x) = 1 - 10x^3 + 15x^4 - 6x^5$, which has two continuous derivatives at the cutoff.
    A neighbour counts as the numbers $s_{jk}$. Where it carries vectors $u_{jk}$, their
    multipoles $\hat r\cdot u$, $u$ and $\tfrac12(\hat r u^T + u\hat r^T) - \tfrac13\hat r\cdot u$
    stand in the place of $s\,Y$. Sums over neighbours do not know their order.

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
        check_symbols(self.elements)
        if len(set(self.elements)) < len(self.elements) or not self.elements:
            raise InputError(f"`elements` must be different, but are {list(self.elements)}.")
        check_positive("cutoff", self.cutoff)
        check_at_least("n_basis", self.n_basis, 1)

    def species(self, graph: Graph) -> Float[Array, "n_atoms n_species"]:
        """One where an atom is of an element, zero elsewhere; a filled-up atom is of none."""
        known = np.array([atomic_numbers[symbol] for symbol in self.elements])
        same = jnp.asarray(graph.numbers)[:, None] == known
        return same.astype(graph.positions.dtype)

    def edges(self, graph: Graph) -> Edges:
        """What each atom sees of each neighbour."""
        positions, neighbours = jnp.asarray(graph.positions), jnp.asarray(graph.neighbours)
        if neighbours.shape[1] == 0:
            raise InputError(
                "`graph` must list neighbours: make it with the `cutoff` of the model."
            )
        itself = jnp.arange(len(positions))[:, None]
        apart = positions[neighbours] - positions[:, None]
        square = jnp.where(neighbours == itself, self.cutoff**2, (apart**2).sum(-1))
        distance = jnp.sqrt(square)
        x = jnp.minimum(distance / self.cutoff, 1.0)[..., None]
        order = jnp.arange(1, self.n_basis + 1)
        waves = jnp.sin(np.pi * order * x) / distance[..., None]
        basis = np.sqrt(2 / self.cutoff) * waves * envelope(x)
        unit = apart / distance[..., None]
        first, second = np.triu_indices(3)
        matrix = unit[..., first] * unit[..., second] - (first == second) / 3
        one = jnp.ones_like(distance)[..., None]
        harmonics = jnp.concatenate([one, unit, matrix.astype(unit.dtype)], axis=-1)
        return Edges(apart, distance, basis, harmonics)

    def moments(
        self,
        graph: Graph,
        edges: Edges,
        species: Float[Array, "n_atoms n_species"],
        scalars: Float[Array, "n_atoms n_scalars"],
        vectors: Float[Array, "n_atoms 3 n_vectors"] | None = None,
    ) -> Moments:
        """The density around each atom.

        Args:
            graph: one configuration.
            edges: those of the configuration.
            species: the element of each atom, see `species`.
            scalars: what each atom counts as when it is a neighbour.
            vectors: what each atom carries when it is a neighbour.
        """
        neighbours = jnp.asarray(graph.neighbours)
        multipoles = edges.harmonics[..., None] * scalars[neighbours][:, :, None, :]
        if vectors is not None:
            carried = _multipoles(edges.harmonics[..., 1:4], vectors[neighbours])
            multipoles = jnp.concatenate([multipoles, carried], axis=-1)
        around = jnp.einsum("ijmk,ijn->imkn", multipoles, edges.basis)
        by_species = around[:, :, None] * species[:, None, :, None, None]
        found = by_species.reshape(*around.shape[:2], -1)
        return Moments(found[:, 0], found[:, 1:4], found[:, 4:])

    def config(self) -> dict[str, Any]:
        """The arguments from which it was made."""
        return {
            "elements": list(self.elements),
            "cutoff": self.cutoff,
            "n_basis": self.n_basis,
        }

    def start(self, n_embedding: int, key: PRNGKeyArray) -> Float[Array, "n_species n_embedding"]:
        """An embedding to start from: every element for itself, or mixed if kinds are fewer."""
        n_species = len(self.elements)
        same = n_embedding in (0, n_species)
        return jnp.eye(n_species) if same else jax.random.normal(key, (n_species, n_embedding))

    def n_features(self, n_embedding: int) -> int:
        """Length of the last axis of `moments`, for neighbours that count as so many kinds."""
        return len(self.elements) * n_embedding * self.n_basis

    def check(self, numbers: np.ndarray) -> None:
        """Raise InputError unless every atom is of a known element."""
        absent = {chemical_symbols[z] for z in numbers} - set(self.elements)
        if absent:
            raise InputError(
                f"the model describes {', '.join(self.elements)}, "
                f"but the structure has {', '.join(sorted(absent))}: use a model trained for it."
            )


class AbstractLocalPotential(AbstractSinglePotential):
    """A potential whose atoms see the density of their neighbours and nothing else."""

    density: eqx.AbstractVar[Density]

    def reference_energy(self, numbers: np.ndarray) -> float:
        return 0.0

    @property
    def cutoff(self) -> float:
        return self.density.cutoff

    def check(self, numbers: np.ndarray) -> None:
        self.density.check(numbers)


def _multipoles(
    unit: Float[Array, "n_atoms n_neighbours 3"],
    vectors: Float[Array, "n_atoms n_neighbours 3 n_vectors"],
) -> Float[Array, "n_atoms n_neighbours 10 n_vectors"]:
    """Scalar, vector and symmetric traceless products of directions with vectors."""
    along = (unit[..., None] * vectors).sum(2, keepdims=True)
    first, second = np.triu_indices(3)
    twice = unit[:, :, first, None] * vectors[:, :, second]
    twice += unit[:, :, second, None] * vectors[:, :, first]
    trace = (first == second).astype(unit.dtype)[:, None] * along
    return jnp.concatenate([along, vectors, twice / 2 - trace / 3], axis=2)


def envelope(x: Array) -> Array:
    r"""$w(x) = 1 - 10x^3 + 15x^4 - 6x^5$: from 1 at 0 to 0 at 1, two derivatives zero there."""
    return 1 - x**3 * (10 - 15 * x + 6 * x**2)
