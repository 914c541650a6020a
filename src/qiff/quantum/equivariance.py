"""Deviations from symmetry: zero up to rounding for what respects a group.

Each check tries `n_samples` random elements of the group and returns the largest deviation.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import combinations_with_replacement, product

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from .._types import Expectations, Vectors
from .encoding import AbstractEncoding
from .engines.xla import run
from .gate import Gate, GateKind
from .observable import PauliSum
from .state import Singlets
from .symmetry import AbstractGroup, Element, Rotations


def gate_defect(kind: GateKind, rank: int, *, seed: int = 0, n_samples: int = 8) -> float:
    r"""$|U_g\, U(T)\, U_g^\dagger - U(g\, T)|$ for random symmetric tensors $T$ of a rank."""
    entries = list(combinations_with_replacement(range(3), rank))

    def deviation(element: Element, rng: np.random.Generator) -> np.ndarray:
        angles = rng.normal(size=len(entries))
        tensor = np.empty((3,) * rank)
        for index in product(range(3), repeat=rank):
            tensor[index] = angles[entries.index(tuple(sorted(index)))]
        for axis in range(rank):
            tensor = np.moveaxis(np.tensordot(element.rotation, tensor, (1, axis)), 0, axis)
        turned = np.array([tensor[index] for index in entries])
        n_turned = kind.n_qubits - kind.n_ancillas
        common = reduce(np.kron, [element.unitary] * n_turned, np.eye(1))
        common = np.kron(common, np.eye(2**kind.n_ancillas))
        before, after = (np.asarray(kind.matrix(jnp.asarray(a))) for a in (angles, turned))
        return common @ before @ common.conj().T - after

    return _largest(deviation, Rotations(1), seed, n_samples)


def state_defect(
    state: Singlets, group: AbstractGroup, *, seed: int = 0, n_samples: int = 8
) -> float:
    r"""$1 - |\langle\psi|U_g|\psi\rangle|$: invariance up to a phase."""
    vector = state.vector()
    overlap = lambda element: abs(np.vdot(vector, element.on_state(vector)))
    return _largest(lambda g, rng: np.array(1 - overlap(g)), group, seed, n_samples)


def observable_defect(
    observable: PauliSum, group: AbstractGroup, *, seed: int = 0, n_samples: int = 8
) -> float:
    r"""$|U_g O - O U_g|$ on a random state."""
    matrix = observable.matrix()

    def deviation(element: Element, rng: np.random.Generator) -> np.ndarray:
        state = _random_state(rng, observable.n_qubits)
        return element.on_state(matrix @ state) - matrix @ element.on_state(state)

    return _largest(deviation, group, seed, n_samples)


def layer_defect(
    gates: Sequence[Gate],
    angles: Float[Array, " n_slots"],
    n_qubits: int,
    group: AbstractGroup,
    *,
    seed: int = 0,
    n_samples: int = 8,
) -> float:
    r"""$|U_g V - V U_g|$ on a random state, for the gates $V$ of a trainable layer."""

    def deviation(element: Element, rng: np.random.Generator) -> np.ndarray:
        state = _random_state(rng, n_qubits)
        return element.on_state(_apply(gates, angles, state)) - _apply(
            gates, angles, element.on_state(state)
        )

    return _largest(deviation, group, seed, n_samples)


def encoding_defect(
    encoding: AbstractEncoding,
    scales: Float[Array, " n_scales"],
    n_qubits: int,
    group: AbstractGroup,
    *,
    seed: int = 0,
    n_samples: int = 8,
) -> float:
    r"""$|U_g \Phi(x) - \Phi(g x) U_g|$ on a random state and random vectors."""

    def deviation(element: Element, rng: np.random.Generator) -> np.ndarray:
        vectors, state = rng.normal(size=(group.n_vectors, 3)), _random_state(rng, n_qubits)
        encode = lambda vectors, state: _apply(
            encoding.gates(), encoding.angles(scales, jnp.asarray(vectors)), state
        )
        return element.on_state(encode(vectors, state)) - encode(
            element.on_vectors(vectors), element.on_state(state)
        )

    return _largest(deviation, group, seed, n_samples)


def circuit_defect(
    circuit: Callable[[Vectors], Expectations],
    group: AbstractGroup,
    *,
    seed: int = 0,
    n_samples: int = 8,
) -> float:
    r"""$|f(x) - f(g x)|$ at random vectors."""

    def deviation(element: Element, rng: np.random.Generator) -> np.ndarray:
        vectors = rng.normal(size=(group.n_vectors, 3))
        here, there = vectors, element.on_vectors(vectors)
        return np.asarray(circuit(jnp.asarray(here)) - circuit(jnp.asarray(there)))

    return _largest(deviation, group, seed, n_samples)


def _largest(
    deviation: Callable[[Element, np.random.Generator], np.ndarray],
    group: AbstractGroup,
    seed: int,
    n_samples: int,
) -> float:
    rng = np.random.default_rng(seed)
    return max(float(np.abs(deviation(group.sample(rng), rng)).max()) for _ in range(n_samples))


def _random_state(rng: np.random.Generator, n_qubits: int) -> Complex[np.ndarray, " dim"]:
    state = rng.normal(size=2**n_qubits) + 1j * rng.normal(size=2**n_qubits)
    return state / np.linalg.norm(state)


def _apply(gates: Sequence[Gate], angles: Array, state: np.ndarray) -> np.ndarray:
    return np.asarray(run(tuple(gates), angles, jnp.asarray(state)))
