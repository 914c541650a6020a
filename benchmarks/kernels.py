"""The kernels of the native engine alone: a molecule as one circuit, and the circuits of atoms.

    python -m benchmarks.kernels

prints nanoseconds of processor time of a sample, the least of many calls on 288 samples, whose
angles have a standard deviation of 0.25, as those of trained models. With the Python of another
commit, `PYTHONPATH=. OTHER -m benchmarks.kernels` does the same there.
"""

import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from qiff.model.local import LocalSettings
from qiff.model.molecule import Molecule, MoleculeSettings
from qiff.model.predict import enable_x64
from qiff.quantum.engine import describe
from qiff.quantum.engines import native
from qiff.quantum.mirror import joined
from qiff.quantum.program import Program

N_SAMPLES = 288  # atoms times circuits of a training step of `runs/rmd17/ethanol.toml`
SPREAD = 0.25  # radians
CALLS, ROUNDS = 4, 200


def programs() -> dict[str, Program]:
    """Of water, and of an atom together with its mirror image."""
    water = Molecule(
        MoleculeSettings(kind="triatomic", elements=("O", "H", "H")), key=jax.random.key(0)
    )
    return {"water": water.circuit.program, "atom": joined(LocalSettings(elements=("H",)).program)}


def run() -> Iterator[tuple[str, str, str, float]]:
    """Circuit, precision, kernel and seconds of a sample."""
    for name, program in programs().items():
        for dtype in ("float64", "float32"):
            with enable_x64(dtype == "float64"):
                random = np.random.default_rng(0)
                shape = program.n_slots, N_SAMPLES
                angles = jnp.asarray(SPREAD * random.normal(size=shape), dtype)
                weights = random.normal(size=(len(program.observables), N_SAMPLES))
                both = angles, jnp.asarray(weights, dtype)
                for kernel, given in (
                    ("value", both[:1]),
                    ("gradient", both),
                    ("second", 2 * both),
                ):
                    call = jax.jit(lambda *a, k=kernel, p=program: native.kernels(k, p, a))
                    yield name, dtype, kernel, _seconds(call, given) / N_SAMPLES


def _seconds(call, given) -> float:
    jax.block_until_ready(call(*given))
    found = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        for _ in range(CALLS):
            jax.block_until_ready(call(*given))
        found.append((time.process_time() - begin) / CALLS)
    return min(found)


if __name__ == "__main__":
    print(describe())
    for *what, seconds in run():
        print(*what, f"{1e9 * seconds:.0f} ns", flush=True)
