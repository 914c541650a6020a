"""Circuits of atoms: gates turned by the density of the neighbours, with message passing."""

from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._checks import InputError, check_size
from .._types import Pair
from ..quantum.circuit import Simulation
from ..quantum.engine import AUTO, choose
from ..quantum.engines.record import Engine
from ..quantum.gate import Gate
from ..quantum.observable import pair_exchange, vector
from ..quantum.program import Program, reuploading
from ..quantum.state import Singlets
from .message_passing import (
    AbstractInteraction,
    AbstractMessagePassingPotential,
    AtomFeatures,
    MessagePassing,
    MessagePassingSettings,
    channels,
)
from .multipoles import RANKS, Moments


@dataclass(frozen=True, kw_only=True)
class LocalSettings(MessagePassingSettings):
    """Settings of `Local`.

    Args:
        n_qubits: of each circuit; even.
        n_layers: trainable layers D; there are D + 1 encodings.
        n_circuits: circuits per atom and interaction, each with its own weights.
        entangling: whether there are gates on two qubits; without them it is a control.
        engine: simulator of the circuits, see `qiff.quantum.engine`.

    Raises:
        InputError: a number is out of range, or the engine cannot be used here.
    """

    kind: str = "local"
    n_qubits: int = 4
    n_layers: int = 3
    n_circuits: int = 2
    entangling: bool = True
    engine: str = AUTO

    def __post_init__(self):
        super().__post_init__()
        check_size("n_qubits", self.n_qubits, 2)
        check_size("n_layers", self.n_layers, 1)
        check_size("n_circuits", self.n_circuits, 1)
        if self.n_qubits % 2:
            raise InputError(f"`n_qubits` must be even, but is {self.n_qubits}.")
        choose(self.engine)

    @property
    def singlets(self) -> tuple[Pair, ...]:
        """Pairs of the initial state."""
        return tuple((q, q + 1) for q in range(0, self.n_qubits, 2))

    @property
    def ring(self) -> tuple[Pair, ...]:
        """Pairs with exchange gates: all neighbours on a ring of qubits."""
        around = ((q, (q + 1) % self.n_qubits) for q in range(self.n_qubits))
        pairs = dict.fromkeys((min(pair), max(pair)) for pair in around)
        return tuple(pairs) if self.entangling else ()

    @property
    def encoding(self) -> tuple[Gate, ...]:
        """Gates that encode the density: spins of all qubits, quadrupoles of the singlets."""
        placed = [("spin", (q,)) for q in range(self.n_qubits)]
        placed += [("quadrupole", pair) for pair in self.singlets if self.entangling]
        gates, slot = [], 0
        for name, qubits in placed:
            gates.append(Gate(name, qubits, slot))
            slot += gates[-1].kind.n_angles
        return tuple(gates)

    @property
    def program(self) -> Program:
        """The gate list of every circuit."""
        n = self.n_qubits
        trained = tuple(Gate("exchange", pair, slot) for slot, pair in enumerate(self.ring))
        exchanges = (pair_exchange(pair, n) for pair in combinations(range(n), 2))
        axes = (axis for q in range(n) for axis in vector(q, n))
        observables = (*exchanges, *axes)
        state = Singlets(n, self.singlets)
        return reuploading(state, self.encoding, trained, self.n_layers, observables)

    @property
    def places(self) -> list[Int[np.ndarray, "n_channels n_components"]]:
        """By rank, which angle a component of a channel is; projections follow all angles."""
        program, n_vectors = self.program, self.n_qubits
        slots = [
            np.array([gate.slots for gate in program.gates() if gate.kind.rank == rank], int)
            for rank in range(len(RANKS))
        ]
        projections = program.n_slots + np.arange(3 * n_vectors).reshape(n_vectors, 3)
        slots[1] = np.concatenate([slots[1], projections])
        return [own.reshape(-1, rank.n_components) for own, rank in zip(slots, RANKS, strict=True)]

    def n_channels(self, rank: int) -> int:
        """Channels of the density of a rank in one circuit: one for each gate that encodes it."""
        encoded = sum(gate.kind.rank == rank for gate in self.encoding)
        return encoded * (self.n_layers + 1) + (len(self.ring) * self.n_layers if rank == 0 else 0)


