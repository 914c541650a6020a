"""Families of circuits, one circuit for every number of qubits, and what random weights give.

Gradients, Fourier spectra and states are those of circuits with random weights.
"""

from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...quantum import ansatz
from ...quantum.circuit import Circuit
from ...quantum.encoding import AbstractEncoding, AxisRotations, Spin
from ...quantum.engines.xla import run
from ...quantum.observable import PauliSum, pair_exchange
from ...quantum.state import Singlets
from ...quantum.symmetry import Permutations, Product, Rotations

N_SAMPLES = 256
"""Number of random weights for a variance or a distribution."""


@dataclass(frozen=True)
class Family:
    """A family of circuits: one for every number of qubits."""

    layer: Callable[[int], ansatz.AbstractAnsatz]
    symmetric: bool

    def encoding(self, n_qubits: int) -> AbstractEncoding:
        """One vector per qubit, or one number on all."""
        return Spin(_group(n_qubits), n_qubits) if self.symmetric else AxisRotations(1, n_qubits)

    def circuit(self, n_qubits: int, n_layers: int, key: jax.Array) -> Circuit:
        """A circuit with random weights, uniform over a period."""
        layer = self.layer(n_qubits)
        encoding = self.encoding(n_qubits)
        pairs = tuple((q, q + 1) for q in range(0, n_qubits, 2)) if self.symmetric else ()
        observable = (
            pair_exchange((0, 1), n_qubits)
            if self.symmetric
            else PauliSum(((1.0, "Z" + "I" * (n_qubits - 1)),))
        )
        weights = 2 * np.pi * jax.random.uniform(key, (n_layers, layer.n_weights))
        return Circuit(
            scales=jnp.ones((n_layers + 1, encoding.n_scales)),
            weights=weights,
            state=Singlets(n_qubits, pairs),
            encoding=encoding,
            ansatz=layer,
            observables=(observable,),
        )


def _group(n_qubits: int) -> Product:
    return Product((Rotations(n_qubits), Permutations((), n_qubits)))


def _chain(n_qubits: int) -> ansatz.Exchange:
    pairs = [(q, q + 1) for start in (0, 1) for q in range(start, n_qubits - 1, 2)]
    return ansatz.Exchange(_group(n_qubits), n_qubits, tuple(pairs))


def _broken(n_qubits: int) -> ansatz.Sequence:
    return ansatz.Sequence((_chain(n_qubits), ansatz.CommonRz(tuple(range(n_qubits)))))


FAMILIES: dict[str, Family] = {
    "generic": Family(ansatz.HardwareEfficient, symmetric=False),
    "symmetric": Family(_chain, symmetric=True),
    "broken": Family(_broken, symmetric=True),
}


def gradient_variance(family: Family, n_qubits: int, n_layers: int, seed: int) -> float:
    r"""$\mathrm{Var}[\partial f/\partial\theta]$ of one weight of the middle layer.

    Over uniform weights and normal data, for an observable with a spectrum of order one.
    """

    def slope(key: jax.Array) -> jax.Array:
        one, other = jax.random.split(key)
        circuit = family.circuit(n_qubits, n_layers, one)
        data = jax.random.normal(other, circuit.encoding.data_shape)

        def value(weights: jax.Array) -> jax.Array:
            changed = eqx.tree_at(lambda c: c.weights, circuit, weights)
            return changed(data)[0]

        return jax.grad(value)(circuit.weights)[n_layers // 2, 0]

    slopes = jax.jit(jax.vmap(slope))(jax.random.split(jax.random.key(seed), N_SAMPLES))
    return float(jnp.var(slopes))


def spectrum(family: Family, n_qubits: int, n_layers: int, seed: int) -> np.ndarray:
    r"""Root mean square Fourier amplitude of $f(t)$ for data $t x$, frequencies 0, 1, 2, …

    All scales are one and $x$ is of length one, so one encoding gate has frequencies up to one.
    """
    highest = 2 * n_qubits * (n_layers + 1)
    times = 2 * np.pi * np.arange(2 * highest + 1) / (2 * highest + 1)

    def amplitudes(key: jax.Array) -> jax.Array:
        one, other = jax.random.split(key)
        circuit = family.circuit(n_qubits, n_layers, one)
        data = jax.random.normal(other, circuit.encoding.data_shape)
        norm = jnp.linalg.norm(data, axis=-1, keepdims=True)
        unit = data / norm if family.symmetric else jnp.ones_like(data)
        values = jax.vmap(lambda t: circuit(t * unit)[0])(jnp.asarray(times))
        return jnp.abs(jnp.fft.rfft(values)) / len(times)

    found = jax.jit(jax.vmap(amplitudes))(jax.random.split(jax.random.key(seed), N_SAMPLES // 8))
    return np.sqrt(np.mean(np.asarray(found) ** 2, 0))


def expressibility(family: Family, n_qubits: int, n_layers: int, seed: int) -> float:
    r"""Kullback-Leibler divergence of the fidelity of two random states from that of Haar's.

    $P_\text{Haar}(F) = (d-1)(1-F)^{d-2}$; small means expressive (Sim et al. 2019). Here $d$ is
    the whole space also for symmetric circuits, which data of one direction alone do not leave.
    """

    def state(key: jax.Array) -> jax.Array:
        one, other = jax.random.split(key)
        circuit = family.circuit(n_qubits, n_layers, one)
        data = jax.random.normal(other, circuit.encoding.data_shape)
        program, angles = circuit.program, circuit.angles(data)
        return run(tuple(program.gates()), angles, jnp.asarray(program.state.vector()))

    keys = jax.random.split(jax.random.key(seed), 8 * N_SAMPLES)
    states = np.asarray(jax.jit(jax.vmap(state))(keys))
    half = len(states) // 2
    fidelity = np.abs(np.sum(states[:half].conj() * states[half:], axis=1)) ** 2
    edges = np.linspace(0, 1, 41)
    counts, _ = np.histogram(fidelity, edges)
    seen = counts / counts.sum()
    haar = np.diff(-((1 - edges) ** (2**n_qubits - 1)))
    return float(
        np.sum(seen[seen > 0] * np.log(seen[seen > 0] / np.maximum(haar[seen > 0], 1e-300)))
    )
