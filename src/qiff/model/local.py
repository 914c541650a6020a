"""Circuits of atoms: gates turned by the density of the neighbours, in one or more interactions."""

from collections.abc import Sequence
from functools import partial
from itertools import combinations
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import InputError, check_at_least
from .._types import Energies, Pair
from ..atoms.graph import Graph
from ..quantum.circuit import Simulation
from ..quantum.engine import AUTO, choose
from ..quantum.gate import Gate
from ..quantum.observable import pair_exchange, vector
from ..quantum.program import Program, interleaved, reuploading
from ..quantum.state import Singlets
from .density import AbstractLocalPotential, Density, Moments
from .message_passing import N_MESSAGES, AbstractInteraction, AtomFeatures, MessagePassing


class Local(AbstractLocalPotential):
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

    With `n_interactions`, atoms tell their neighbours sums of these invariants and of the vectors
    $\langle\sigma_q\rangle$; the densities that turn the circuits of the next round count
    neighbours by these too, and the read-out is of the circuits of all rounds.

    Sums over neighbours make it invariant under exchange of alike atoms and extensive, its gates
    under rotations; the mean over $(v, w)$ and $(-v, -w)$ under reflections. It is smooth to the
    second derivative where a neighbour crosses the cutoff.
    """

    message_passing: MessagePassing
    density: Density = eqx.field(static=True)

    def __init__(
        self,
        elements: Sequence[str],
        n_qubits: int = 4,
        n_layers: int = 3,
        n_circuits: int = 2,
        n_interactions: int = 1,
        n_messages: int = N_MESSAGES,
        cutoff: float = 5.0,
        n_basis: int = 8,
        n_embedding: int = 0,
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
            n_circuits: circuits per atom and round, each with weights of its own.
            n_interactions: rounds of circuits; from the second on neighbours also count as what was
                measured on them in the round before.
            n_messages: numbers, and vectors, that an atom tells its neighbours between rounds.
            cutoff: distance in Å from which on atoms do not see each other.
            n_basis: radial functions.
            n_embedding: kinds that elements count as when they are neighbours: with many elements
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
        size = (len(elements), n_qubits, n_layers, n_circuits)
        make = partial(CircuitInteraction, size, entangling, engine)
        self.density = Density(tuple(elements), float(cutoff), n_basis)
        self.message_passing = MessagePassing(
            self.density, make, n_interactions, n_messages, n_embedding, n_hidden, key=key
        )

    def __call__(self, graph: Graph) -> Energies:
        return self.message_passing(self.density, graph)

    def config(self) -> dict[str, Any]:
        circuits: Any = self.message_passing.interactions[0]
        return {
            "kind": "local",
            **self.density.config(),
            **self.message_passing.config(),
            "n_qubits": circuits.n_qubits,
            "n_layers": circuits.exchanges.shape[2],
            "n_circuits": circuits.exchanges.shape[1],
            "entangling": circuits.entangling,
            "engine": circuits.simulation.engine,
        }


class CircuitInteraction(AbstractInteraction):
    """CircuitInteraction of every atom, turned by the density around it: see `Local`."""

    vectors: Float[Array, "n_circuits n_features n_encodings*n_qubits"]
    quadrupoles: Float[Array, "n_circuits n_features n_encodings*n_couplings"]
    scalars: Float[Array, "n_circuits n_features n_layers*n_pairs"]
    measured: Float[Array, "n_circuits n_features n_qubits"]
    exchanges: Float[Array, "n_species n_circuits n_layers n_pairs"]
    n_qubits: int = eqx.field(static=True)
    entangling: bool = eqx.field(static=True)
    simulation: Simulation

    def __init__(
        self,
        size: tuple[int, int, int, int],
        entangling: bool,
        engine: str,
        n_features: int,
        key: PRNGKeyArray,
    ):
        """
        Args:
            size: number of elements, and `n_qubits`, `n_layers` and `n_circuits` of `Local`.
            entangling, engine: see `Local`.
            n_features: of the density.
            key: of the random start.

        Raises:
            InputError: a number is out of range, or the engine cannot be used here.
        """
        n_species, n_qubits, n_layers, n_circuits = size
        for name, number, least in (
            ("n_qubits", n_qubits, 2),
            ("n_layers", n_layers, 1),
            ("n_circuits", n_circuits, 1),
        ):
            check_at_least(name, number, least)
        if n_qubits % 2:
            raise InputError(f"`n_qubits` must be even, but is {n_qubits}.")
        choose(engine)
        self.n_qubits, self.entangling = n_qubits, entangling
        self.simulation = Simulation(self._program(n_layers), engine)
        keys = iter(jax.random.split(key, 5))

        def normal(width: float, *shape: int) -> Array:
            return width * jax.random.normal(next(keys), shape)

        n_encodings, n_pairs = n_layers + 1, len(self.pairs)
        self.vectors = normal(0.3, n_circuits, n_features, n_encodings * n_qubits)
        self.quadrupoles = normal(0.15, n_circuits, n_features, n_encodings * len(self.couplings))
        self.scalars = normal(0.1, n_circuits, n_features, n_layers * n_pairs)
        self.measured = normal(0.3, n_circuits, n_features, n_qubits)
        self.exchanges = normal(0.3, n_species, n_circuits, n_layers, n_pairs)

    @property
    def n_invariants(self) -> int:
        """Numbers measured on every atom: of every pair of qubits and of every qubit."""
        return self.n_vectors * (self.n_qubits + 1) // 2

    @property
    def n_vectors(self) -> int:
        """Vectors measured on every atom: one of every qubit."""
        return len(self.measured) * self.n_qubits

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
        state = Singlets(n_qubits, self.singlets)
        return reuploading(state, encoded, trained, n_layers, (*exchanges, *axes))

    def __call__(
        self, moments: Moments, species: Float[Array, "n_atoms n_species"]
    ) -> AtomFeatures:
        r"""$\langle\sigma_a\cdot\sigma_b\rangle$ and $w_q\cdot\langle\sigma_q\rangle$."""
        signs = jnp.array([1, -1], species.dtype)
        angles = jnp.stack([self.angles(moments, species, sign) for sign in signs])
        found = jax.vmap(jax.vmap(jax.vmap(self.simulation)))(angles)
        n_exchanges = self.n_qubits * (self.n_qubits - 1) // 2
        exchanges, axes = jnp.split(found, [n_exchanges], axis=-1)
        against = channels(moments.vectors, self.measured)
        vectors = (jnp.tensordot(signs, axes, 1) / 2).reshape(against.shape)
        dots = (vectors * against).sum(-1)
        invariants = jnp.concatenate([exchanges.mean(0), dots], axis=-1)
        n_atoms = len(species)
        return AtomFeatures(
            invariants.reshape(n_atoms, -1), jnp.moveaxis(vectors, -1, 1).reshape(n_atoms, 3, -1)
        )

    def angles(
        self, moments: Moments, species: Float[Array, "n_atoms n_species"], sign: Array
    ) -> Float[Array, "n_atoms n_circuits n_slots"]:
        """Angles of the gates in radians, vectors multiplied by `sign`."""
        constant = jnp.tensordot(species, self.exchanges, 1)
        n_atoms, n_circuits, n_layers, _ = constant.shape
        vectors = sign * channels(moments.vectors, self.vectors)
        quadrupoles = channels(moments.quadrupoles, self.quadrupoles)
        scalars = channels(moments.scalars[:, None], self.scalars)
        encoded = jnp.concatenate(
            [
                part.reshape(n_atoms, n_circuits, n_layers + 1, -1)
                for part in (vectors, quadrupoles)
            ],
            axis=-1,
        )
        return interleaved(encoded, constant + scalars.reshape(constant.shape))


def channels(
    moments: Float[Array, "n_atoms n_components n_features"],
    weights: Float[Array, "n_circuits n_features n_channels"],
) -> Float[Array, "n_atoms n_circuits n_channels n_components"]:
    """Sums of features, one for each channel."""
    return jnp.einsum("amF,cFk->ackm", moments, weights)