class Local(AbstractMessagePassingPotential):
    r"""Energy of an atom from circuits whose gates are turned by the density of its neighbours.

    $$ v_q = \sum_F V_{qF}\, M^{(1)}_F, \qquad Q_p = \sum_F W_{pF}\, M^{(2)}_F, \qquad
       s_p = \sum_F S_{pF}\, M^{(0)}_F $$

    with the moments $M$ of `Density`. Every encoding turns each qubit by a vector,
    $e^{-\frac i2 v\cdot\sigma}$, and couples pairs by a quadrupole, $e^{-i\sigma\cdot Q\sigma}$;
    every trainable layer is an exchange $e^{-i (j_p + s_p) \sigma_a\cdot\sigma_b}$ on a ring of
    pairs, its constant $j$ depending on the element of the atom. Each encoding has its own
    channels. The read-out

    $$ u_i = b + \sum_{ab} c_{ab}\,\langle\sigma_a\cdot\sigma_b\rangle
           + \sum_q w_q\cdot\langle\sigma_q\rangle + \mathrm{MLP}(\dots) $$

    projects measured vectors on one more channel $w_q$ of the density. With `n_hidden`, a layer
    of hidden units reads all these invariants too. With several interactions, messages are made
    of these invariants and of the vectors $\langle\sigma_q\rangle$, see `MessagePassing`.

    Sums over neighbours make it invariant under exchange of alike atoms and extensive, its gates
    under rotations; the mean over $(v, w)$ and $(-v, -w)$ under reflections. It is smooth to the
    second derivative where a neighbour crosses the cutoff.
    """

    Settings: ClassVar = LocalSettings
    message_passing: MessagePassing
    settings: LocalSettings = eqx.field(static=True)

    def __init__(self, settings: LocalSettings, *, key: PRNGKeyArray):
        """
        Args:
            settings: the hyper-parameters.
            key: of the random initial weights.
        """
        self.settings = settings
        make = partial(CircuitInteraction, settings)
        self.message_passing = MessagePassing(settings, make, key=key)


class CircuitInteraction(AbstractInteraction):
    """Circuits of every atom, turned by the density around it: see `Local`.

    `channels[l]` are the weights of the channels of rank `l`, `projections` those of the vectors
    that the measured vectors are projected on.
    """

    channels: tuple[Float[Array, "n_circuits n_features n_channels"], ...]
    projections: Float[Array, "n_circuits n_features n_qubits"]
    exchanges: Float[Array, "n_species n_circuits n_layers n_pairs"]
    settings: LocalSettings = eqx.field(static=True)
    simulation: Simulation

    def __init__(self, settings: LocalSettings, n_features: int, key: PRNGKeyArray):
        """
        Args:
            settings: of the potential.
            n_features: of the density.
            key: of the random initial weights.
        """
        self.settings = settings
        self.simulation = Simulation(settings.program, settings.engine)
        n_circuits, n_species = settings.n_circuits, len(settings.elements)
        *keys, second_last, last = jax.random.split(key, len(RANKS) + 2)

        def normal(width: float, key: PRNGKeyArray, *shape: int) -> Array:
            return width * jax.random.normal(key, shape)

        self.channels = tuple(
            normal(width, own, n_circuits, n_features, settings.n_channels(rank))
            for rank, (width, own) in enumerate(zip(_WIDTHS, keys, strict=True))
        )
        self.projections = normal(0.3, second_last, n_circuits, n_features, settings.n_qubits)
        pairs = n_species, n_circuits, settings.n_layers, len(settings.ring)
        self.exchanges = normal(0.3, last, *pairs)

    @property
    def engine(self) -> str | Engine:
        return self.simulation.engine

    @property
    def n_invariants(self) -> int:
        """Measured on every atom: a number of every pair of qubits and of every qubit."""
        return self.n_vectors * (self.settings.n_qubits + 1) // 2

    @property
    def n_vectors(self) -> int:
        """Measured on every atom: a vector of every qubit."""
        return self.settings.n_circuits * self.settings.n_qubits

    def __call__(
        self, moments: Moments, species: Float[Array, "n_atoms n_species"]
    ) -> AtomFeatures:
        r"""$\langle\sigma_a\cdot\sigma_b\rangle$ and $w_q\cdot\langle\sigma_q\rangle$."""
        program, n_qubits = self.simulation.program, self.settings.n_qubits
        weights = (self.channels[0], self.channels[1], self.projections, self.channels[2])
        parts = program.n_slots, 3 * n_qubits
        angles, projected = channels(
            moments, weights, species, self.settings.places, parts, self.engine
        )
        angles = self.with_constants(angles, species)
        simulated = jax.vmap(jax.vmap(self.simulation.with_mirror_image))
        values = jnp.moveaxis(simulated(jnp.moveaxis(angles, 0, -1)), -1, 0)
        exchanges, axes = jnp.split(values, [n_qubits * (n_qubits - 1) // 2])
        _, n_atoms, n_circuits = values.shape
        axes = axes.reshape(n_qubits, 3, n_atoms, n_circuits)
        dots = (axes * projected.reshape(axes.shape)).sum(1)
        invariants = jnp.moveaxis(jnp.concatenate([exchanges, dots]), 0, -1)
        vectors = jnp.transpose(axes, (2, 1, 3, 0)).reshape(n_atoms, 3, -1)
        return AtomFeatures(invariants.reshape(n_atoms, -1), vectors)

    def with_constants(
        self,
        angles: Float[Array, "n_slots n_atoms n_circuits"],
        species: Float[Array, "n_atoms n_species"],
    ) -> Float[Array, "n_slots n_atoms n_circuits"]:
        """With what the element of an atom adds to the angles of the exchanges, in radians."""
        program = self.simulation.program
        constants = jnp.einsum("as,sclp->lpac", species, self.exchanges)
        for layer, own in enumerate(constants):
            first = program.n_first_slots + layer * program.n_layer_slots
            angles = angles.at[first : first + len(own)].add(own)
        return angles


_WIDTHS = (0.1, 0.3, 0.15)
"""Standard deviations of the initial weights of the channels of each rank."""
