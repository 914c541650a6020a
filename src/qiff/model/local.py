"""Circuits of atoms: gates turned by the density of the neighbours, in one round or several."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

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

N_MESSAGES = 4
"""Numbers, and vectors, that an atom tells its neighbours, unless said otherwise."""


class Measured(NamedTuple):
    """What the circuits of a round say of each atom: numbers, and vectors that turn with it."""

    invariants: Float[Array, "n_atoms n_invariants"]
    vectors: Float[Array, "n_atoms 3 n_vectors"]


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

    With `n_rounds`, atoms tell their neighbours sums of these invariants and of the vectors
    $\langle\sigma_q\rangle$; the densities that turn the circuits of the next round count neighbours
    by these too, and the read-out is of the circuits of all rounds.

    Sums over neighbours make it invariant under exchange of alike atoms and extensive, its gates
    under rotations; the mean over $(v, w)$ and $(-v, -w)$ under reflections. It is smooth to the
    second derivative where a neighbour crosses the cutoff.
    """

    embedding: Float[Array, "n_species n_kinds"]
    rounds: "tuple[Round, ...]"
    messages: "tuple[Message, ...]"
    readout: Float[Array, "n_species n_rounds*n_invariants"]
    bias: Float[Array, " n_species"]
    network: "Network | None"
    density: Density = eqx.field(static=True)

    def __init__(
        self,
        elements: Sequence[str],
        n_qubits: int = 4,
        n_layers: int = 3,
        n_copies: int = 2,
        n_rounds: int = 1,
        n_messages: int = N_MESSAGES,
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
            n_copies: circuits per atom and round, each with weights of its own.
            n_rounds: rounds of circuits; from the second on neighbours also count as what was
                measured on them in the round before.
            n_messages: numbers, and vectors, that an atom tells its neighbours between rounds.
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
        numbers = {"n_rounds": n_rounds, "n_messages": n_messages}
        for name, size in numbers.items():
            check_at_least(name, size, 1)
        check_at_least("n_kinds", n_kinds, 0)
        check_at_least("n_hidden", n_hidden, 0)
        self.density = Density(tuple(elements), float(cutoff), n_basis)
        keys = iter(jax.random.split(key, 2 * n_rounds + 4))
        self.embedding = self.density.start(n_kinds, next(keys))
        n_species, n_kinds = self.embedding.shape
        self.rounds = tuple(
            Round(
                n_species,
                self.density.n_features(n_kinds + (2 * n_messages if later else 0)),
                (n_qubits, n_layers, n_copies),
                entangling,
                engine,
                key=next(keys),
            )
            for later in range(n_rounds)
        )
        n_invariants = self.rounds[0].n_invariants
        self.messages = tuple(
            Message(n_invariants, n_copies * n_qubits, n_messages, key=next(keys))
            for _ in range(n_rounds - 1)
        )
        n_read = n_rounds * n_invariants
        self.readout = jax.random.normal(next(keys), (n_species, n_read)) * 0.3 / np.sqrt(n_read)
        self.bias = jnp.zeros(n_species)
        self.network = Network(n_read, n_hidden, n_species, key=next(keys)) if n_hidden else None

    def __call__(self, graph: Graph) -> Energies:
        density = self.density
        species, edges = density.species(graph), density.edges(graph)
        element = species @ self.embedding
        first, *later = self.rounds
        measured = [first(density.moments(graph, edges, species, element), species)]
        for message, circuits in zip(self.messages, later, strict=True):
            scalars, vectors = message(measured[-1])
            scalars = jnp.concatenate([element, scalars], axis=-1)
            moments = density.moments(graph, edges, species, scalars, vectors)
            measured.append(circuits(moments, species))
        invariants = jnp.concatenate([found.invariants for found in measured], axis=-1)
        energies = (invariants * (species @ self.readout)).sum(-1) + species @ self.bias
        return energies + self.network(invariants, species) if self.network else energies

    def config(self) -> dict[str, Any]:
        first = self.rounds[0]
        return {
            "kind": "local",
            "elements": list(self.density.elements),
            "n_qubits": first.n_qubits,
            "n_layers": first.exchanges.shape[2],
            "n_copies": first.exchanges.shape[1],
            "n_rounds": len(self.rounds),
            "n_messages": self.messages[0].scalars.shape[1] if self.messages else N_MESSAGES,
            "cutoff": self.density.cutoff,
            "n_basis": self.density.n_basis,
            "n_kinds": self.embedding.shape[1],
            "n_hidden": 0 if self.network is None else self.network.shift.shape[1],
            "entangling": first.entangling,
            "engine": first.simulation.engine,
        }


class Round(eqx.Module):
    """Circuits of every atom, turned by the density around it: see `Local`."""

    vectors: Float[Array, "n_copies n_features n_encodings*n_qubits"]
    quadrupoles: Float[Array, "n_copies n_features n_encodings*n_couplings"]
    scalars: Float[Array, "n_copies n_features n_layers*n_pairs"]
    measured: Float[Array, "n_copies n_features n_qubits"]
    exchanges: Float[Array, "n_species n_copies n_layers n_pairs"]
    n_qubits: int = eqx.field(static=True)
    entangling: bool = eqx.field(static=True)
    simulation: Simulation

    def __init__(
        self,
        n_species: int,
        n_features: int,
        size: tuple[int, int, int],
        entangling: bool,
        engine: str,
        *,
        key: PRNGKeyArray,
    ):
        """
        Args:
            n_species: elements that may occur.
            n_features: of the density.
            size: `n_qubits`, `n_layers` and `n_copies` of `Local`.
            entangling, engine: see `Local`.
            key: of the random start.
        """
        n_qubits, n_layers, n_copies = size
        for name, number in zip(("n_qubits", "n_layers", "n_copies"), size, strict=True):
            check_at_least(name, number, 2 if name == "n_qubits" else 1)
        if n_qubits % 2:
            raise InputError(f"`n_qubits` must be even, but is {n_qubits}.")
        choose(engine)
        self.n_qubits, self.entangling = n_qubits, entangling
        self.simulation = Simulation(self._program(n_layers), engine)
        keys = iter(jax.random.split(key, 5))

        def normal(width: float, *shape: int) -> Array:
            return width * jax.random.normal(next(keys), shape)

        n_encodings, n_pairs = n_layers + 1, len(self.pairs)
        self.vectors = normal(0.3, n_copies, n_features, n_encodings * n_qubits)
        self.quadrupoles = normal(0.15, n_copies, n_features, n_encodings * len(self.couplings))
        self.scalars = normal(0.1, n_copies, n_features, n_layers * n_pairs)
        self.measured = normal(0.3, n_copies, n_features, n_qubits)
        self.exchanges = normal(0.3, n_species, n_copies, n_layers, n_pairs)

    @property
    def n_invariants(self) -> int:
        """Numbers measured on every atom."""
        n_copies, _, n_qubits = self.measured.shape
        return n_copies * (n_qubits * (n_qubits - 1) // 2 + n_qubits)

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

    def __call__(self, moments: Moments, species: Float[Array, "n_atoms n_species"]) -> Measured:
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
        return Measured(
            invariants.reshape(n_atoms, -1), jnp.moveaxis(vectors, -1, 1).reshape(n_atoms, 3, -1)
        )

    def angles(
        self, moments: Moments, species: Float[Array, "n_atoms n_species"], sign: Array
    ) -> Float[Array, "n_atoms n_copies n_slots"]:
        """Angles of the gates in radians, vectors multiplied by `sign`."""
        constant = jnp.tensordot(species, self.exchanges, 1)
        n_atoms, n_copies, n_layers, _ = constant.shape
        vectors = sign * channels(moments.vectors, self.vectors)
        quadrupoles = channels(moments.quadrupoles, self.quadrupoles)
        scalars = channels(moments.scalars[:, None], self.scalars)
        encoded = jnp.concatenate(
            [part.reshape(n_atoms, n_copies, n_layers + 1, -1) for part in (vectors, quadrupoles)],
            axis=-1,
        )
        trained = constant + scalars.reshape(constant.shape)
        layers = jnp.concatenate([trained, encoded[:, :, 1:]], axis=-1)
        return jnp.concatenate([encoded[:, :, 0], layers.reshape(n_atoms, n_copies, -1)], axis=-1)


class Message(eqx.Module):
    """What an atom tells its neighbours: sums of what was measured on it."""

    scalars: Float[Array, "n_invariants n_messages"]
    vectors: Float[Array, "n_vectors n_messages"]

    def __init__(self, n_invariants: int, n_vectors: int, n_messages: int, *, key: PRNGKeyArray):
        first, second = jax.random.split(key)
        scalars = jax.random.normal(first, (n_invariants, n_messages))
        vectors = jax.random.normal(second, (n_vectors, n_messages))
        self.scalars, self.vectors = scalars / np.sqrt(n_invariants), vectors / np.sqrt(n_vectors)

    def __call__(
        self, measured: Measured
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


def channels(
    moments: Float[Array, "n_atoms n_components n_features"],
    weights: Float[Array, "n_copies n_features n_channels"],
) -> Float[Array, "n_atoms n_copies n_channels n_components"]:
    """Sums of features, one for each channel."""
    return jnp.einsum("amF,cFk->ackm", moments, weights)
