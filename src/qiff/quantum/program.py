"""The program: the structure of a circuit without its angles. Engines compile it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._checks import InputError, check_at_least
from .gate import Gate
from .observable import PauliSum
from .state import Singlets


@dataclass(frozen=True)
class Program:
    """A gate list with a repeated part: `first` once, then `layer` `n_layers` times.

    The vector of angles holds those of `first`, then those of each layer in turn. Slots of
    `layer` count from 0 within the layer.

    Raises:
        InputError: a gate or observable does not fit `state.n_qubits`, or the gates of a part do
            not read each of its angles once.
    """

    state: Singlets
    first: tuple[Gate, ...]
    layer: tuple[Gate, ...]
    n_layers: int
    observables: tuple[PauliSum, ...]

    def __post_init__(self):
        n = self.state.n_qubits
        if any(q not in range(n) for gate in self.first + self.layer for q in gate.qubits):
            raise InputError(f"Gates must act on qubits below `n_qubits` = {n}.")
        for name, gates in (("first", self.first), ("layer", self.layer)):
            slots = [slot for gate in gates for slot in gate.slots]
            if sorted(slots) != list(range(len(slots))):
                raise InputError(
                    f"Gates of `{name}` must read each of its {len(slots)} angles once, but read "
                    f"{slots}."
                )
        check_at_least("n_layers", self.n_layers, 0)
        if any(observable.n_qubits != n for observable in self.observables):
            raise InputError(f"Observables must be words of `n_qubits` = {n} letters.")

    @property
    def n_qubits(self) -> int:
        return self.state.n_qubits

    @property
    def n_first_slots(self) -> int:
        return sum(gate.kind.n_angles for gate in self.first)

    @property
    def n_layer_slots(self) -> int:
        return sum(gate.kind.n_angles for gate in self.layer)

    @property
    def n_slots(self) -> int:
        """Length of the vector of angles."""
        return self.n_first_slots + self.n_layers * self.n_layer_slots

    def gates(self) -> Iterator[Gate]:
        """Every gate in order with its slots in the vector of angles."""
        yield from self.first
        for n in range(self.n_layers):
            yield from (
                gate.shifted(self.n_first_slots + n * self.n_layer_slots) for gate in self.layer
            )

    def light_cone(self) -> tuple[Gate, ...]:
        """The gates that an observable can depend on, in order."""
        seen = {
            q
            for observable in self.observables
            for _, word in observable.terms
            for q, letter in enumerate(word)
            if letter != "I"
        }
        found = []
        for gate in reversed(list(self.gates())):
            if seen.intersection(gate.qubits):
                seen.update(gate.qubits)
                found.append(gate)
        return tuple(reversed(found))

    def read_slots(self) -> tuple[int, ...]:
        """Slots of the gates in the light cone of the observables."""
        return tuple(sorted(slot for gate in self.light_cone() for slot in gate.slots))


def reuploading(
    state: Singlets,
    encoded: Sequence[Gate],
    trained: Sequence[Gate],
    n_layers: int,
    observables: Sequence[PauliSum],
) -> Program:
    """Encoding, then in every layer trainable gates and encoding again; see `interleaved`.

    Args:
        state: at the start.
        encoded, trained: gates of data and of weights, the slots of each counted from 0.
        n_layers: trainable layers.
        observables: what is measured.
    """
    n_trained = sum(gate.kind.n_angles for gate in trained)
    layer = (*trained, *(gate.shifted(n_trained) for gate in encoded))
    return Program(state, tuple(encoded), layer, n_layers, tuple(observables))


def interleaved(
    encoded: Float[Array, "*circuits n_encodings n_encoded"],
    trained: Float[Array, "*circuits n_layers n_trained"],
) -> Float[Array, "*circuits n_slots"]:
    """Angles of data and of weights in the order of the slots of `reuploading`."""
    layers = jnp.concatenate([trained, encoded[..., 1:, :]], axis=-1)
    flat = layers.reshape(*layers.shape[:-2], -1)
    return jnp.concatenate([encoded[..., 0, :], flat], axis=-1)
