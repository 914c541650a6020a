"""Time and memory of one circuit against the number of qubits and of layers."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qiff.model.predict import enable_x64
from qiff.quantum import engine
from qiff.quantum.gate import Gate
from qiff.quantum.observable import pair_exchange
from qiff.quantum.program import Program
from qiff.quantum.state import Singlets

from . import peers
from .timing import side_by_side

QUBITS = (2, 4, 6, 8, 10, 12, 14, 16, 18, 20)
LAYERS = (1, 2, 4, 8, 16, 32, 64)
MEMORY_CASES = ((22, 1), (22, 16))


def program(n_qubits: int, n_layers: int) -> Program:
    """Spin gates on all qubits; layers of exchange around a ring and spin gates again."""
    spins = tuple(Gate("spin", (q,), 3 * q) for q in range(n_qubits))
    ring = [(q, (q + 1) % n_qubits) for q in range(n_qubits if n_qubits > 2 else 1)]
    bonds = tuple(Gate("exchange", pair, k) for k, pair in enumerate(ring[::2] + ring[1::2]))
    layer = bonds + tuple(gate.shifted(len(bonds)) for gate in spins)
    pairs = tuple((q, q + 1) for q in range(0, n_qubits - 1, 2))
    return Program(
        Singlets(n_qubits, pairs), spins, layer, n_layers, (pair_exchange((0, 1), n_qubits),)
    )


def functions(n_qubits: int, n_layers: int) -> dict[str, Callable]:
    circuit = program(n_qubits, n_layers)
    angles = jnp.asarray(np.random.default_rng(0).normal(size=circuit.n_slots))
    value = lambda a: engine.expectations(circuit, a)[0]
    jitted = {"value": jax.jit(value), "gradient": jax.jit(jax.value_and_grad(value))}
    return {name: (lambda f=f: f(angles)) for name, f in jitted.items()}


def run() -> dict[str, Any]:
    """Seconds by qubits (10 layers) and by layers (8 qubits), exponents, memory, and a peer."""
    with enable_x64(True):
        by_qubits = {n: side_by_side(functions(n, 10), rounds=3) for n in QUBITS}
        by_layers = {n: side_by_side(functions(8, n), rounds=3) for n in LAYERS}
        lightning = _against_lightning(16, 10)
    return {
        "by_qubits": by_qubits,
        "by_layers": by_layers,
        "exponent_in_qubits": _slope(by_qubits, np.array(QUBITS), from_=12),
        "exponent_in_layers": _slope(by_layers, np.log2(LAYERS), from_=16),
        "peak_bytes": {f"{n} qubits, {d} layers": _peak_memory(n, d) for n, d in MEMORY_CASES},
        "16 qubits, 10 layers, gradient": lightning,
    }


def _slope(found: dict[int, dict[str, float]], x: np.ndarray, from_: int) -> dict[str, float]:
    """Slopes of log2(seconds), where the size is at least `from_`."""
    late = np.array([size >= from_ for size in found])
    return {
        task: float(np.polyfit(x[late], np.log2([s[task] for s in found.values()])[late], 1)[0])
        for task in ("value", "gradient")
    }


def _against_lightning(n_qubits: int, n_layers: int) -> dict[str, float]:
    circuit = program(n_qubits, n_layers)
    angles = np.random.default_rng(0).normal(size=circuit.n_slots)
    lightning = peers.lightning(circuit, angles)
    ours = functions(n_qubits, n_layers)
    np.testing.assert_allclose(lightning["value"](), ours["value"](), atol=1e-9)
    return side_by_side({"native": ours["gradient"], "lightning": lightning["gradient"]}, rounds=5)


def _peak_memory(n_qubits: int, n_layers: int) -> int:
    """Bytes by which a gradient raises the peak of a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scaling", str(n_qubits), str(n_layers)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout)


def print_peak_memory(n_qubits: int, n_layers: int) -> None:
    """Linux only: what a gradient adds to the resident memory of this process, at its peak."""
    with enable_x64(True):
        gradient = functions(n_qubits, n_layers)["gradient"]
        jax.block_until_ready(functions(2, n_layers)["gradient"]())
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = _resident("VmRSS")
        jax.block_until_ready(gradient())
    print(_resident("VmHWM") - before)


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (size,) = (line.split()[1] for line in lines if line.startswith(field))
    return 1024 * int(size)


def plot(found: dict[str, Any], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axis, key, label in zip(
        axes, ("by_qubits", "by_layers"), ("qubits (10 layers)", "layers (8 qubits)"), strict=True
    ):
        for task in ("value", "gradient"):
            sizes = list(found[key])
            axis.plot(sizes, [1e3 * found[key][n][task] for n in sizes], "o-", label=task)
        axis.set(yscale="log", xlabel=label, ylabel="milliseconds", xticks=list(found[key]))
        axis.legend()
    axes[1].set_xscale("log", base=2)
    axes[1].set_xticks(list(found["by_layers"]), map(str, found["by_layers"]))
    figure.suptitle("One circuit in float64 on the native engine")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    print_peak_memory(*map(int, sys.argv[1:]))
