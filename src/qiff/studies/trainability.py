"""Trainability: how gradients, generators, spectra and states of the circuits scale.

Le et al. 2023 in its journal version (New J. Phys. 27, 023015) finds no barren plateau in the
shallow regime; here are the quantities that such a statement rests on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..model.predict import enable_x64
from ..quantum import ansatz, gate
from ..quantum.circuit import Circuit
from ..quantum.encoding import AbstractEncoding, AxisRotations, Spin
from ..quantum.engines.xla import run
from ..quantum.observable import PauliSum, pair_exchange
from ..quantum.state import Singlets
from ..quantum.symmetry import Permutations, Product, Rotations
from ..report.section import Claim, Section
from .harness.experiment import Progress
from .harness.study import Budget

N_SAMPLES = 256
"""Random weights over which a variance or a distribution is taken."""


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


def lie_dimension(generators: Sequence[np.ndarray]) -> int:
    """Dimension of the real Lie algebra that anti-Hermitian matrices generate by commutators.

    Args:
        generators: square matrices of one size, of norms of order one.
    """
    size = generators[0].size
    basis = np.zeros((2 * size, 2 * size))
    found: list[np.ndarray] = []
    waiting = [matrix / np.linalg.norm(matrix) for matrix in generators]
    while waiting:
        matrix = waiting.pop()
        row = np.concatenate([np.real(matrix).ravel(), np.imag(matrix).ravel()])
        known = basis[: len(found)]
        for _ in range(2):  # twice is enough to be orthogonal
            row = row - known.T @ (known @ row)
        length = np.linalg.norm(row)
        if length < 1e-8:
            continue
        basis[len(found)] = row / length
        new = (row[:size] + 1j * row[size:]).reshape(matrix.shape) / length
        waiting += [new @ old - old @ new for old in found]
        found.append(new)
    return len(found)


def generators(family: Family, n_qubits: int, *, encoding: bool) -> list[np.ndarray]:
    """Generators of the trainable gates of a layer, and of the encoding if wanted.

    Gates that share a weight have one generator, the sum of theirs.
    """
    layer = family.layer(n_qubits)
    index = {
        gate_.slot: w
        for gate_, (*_, w) in zip(layer.gates(), layer.tied_gates(), strict=True)
        if w is not None
    }
    found: dict[int, Any] = {}
    entangling = []
    for each in layer.gates():
        if each.kind.n_angles:
            weight = index[each.slot]
            found[weight] = found.get(weight, 0) + _generator(each, n_qubits, 0)
        else:
            entangling.append(_logarithm(each, n_qubits))
    extra = []
    if encoding:
        encoder = (
            Spin(_group(n_qubits), n_qubits) if family.symmetric else AxisRotations(1, n_qubits)
        )
        extra = [
            _generator(each, n_qubits, k)
            for each in encoder.gates()
            for k in range(each.kind.n_angles)
        ]
    return [*found.values(), *entangling, *extra]


def _generator(each: gate.Gate, n_qubits: int, angle: int) -> np.ndarray:
    """Derivative of a gate at angle zero, as a matrix on all qubits."""
    slope = jax.jacfwd(each.kind.matrix)(jnp.zeros(each.kind.n_angles))
    return _on_all(each, np.asarray(slope)[..., angle], n_qubits)


def _logarithm(each: gate.Gate, n_qubits: int) -> np.ndarray:
    """A traceless generator of a gate without angle whose square is one: U = i exp(-i π U/2)."""
    matrix = np.asarray(each.kind.matrix(jnp.zeros(0)))
    traceless = matrix - np.eye(len(matrix)) * np.trace(matrix) / len(matrix)
    return _on_all(each, -1j * traceless, n_qubits)


def _on_all(each: gate.Gate, matrix: np.ndarray, n_qubits: int) -> np.ndarray:
    k = len(each.qubits)
    tensor = np.eye(2**n_qubits, dtype=complex).reshape((2,) * n_qubits + (-1,))
    moved = np.tensordot(matrix.reshape((2,) * 2 * k), tensor, (range(k, 2 * k), each.qubits))
    return np.moveaxis(moved, range(k), each.qubits).reshape(2**n_qubits, -1)


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


def section(budget: Budget, out: Path, show: Progress) -> Section:
    """Variances, Lie algebras, spectra and expressibility, as a table and figures."""
    from .harness import figures

    quick, seeds = budget.quick, budget.seeds
    sizes = (2, 4, 6) if quick else (2, 4, 6, 8, 10, 12)
    depths = (2, 8) if quick else (2, 4, 8, 16, 32, 64)
    shallow = 4
    show("trainability")
    with enable_x64(True):
        spectra = {name: spectrum(f, 4, 3, seeds[0]) for name, f in FAMILIES.items()}
        by_size: dict[str, list[float]] = {}
        by_depth: dict[str, list[float]] = {}
        rows: list[Mapping[str, str | float | int]] = []
        for name, family in FAMILIES.items():
            mean = lambda n, d, family=family: float(
                np.mean([gradient_variance(family, n, d, seed) for seed in seeds])
            )
            by_size[name] = [mean(n, shallow) for n in sizes]
            by_depth[name] = [mean(6, d) for d in depths]
            lie = {n: lie_dimension(generators(family, n, encoding=False)) for n in (2, 3, 4)}
            with_data = {n: lie_dimension(generators(family, n, encoding=True)) for n in (2, 3)}
            rows.append(
                {
                    "circuit": name,
                    **{
                        f"variance, {n} qubits": f"{v:.3g}"
                        for n, v in zip(sizes, by_size[name], strict=True)
                    },
                    "decay per qubit": f"{_decay(sizes, by_size[name]):.3f}",
                    **{f"Lie algebra, {n} qubits": d for n, d in lie.items()},
                    **{f"with data, {n} qubits": d for n, d in with_data.items()},
                    "highest frequency": _highest(spectra[name]),
                    "expressibility": f"{expressibility(family, 4, 4, seeds[0]):.3g}",
                }
            )
    panels = [
        {
            "series": {name: (sizes, v) for name, v in by_size.items()},
            "x": f"qubits ({shallow} layers)",
            "y": "variance of the gradient",
            "yscale": "log",
        },
        {
            "series": {name: (depths, v) for name, v in by_depth.items()},
            "x": "layers (6 qubits)",
            "y": "variance of the gradient",
            "yscale": "log",
        },
        {
            "series": {name: (range(len(v)), np.maximum(v, 1e-9)) for name, v in spectra.items()},
            "x": "frequency (4 qubits, 3 layers)",
            "y": "Fourier amplitude",
            "yscale": "log",
        },
    ]
    decay = _decay(sizes, by_size["symmetric"])
    last, first = by_size["symmetric"][-1], by_size["symmetric"][0]
    deep = by_depth["symmetric"]
    claims = [
        Claim(
            "no barren plateau in the shallow regime for the symmetric circuit",
            f"variance from {first:.3g} at {sizes[0]} to {last:.3g} at {sizes[-1]} qubits with "
            f"{shallow} layers: a factor {decay:.2f} per qubit (generic "
            f"{_decay(sizes, by_size['generic']):.2f}; a barren plateau has 0.5 or less)",
            decay > 0.5,
        ),
        Claim(
            "and with depth it does not vanish",
            f"6 qubits: {deep[0]:.3g} with {depths[0]} layers, {deep[-1]:.3g} with {depths[-1]}",
            deep[-1] > 1e-2 * deep[0],
        ),
    ]
    notes = [
        f"Weights uniform over a period, data normal, {N_SAMPLES} samples for each of "
        f"{len(seeds)} seeds. Symmetric: exchange gates along a chain, singlets at the start, one "
        "vector per qubit, the exchange of the first pair measured. Broken: a z rotation in each "
        "layer besides. Generic: y and z rotations, a ring of controlled nots, the first Z "
        "measured. The decay is that of a straight line through the logarithms. Dimensions of Lie "
        "algebras are those of the trainable gates of a layer, and with the gates that carry data."
    ]
    pictures = {"trainability": figures.lines(panels)}
    return Section("trainability", "Trainability", rows, claims, pictures, notes)


def _decay(sizes: tuple[int, ...], variances: list[float]) -> float:
    slope, _ = np.polyfit(sizes, np.log(variances), 1)
    return float(np.exp(slope))


def _highest(amplitudes: np.ndarray) -> int:
    return int(np.max(np.nonzero(amplitudes > 1e-9)[0], initial=0))
