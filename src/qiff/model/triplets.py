"""An atom and two neighbours, one circuit each: the baselines after Couzinié et al. 2025.

What is public of their architectures is the abstract. Both are reconstructed from it with the
four-qubit circuit of Le et al. 2023 for an atom and two neighbours, summed over all pairs of
neighbours of all atoms: the smallest construction that puts a neighbour on a qubit and does not
change when any neighbours are exchanged.
"""

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
from ..quantum.circuit import Simulation
from ..quantum.engine import AUTO, choose
from ..quantum.observable import mean_exchange
from ..quantum.program import interleaved, reuploading
from ..quantum.state import Singlets
from .density import AbstractLocalPotential, Density, envelope
from .design import DESIGNS

_DESIGN = DESIGNS["triatomic"](["O", "H", "H"])  # stands for any atom and two that are alike
_EVERYWHERE = 1000.0  # Å


class CartesianTriplets(AbstractLocalPotential):
    r"""$u_i = b + c \sum_{j<k} \tfrac12 (1 + \langle O \rangle)(r_{ij}, r_{ik})$.

    Neighbours turn their qubits by $e^{-\frac i2 \alpha\, r\cdot\sigma}$, one scale for the whole
    vector: length and direction are entangled and the angle is periodic in the distance. There is
    no cutoff, and elements are not told apart.

    Reference: the original architecture of Couzinié et al. 2025, reconstructed.
    """

    scales: Float[Array, " n_layers+1"]
    exchanges: Float[Array, "n_layers n_exchanges"]
    readout: Float[Array, ""]
    bias: Float[Array, ""]
    density: Density = eqx.field(static=True)
    n_repeats: int = eqx.field(static=True)
    simulation: Simulation

    def __init__(
        self,
        elements: Sequence[str],
        n_layers: int = 6,
        n_repeats: int = 2,
        engine: str = AUTO,
        *,
        key: PRNGKeyArray,
    ):
        """
        Args:
            elements: chemical symbols that may occur.
            n_layers: trainable layers D; there are D + 1 encodings.
            n_repeats: repetitions B of the exchange gates within a layer.
            engine: what simulates the circuits, see `qiff.quantum.engine`.
            key: of the random start.

        Raises:
            InputError: an element is unknown or named twice, a number is out of range, or the
                engine cannot be used here.
        """
        self.density = Density(tuple(elements), _EVERYWHERE, n_basis=1)
        self.exchanges = _exchanges(n_layers, n_repeats, key)
        self.n_repeats, self.simulation = n_repeats, _simulation(n_layers, n_repeats, engine)
        self.scales = jnp.ones(n_layers + 1)
        self.readout, self.bias = jnp.array(0.1), jnp.zeros(())

    def __call__(self, graph: Graph) -> Energies:
        species, edges = self.density.species(graph), self.density.edges(graph)
        vectors = self.scales[:, None] * edges.apart[:, :, None]
        weights = jnp.broadcast_to(self.exchanges, (len(species), *self.exchanges.shape))
        real = (edges.distance < _EVERYWHERE).astype(species.dtype)
        total = _sum_over_pairs(vectors, real, weights, self.n_repeats, self.simulation)
        return species.sum(1) * (self.readout * total + self.bias)

    def config(self) -> dict[str, Any]:
        return {
            "kind": "cartesian_triplets",
            "elements": list(self.density.elements),
            "n_layers": len(self.exchanges),
            "n_repeats": self.n_repeats,
            "engine": self.simulation.engine,
        }


