"""A system of equal molecules as the sum of circuits for each molecule and each pair."""

from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from ase.data import atomic_numbers
from jaxtyping import Array, Float

from .._checks import InputError, check_positive
from .._types import Numbers
from ..atoms.graph import Graph
from ..atoms.neighbours import all_pairs
from .density import envelope, length
from .molecule import Molecule
from .order import check_elements, sorted_positions
from .potential import AbstractGlobalPotential, AbstractPotential


@dataclass(frozen=True, kw_only=True)
class FragmentsSettings:
    """Settings of `Fragments`.

    Args:
        pair_cutoff: distance in Å from which on molecules do not interact.

    Raises:
        InputError: the distance is not positive.
    """

    kind: str = "fragments"
    pair_cutoff: float = 8.0

    def __post_init__(self):
        check_positive("pair_cutoff", self.pair_cutoff)


class Fragments(AbstractGlobalPotential):
    r"""$E = \sum_A u(A) + \sum_{A<B} w(r_{AB})\, v(A, B)$ over molecules $A$.

    One circuit $u$ serves every molecule, one $v$ every pair. With $x = r/r_c$ the distance of
    the atoms at the origins of two molecules over the cutoff, the weight of a pair
    $w = 1 - 10x^3 + 15x^4 - 6x^5$, and 0 from $r_c$ on, has two continuous derivatives: far
    molecules add up exactly.

    Atoms belong together in the order of each element: the first oxygen has the first two
    hydrogens, and so on.

    Reference: the fragmentation that Le et al. 2023 propose in Sec. IV.
    """

    Settings: ClassVar = FragmentsSettings
    molecule: Molecule
    pair: Molecule
    settings: FragmentsSettings = eqx.field(static=True)

    def __init__(
        self, molecule: AbstractPotential, pair: AbstractPotential, settings: FragmentsSettings
    ):
        """
        Args:
            molecule: the `triatomic` model of a molecule.
            pair: the `dimer` or `coupled_dimer` model of two.
            settings: the hyper-parameters.

        Raises:
            InputError: the models are not of these kinds, or of other elements.
        """
        if not (isinstance(molecule, Molecule) and molecule.settings.kind == "triatomic"):
            raise InputError("`molecule` must be a model of kind `triatomic`.")
        if not (isinstance(pair, Molecule) and pair.settings.kind in ("dimer", "coupled_dimer")):
            raise InputError("`pair` must be a model of kind `dimer` or `coupled_dimer`.")
        if sorted(pair.elements) != sorted(molecule.elements * 2):
            raise InputError(
                f"`pair` must be two of {list(molecule.elements)}, but is {list(pair.elements)}."
            )
        self.molecule, self.pair, self.settings = molecule, pair, settings

    def total(self, graph: Graph) -> Float[Array, ""]:
        n, cutoff = len(self.molecule.elements), self.settings.pair_cutoff
        n_molecules = len(graph.numbers) // n
        central, outer = self._elements(n_molecules)
        positions = sorted_positions(graph, central + outer)
        molecules = jnp.concatenate(
            [positions[:n_molecules, None], positions[n_molecules:].reshape(-1, n - 1, 3)], axis=1
        )
        energy = jax.vmap(self._energy_of(self.molecule, 1))(molecules).sum()
        if n_molecules > 1:
            first, second = np.array(list(combinations(range(n_molecules), 2))).T
            both = jnp.concatenate([molecules[first], molecules[second]], axis=1)
            apart = positions[second] - positions[first]
            weights = envelope(jnp.minimum(length(apart) / cutoff, 1))
            energy += weights @ jax.vmap(self._energy_of(self.pair, 2))(both)
        return energy

    def check(self, numbers: Numbers) -> None:
        n_molecules = max(1, len(numbers) // len(self.molecule.elements))
        central, outer = self._elements(n_molecules)
        check_elements(numbers, central + outer)

    def _elements(self, n_molecules: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Central atoms and outer atoms of so many molecules."""
        first, *rest = self.molecule.elements
        if first in rest or len(set(rest)) > 1:
            raise InputError("`molecule` must have outer atoms that are alike.")
        return (first,) * n_molecules, tuple(rest) * n_molecules

    def _energy_of(self, potential: Molecule, n_molecules: int):
        symbols = self.molecule.elements * n_molecules
        numbers = np.array([atomic_numbers[symbol] for symbol in symbols])
        table = all_pairs(len(numbers), potential.cutoff)._asdict()

        def energy(positions: Float[Array, "n_atoms 3"]) -> Float[Array, ""]:
            return potential.total(Graph(positions=positions, numbers=numbers, **table))

        return energy
