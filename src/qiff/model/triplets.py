"""An atom and two neighbours, one circuit each: the baselines after Couzinié et al. 2025.

What is public of their architectures is the abstract. Both are reconstructed from it with the
four-qubit circuit of Le et al. 2023 for an atom and two neighbours, summed over all pairs of
neighbours of all atoms: the smallest construction that puts a neighbour on a qubit and is
invariant under exchange of any neighbours.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import check_size
from .._types import Energies
from ..atoms.graph import Graph
from ..quantum.circuit import Simulation
from ..quantum.engine import AUTO, choose
from ..quantum.observable import mean_exchange
from ..quantum.program import interleaved, reuploading
from ..quantum.state import Singlets
from .density import AbstractLocalPotential, Density, edge_vectors, envelope, one_hot
from .design import DESIGNS
from .order import check_distinct

_DESIGN = DESIGNS["triatomic"](["O", "H", "H"])  # stands for any atom and two that are alike


@dataclass(frozen=True, kw_only=True)
class TripletsSettings:
    """Settings of `CartesianTriplets`.

    Args:
        elements: chemical symbols that may occur.
        n_layers: trainable layers D; there are D + 1 encodings.
        n_repeats: repetitions B of the exchange gates within a layer.
        engine: simulator of the circuits, see `qiff.quantum.engine`.

    Raises:
        InputError: an element is unknown or named twice, a number is out of range, or the engine
            cannot be used here.
    """

    kind: str = "cartesian_triplets"
    elements: tuple[str, ...]
    n_layers: int = 6
    n_repeats: int = 2
    engine: str = AUTO

    def __post_init__(self):
        check_distinct(self.elements)
        check_size("n_layers", self.n_layers, 1)
        check_size("n_repeats", self.n_repeats, 1)
        choose(self.engine)

    @property
    def simulation(self) -> Simulation:
        """The circuit of Le et al. 2023 for an atom and two neighbours."""
        state = Singlets(_DESIGN.n_qubits, _DESIGN.singlets)
        trained = _DESIGN.layer(self.n_repeats, symmetry_breaking=False).gates()
        (pairs,) = _DESIGN.observed
        observables = (mean_exchange(pairs, _DESIGN.n_qubits),)
        encoded = _DESIGN.encoding().gates()
        return Simulation(
            reuploading(state, encoded, trained, self.n_layers, observables), self.engine
        )

    def initial_exchanges(self, key: PRNGKeyArray) -> Float[Array, "n_layers n_exchanges"]:
        """Random exchange angles near the identity; see `Molecule`."""
        n_weights = _DESIGN.layer(self.n_repeats, symmetry_breaking=False).n_weights
        return 0.1 * jax.random.normal(key, (self.n_layers, n_weights))


class CartesianTriplets(AbstractLocalPotential):
    r"""$u_i = b + c \sum_{j<k} \tfrac12 (1 + \langle O \rangle)(r_{ij}, r_{ik})$.

    Neighbours turn their qubits by $e^{-\frac i2 \alpha\, r\cdot\sigma}$, one scale for the whole
    vector: length and direction are entangled and the angle is periodic in the distance. There is
    no cutoff, and elements are not told apart.

    Reference: the original architecture of Couzinié et al. 2025, reconstructed.
    """

    Settings: ClassVar = TripletsSettings
    scales: Float[Array, " n_encodings"]
    exchanges: Float[Array, "n_layers n_exchanges"]
    readout: Float[Array, ""]
    bias: Float[Array, ""]
    settings: TripletsSettings = eqx.field(static=True)
    simulation: Simulation

    def __init__(self, settings: TripletsSettings, *, key: PRNGKeyArray):
        """
        Args:
            settings: the hyper-parameters.
            key: of the random initial weights.
        """
        self.settings, self.simulation = settings, settings.simulation
        self.exchanges = settings.initial_exchanges(key)
        self.scales = jnp.ones(settings.n_layers + 1)
        self.readout, self.bias = jnp.array(0.1), jnp.zeros(())

    def __call__(self, graph: Graph) -> Energies:
        species = one_hot(graph, self.elements)
        apart, _ = edge_vectors(graph, masked_distance=1.0)
        vectors = self.scales[:, None] * apart[:, :, None]
        weights = jnp.broadcast_to(self.exchanges, (len(species), *self.exchanges.shape))
        present = jnp.asarray(graph.mask).astype(species.dtype)
        total = _sum_over_pairs(vectors, present, weights, self.settings.n_repeats, self.simulation)
        return species.sum(1) * (self.readout * total + self.bias)

    @property
    def cutoff(self) -> float | None:
        return math.inf

    @property
    def interaction_range(self) -> float | None:
        return math.inf


@dataclass(frozen=True, kw_only=True)
class RadialTripletsSettings(TripletsSettings):
    """Settings of `RadialTriplets`.

    Args:
        cutoff: radius in Å beyond which atoms do not see each other.
        n_basis: radial functions.

    Raises:
        InputError: a number is out of range.
    """

    kind: str = "radial_triplets"
    cutoff: float = 5.0
    n_basis: int = 8

    def __post_init__(self):
        super().__post_init__()
        _ = self.density

    @property
    def density(self) -> Density:
        """Its radial functions."""
        return Density(self.elements, self.cutoff, self.n_basis)


class RadialTriplets(AbstractLocalPotential):
    r"""$u_i = b_z + c_z \sum_{j<k} w_{ij} w_{ik} \tfrac12 (1 + \langle O\rangle)(v_{ij}, v_{ik})$.

    Length and direction are encoded apart, $v_{ij} = \varphi_{z_i z_j}(r_{ij})\, \hat r_{ij}$, with
    a learnable radial function of each pair of elements in every layer. It vanishes at the cutoff,
    and so does the weight of a pair of neighbours with the envelope $w$ of `Density`. Exchange
    angles and read-out belong to the element of the atom: one model serves many molecules.

    Reference: the revised architecture of Couzinié et al. 2025, reconstructed.
    """

    Settings: ClassVar = RadialTripletsSettings
    radial: Float[Array, "n_species n_species n_basis n_encodings"]
    exchanges: Float[Array, "n_species n_layers n_exchanges"]
    readout: Float[Array, " n_species"]
    bias: Float[Array, " n_species"]
    settings: RadialTripletsSettings = eqx.field(static=True)
    simulation: Simulation

    def __init__(self, settings: RadialTripletsSettings, *, key: PRNGKeyArray):
        """
        Args:
            settings: the hyper-parameters.
            key: of the random initial weights.
        """
        self.settings, self.simulation = settings, settings.simulation
        n, (first, second) = len(settings.elements), jax.random.split(key)
        keys = jax.random.split(first, n)
        self.exchanges = jnp.stack([settings.initial_exchanges(own) for own in keys])
        self.radial = jax.random.normal(second, (n, n, settings.n_basis, settings.n_layers + 1))
        self.readout, self.bias = jnp.full(n, 0.1), jnp.zeros(n)

    def __call__(self, graph: Graph) -> Energies:
        species = one_hot(graph, self.elements)
        edges = self.settings.density.edges(*edge_vectors(graph, self.settings.cutoff))
        seen = species[jnp.asarray(graph.neighbours)]
        radial = jnp.tensordot(species, self.radial, 1)
        lengths = jnp.einsum("ijt,ijn,itnd->ijd", seen, edges.basis, radial)
        vectors = lengths[..., None] * edges.directions[:, :, None]
        weights = jnp.tensordot(species, self.exchanges, 1)
        near = envelope(jnp.minimum(edges.distances / self.settings.cutoff, 1.0))
        total = _sum_over_pairs(vectors, near, weights, self.settings.n_repeats, self.simulation)
        return (species @ self.readout) * total + species @ self.bias

    @property
    def cutoff(self) -> float | None:
        return self.settings.cutoff

    @property
    def interaction_range(self) -> float | None:
        return self.settings.cutoff


def _sum_over_pairs(
    vectors: Float[Array, "n_atoms n_neighbours n_encodings 3"],
    near: Float[Array, "n_atoms n_neighbours"],
    exchanges: Float[Array, "n_atoms n_layers n_exchanges"],
    n_repeats: int,
    simulation: Simulation,
) -> Energies:
    """Half of one plus the observable of every two neighbours, each weighted as it is near."""
    first, second = np.triu_indices(near.shape[1], 1)
    layer = _DESIGN.layer(n_repeats, symmetry_breaking=False)

    def run(both: Float[Array, "n_encodings 2 3"], weights: Float[Array, "n_layers n"]) -> Array:
        encoded = jnp.tile(both, (1, 2, 1)).reshape(len(both), -1)
        return simulation(interleaved(encoded, jax.vmap(layer.angles)(weights)))[0]

    both = jnp.stack([vectors[:, first], vectors[:, second]], axis=3)
    found = jax.vmap(jax.vmap(run, (0, None)))(both, exchanges)
    return (near[:, first] * near[:, second] * (1 + found) / 2).sum(1)