class RadialTriplets(AbstractLocalPotential):
    r"""$u_i = b_z + c_z \sum_{j<k} w_{ij} w_{ik} \tfrac12 (1 + \langle O\rangle)(v_{ij}, v_{ik})$.

    Length and direction are encoded apart, $v_{ij} = \varphi_{z_i z_j}(r_{ij})\, \hat r_{ij}$, with
    a learnable radial function of each pair of elements in every layer. It vanishes at the cutoff,
    and so does the weight of a pair of neighbours with the envelope $w$ of `Density`. Exchange
    angles and read-out belong to the element of the atom: one model serves many molecules.

    Reference: the revised architecture of Couzinié et al. 2025, reconstructed.
    """

    radial: Float[Array, "n_species n_species n_basis n_layers+1"]
    exchanges: Float[Array, "n_species n_layers n_exchanges"]
    readout: Float[Array, " n_species"]
    bias: Float[Array, " n_species"]
    density: Density = eqx.field(static=True)
    n_repeats: int = eqx.field(static=True)
    simulation: Simulation

    def __init__(
        self,
        elements: Sequence[str],
        n_layers: int = 6,
        n_repeats: int = 2,
        cutoff: float = 5.0,
        n_basis: int = 8,
        engine: str = AUTO,
        *,
        key: PRNGKeyArray,
    ):
        """
        Args:
            elements: chemical symbols that may occur.
            n_layers: trainable layers D; there are D + 1 encodings.
            n_repeats: repetitions B of the exchange gates within a layer.
            cutoff: distance in Å from which on atoms do not see each other.
            n_basis: radial functions.
            engine: what simulates the circuits, see `qiff.quantum.engine`.
            key: of the random start.

        Raises:
            InputError: as `CartesianTriplets`.
        """
        self.density = Density(tuple(elements), float(cutoff), n_basis)
        n, (first, second) = len(elements), jax.random.split(key)
        keys = jax.random.split(first, n)
        self.exchanges = jnp.stack([_exchanges(n_layers, n_repeats, k) for k in keys])
        self.radial = jax.random.normal(second, (n, n, n_basis, n_layers + 1))
        self.n_repeats, self.simulation = n_repeats, _simulation(n_layers, n_repeats, engine)
        self.readout, self.bias = jnp.full(n, 0.1), jnp.zeros(n)

    def __call__(self, graph: Graph) -> Energies:
        species, edges = self.density.species(graph), self.density.edges(graph)
        seen = species[jnp.asarray(graph.neighbours)]
        radial = jnp.tensordot(species, self.radial, 1)
        lengths = jnp.einsum("ijt,ijn,itnd->ijd", seen, edges.basis, radial)
        vectors = lengths[..., None] * edges.harmonics[:, :, None, 1:4]
        weights = jnp.tensordot(species, self.exchanges, 1)
        near = envelope(jnp.minimum(edges.distance / self.density.cutoff, 1.0))
        total = _sum_over_pairs(vectors, near, weights, self.n_repeats, self.simulation)
        return (species @ self.readout) * total + species @ self.bias

    def config(self) -> dict[str, Any]:
        return {
            "kind": "radial_triplets",
            **self.density.config(),
            "n_layers": self.exchanges.shape[1],
            "n_repeats": self.n_repeats,
            "engine": self.simulation.engine,
        }


def _exchanges(n_layers: int, n_repeats: int, key: PRNGKeyArray) -> Array:
    """Exchange angles to start from, near the identity; see `Molecule`."""
    check_at_least("n_layers", n_layers, 1)
    check_at_least("n_repeats", n_repeats, 1)
    n_weights = _DESIGN.layer(n_repeats, symmetry_breaking=False).n_weights
    return 0.1 * jax.random.normal(key, (n_layers, n_weights))


def _sum_over_pairs(
    vectors: Float[Array, "n_atoms n_neighbours n_layers+1 3"],
    near: Float[Array, "n_atoms n_neighbours"],
    exchanges: Float[Array, "n_atoms n_layers n_exchanges"],
    n_repeats: int,
    simulation: Simulation,
) -> Energies:
    """Half of one plus the observable of every two neighbours, each weighted as it is near."""
    first, second = np.triu_indices(near.shape[1], 1)
    layer = _DESIGN.layer(n_repeats, symmetry_breaking=False)

    def run(both: Float[Array, "n_layers+1 2 3"], weights: Float[Array, "n_layers n"]) -> Array:
        encoded = jnp.tile(both, (1, 2, 1)).reshape(len(both), -1)
        return simulation(interleaved(encoded, jax.vmap(layer.angles)(weights)))[0]

    both = jnp.stack([vectors[:, first], vectors[:, second]], axis=3)
    found = jax.vmap(jax.vmap(run, (0, None)))(both, exchanges)
    return (near[:, first] * near[:, second] * (1 + found) / 2).sum(1)


def _simulation(n_layers: int, n_repeats: int, engine: str) -> Simulation:
    """The circuit of Le et al. 2023 for an atom and two neighbours.

    Raises:
        InputError: the engine is unknown or cannot be used here.
    """
    choose(engine)
    state = Singlets(_DESIGN.n_qubits, _DESIGN.singlets)
    gates = _DESIGN.encoding().gates(), _DESIGN.layer(n_repeats, symmetry_breaking=False).gates()
    (pairs,) = _DESIGN.observed
    observables = (mean_exchange(pairs, _DESIGN.n_qubits),)
    return Simulation(reuploading(state, *gates, n_layers, observables), engine)
