"""Pair energies: what a classical function of distances can describe, beside circuits."""

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._types import Energies
from ..atoms.graph import Graph
from .density import AbstractLocalPotential, Density, edge_vectors, one_hot


@dataclass(frozen=True, kw_only=True)
class PairsSettings:
    """Settings of `Pairs`.

    Args:
        elements: chemical symbols that may occur.
        cutoff: radius in Å beyond which atoms do not see each other.
        n_basis: radial functions.

    Raises:
        InputError: an element is unknown or named twice, or a number is out of range.
    """

    kind: str = "pairs"
    elements: tuple[str, ...]
    cutoff: float = 5.0
    n_basis: int = 8

    def __post_init__(self):
        _ = self.density

    @property
    def density(self) -> Density:
        """Whose radial functions these are."""
        return Density(self.elements, self.cutoff, self.n_basis)

    @property
    def table(self) -> Int[np.ndarray, "n_species n_species"]:
        """The number of each unordered pair of elements."""
        n = len(self.elements)
        found = np.zeros((n, n), int)
        for number, (a, b) in enumerate(combinations_with_replacement(range(n), 2)):
            found[a, b] = found[b, a] = number
        return found


class Pairs(AbstractLocalPotential):
    r"""Energy of pairs of atoms, without any circuit: $E_i = \tfrac12 \sum_j \phi_{ij}(r_{ij})$.

    $$ \phi_{ij}(r) = \sum_n c_{z_iz_j,\,n}\, b_n(r), \qquad c_{zz'} = c_{z'z} $$

    with the radial functions $b_n$ of `Density`, smooth at the cutoff. The coefficients $c$ are
    initially zero. In a `Sum` with circuits it leaves them the energy that is no sum over pairs:
    its forces are classical, and take no shots.
    """

    Settings: ClassVar = PairsSettings
    coefficients: Float[Array, "n_pairs n_basis"]
    settings: PairsSettings = eqx.field(static=True)

    def __init__(self, settings: PairsSettings):
        """
        Args:
            settings: the hyper-parameters.
        """
        self.settings, n = settings, len(settings.elements)
        self.coefficients = jnp.zeros((n * (n + 1) // 2, settings.n_basis))

    def __call__(self, graph: Graph) -> Energies:
        settings, species = self.settings, one_hot(graph, self.elements)
        _, distances = edge_vectors(graph, settings.cutoff)
        basis = settings.density.basis(distances)
        weights = self.coefficients[settings.table]
        neighbours = species[jnp.asarray(graph.neighbours)]
        return jnp.einsum("ia,ijb,abn,ijn->i", species, neighbours, weights, basis) / 2

    @property
    def cutoff(self) -> float:
        return self.settings.cutoff

    @property
    def interaction_range(self) -> float:
        return self.settings.cutoff
