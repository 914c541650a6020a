"""One circuit per atom: its qubits carry the density of the neighbours."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import InputError, check_at_least
from .._types import Energies, Pair
from ..atoms.graph import Graph
from ..quantum.circuit import Simulation
from ..quantum.engine import AUTO, choose
from ..quantum.gate import Gate
from ..quantum.observable import pair_exchange, vector
from ..quantum.program import Program
from ..quantum.state import Singlets
from .density import AbstractLocal, Density, Moments


class Local(AbstractLocal):
    r"""Energy of an atom from circuits whose gates are turned by the density of its neighbours.

    $$ v_q = \sum_F V_{qF}\, M^{(1)}_F, \qquad Q_p = \sum_F W_{pF}\, M^{(2)}_F, \qquad
       s_p = \sum_F S_{pF}\, M^{(0)}_F $$

    with the moments $M$ of `Density`. Every encoding turns each qubit by a vector,
    $e^{-\frac i2 v\cdot\sigma}$, and couples pairs by a quadrupole, $e^{-i\sigma\cdot Q\sigma}$;
    every trainable layer is an exchange $e^{-i (j_p + s_p) \sigma_a\cdot\sigma_b}$ on a ring of
    pairs, its constant $j$ of the element of the atom. All encodings have channels of their own.
    The read-out

    $$ u_i = b + \sum_{ab} c_{ab}\,\langle\sigma_a\cdot\sigma_b\rangle
           + \sum_q w_q\cdot\langle\sigma_q\rangle + \mathrm{MLP}(\dots) $$

    measures a vector against one more channel $w_q$ of the density. With `n_hidden`, a layer of
    so many hidden units reads all these invariants too.

    Sums over neighbours make it invariant under exchange of alike atoms and extensive, its gates
    under rotations; the mean over $(v, w)$ and $(-v, -w)$ under reflections. It is smooth to the
    second derivative where a neighbour crosses the cutoff.
    """

    embedding: Float[Array, "n_species n_kinds"]
    vectors: Float[Array, "n_features n_copies*n_encodings*n_qubits"]
    quadrupoles: Float[Array, "n_features n_copies*n_encodings*n_couplings"]
    scalars: Float[Array, "n_features n_copies*n_layers*n_pairs"]
    measured: Float[Array, "n_features n_copies*n_qubits"]
    exchanges: Float[Array, "n_species n_copies n_layers n_pairs"]
    readout: Float[Array, "n_species n_copies n_invariants"]
    bias: Float[Array, " n_species"]
    network: "Network | None"
    n_qubits: int = eqx.field(static=True)
    entangling: bool = eqx.field(static=True)
    density: Density = eqx.field(static=True)
    simulation: Simulation

    def __init__(
        self,
        elements: Sequence[str],
        n_qubits: int = 4,
        n_layers: int = 3,
        n_copies: int = 2,
        cutoff: float = 5.0,
        n_basis: int = 8,
        n_kinds: int = 0,
        n_hidden: int = 0,
        entangling: bool = True,
        engine: str = AUTO,
        *,
        key: PRNGKeyArray,
    ):
        """
        Args:
            elements: chemical symbols that may occur.
            n_qubits: of each circuit; even.
            n_layers: trainable layers D; there are D + 1 encodings.
            n_copies: circuits per atom, each with weights of its own.
            cutoff: distance in Å from which on atoms do not see each other.
            n_basis: radial functions.
            n_kinds: kinds that elements count as when they are neighbours: with many elements
                a few, so that weights grow with their number and not with that of their pairs;
                0 means as many as elements.
            n_hidden: hidden units of a network that reads the invariants too; 0 for none.
            entangling: whether there are gates on two qubits; without them it is a control.
            engine: what simulates the circuits, see `qiff.quantum.engine`.
            key: of the random start.

        Raises:
            InputError: an element is unknown or named twice, a number is out of range, or the
                engine cannot be used here.
        """
        for name, size in (("n_layers", n_layers), ("n_copies", n_copies)):
            check_at_least(name, size, 1)
        check_at_least("n_kinds", n_kinds, 0)
        check_at_least("n_hidden", n_hidden, 0)
        check_at_least("n_qubits", n_qubits, 2)
        if n_qubits % 2:
            raise InputError(f"`n_qubits` must be even, but is {n_qubits}.")
        choose(engine)
        self.density = Density(tuple(elements), float(cutoff), n_basis)
        self.n_qubits, self.entangling = n_qubits, entangling
        self.simulation = Simulation(self._program(n_layers), engine)
        keys = iter(jax.random.split(key, 8))
        self.embedding = self.density.start(n_kinds, next(keys))
        n_species, n_features = len(elements), self.density.n_features(self.embedding)
        n_encodings, n_pairs = n_copies * (n_layers + 1), len(self.pairs)

        def normal(width: float, *shape: int) -> Array:
            return width * jax.random.normal(next(keys), shape)

        self.vectors = normal(0.3, n_features, n_encodings * n_qubits)
        self.quadrupoles = normal(0.15, n_features, n_encodings * len(self.couplings))
        self.scalars = normal(0.1, n_features, n_copies * n_layers * n_pairs)
        self.measured = normal(0.1, n_features, n_copies * n_qubits)
        self.exchanges = normal(0.3, n_species, n_copies, n_layers, n_pairs)
        n_invariants = n_qubits * (n_qubits - 1) // 2
        self.readout = normal(
            0.3 / np.sqrt(n_copies * n_invariants), n_species, n_copies, n_invariants
        )
        self.bias = jnp.zeros(n_species)
        n_read = n_copies * (n_invariants + n_qubits)
        self.network = Network(n_read, n_hidden, n_species, key=next(keys)) if n_hidden else None

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Where exchange gates act: a ring."""
        around = ((q, (q + 1) % self.n_qubits) for q in range(self.n_qubits))
        ring = dict.fromkeys((min(pair), max(pair)) for pair in around)
        return tuple(ring) if self.entangling else ()

    @property
    def couplings(self) -> tuple[Pair, ...]:
        """Where quadrupole gates act: on the pairs that start as singlets."""
        return self.singlets if self.entangling else ()

    @property
    def singlets(self) -> tuple[Pair, ...]:
        """Pairs of the initial state."""
        return tuple((q, q + 1) for q in range(0, self.n_qubits, 2))

    def _program(self, n_layers: int) -> Program:
        """The gate list of every circuit."""
        n_qubits = self.n_qubits
        trained = tuple(Gate("exchange", pair, slot) for slot, pair in enumerate(self.pairs))
        encoded = (
            *(Gate("spin", (q,), 3 * q) for q in range(n_qubits)),
            *(
                Gate("quadrupole", pair, 3 * n_qubits + 6 * p)
                for p, pair in enumerate(self.couplings)
            ),
        )
        exchanges = (pair_exchange(pair, n_qubits) for pair in combinations(range(n_qubits), 2))
        axes = (axis for q in range(n_qubits) for axis in vector(q, n_qubits))
        return Program(
            Singlets(n_qubits, self.singlets),
            first=encoded,
            layer=trained + tuple(gate.shifted(len(trained)) for gate in encoded),
            n_layers=n_layers,
            observables=(*exchanges, *axes),
        )

    def __call__(self, graph: Graph) -> Energies:
        density = self.density
        moments, species = density.moments(graph, self.embedding)
        exchanges, dots = self.invariants(moments, species)
        readout = jnp.tensordot(species, self.readout, 1)
        energies = (readout * exchanges).sum((1, 2)) + dots.sum((1, 2)) + species @ self.bias
        if self.network is not None:
            invariants = jnp.concatenate([exchanges, dots], axis=-1)
            energies += self.network(invariants.reshape(len(species), -1), species)
        return energies

    def invariants(
        self, moments: Moments, species: Float[Array, "n_atoms n_species"]
    ) -> tuple[
        Float[Array, "n_atoms n_copies n_invariants"], Float[Array, "n_atoms n_copies n_qubits"]
    ]:
        r"""$\langle\sigma_a\cdot\sigma_b\rangle$ and $w_q\cdot\langle\sigma_q\rangle$."""
        signs = jnp.array([1, -1], species.dtype)
        angles = jnp.stack([self.angles(moments, species, sign) for sign in signs])
        found = jax.vmap(jax.vmap(jax.vmap(self.simulation)))(angles)
        exchanges, axes = jnp.split(found, [self.readout.shape[-1]], axis=-1)
        odd = jnp.tensordot(signs, axes, 1) / 2
        against = channels(moments.vectors, self.measured, *found.shape[2:3], self.n_qubits)
        return exchanges.mean(0), (odd.reshape(against.shape) * against).sum(-1)

    def angles(
        self, moments: Moments, species: Float[Array, "n_atoms n_species"], sign: Array
    ) -> Float[Array, "n_atoms n_copies n_slots"]:
        """Angles of the gates in radians, vectors multiplied by `sign`."""
        constant = jnp.tensordot(species, self.exchanges, 1)
        n_atoms, n_copies, n_layers, _ = constant.shape
        encodings = (n_copies, n_layers + 1)
        vectors = sign * channels(moments.vectors, self.vectors, *encodings, self.n_qubits)
        quadrupoles = channels(
            moments.quadrupoles, self.quadrupoles, *encodings, len(self.couplings)
        )
        trained = constant + (moments.scalars @ self.scalars).reshape(constant.shape)
        flat = (n_atoms, *encodings, -1)
        encoded = jnp.concatenate([vectors.reshape(flat), quadrupoles.reshape(flat)], axis=-1)
        layers = jnp.concatenate([trained, encoded[:, :, 1:]], axis=-1)
        return jnp.concatenate([encoded[:, :, 0], layers.reshape(n_atoms, n_copies, -1)], axis=-1)

    def config(self) -> dict[str, Any]:
        return {
            "kind": "local",
            "elements": list(self.density.elements),
            "n_qubits": self.n_qubits,
            "n_layers": self.exchanges.shape[2],
            "n_copies": self.exchanges.shape[1],
            "cutoff": self.density.cutoff,
            "n_basis": self.density.n_basis,
            "n_kinds": self.embedding.shape[1],
            "n_hidden": 0 if self.network is None else self.network.shift.shape[1],
            "entangling": self.entangling,
            "engine": self.simulation.engine,
        }


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
    moments: Float[Array, "n_atoms n_components n_features"],
    weights: Float[Array, "n_features n_channels"],
    *shape: int,
) -> Float[Array, "n_atoms *shape n_components"]:
    """Sums of features, one for each channel, the channels laid out in `shape`."""
    n_atoms, n_components, _ = moments.shape
    return jnp.moveaxis((moments @ weights).reshape(n_atoms, n_components, *shape), 1, -1)
