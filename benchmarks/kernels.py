"""The kernels of the native engine alone: a molecule as one circuit, and the circuits of atoms.

    python -m benchmarks.kernels

prints nanoseconds of processor time of a sample, the least of 50 rounds on 288 samples, whose
angles have a standard deviation of 0.25, as those of trained models. With the Python of another
commit, `PYTHONPATH=. OTHER -m benchmarks.kernels` does the same there.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial

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

from .timing import side_by_side

N_SAMPLES = 288  # atoms times circuits of a training step of `runs/rmd17/ethanol.toml`
SPREAD = 0.25  # radians
ROUNDS = 50


def programs() -> dict[str, Program]:
    """Of water, and of an atom together with its mirror image."""
    water = Molecule(
        MoleculeSettings(kind="triatomic", elements=("O", "H", "H")), key=jax.random.key(0)
    )
    return {"water": water.circuit.program, "atom": joined(LocalSettings(elements=("H",)).program)}


def calls(program: Program, dtype: str, n_samples: int, spread: float) -> dict[str, Callable]:
    """The kernels on random angles; double precision must be enabled if it is that."""
    random = np.random.default_rng(0)
    angles = jnp.asarray(spread * random.normal(size=(program.n_slots, n_samples)), dtype)
    weights = jnp.ones((len(program.observables), n_samples), dtype)
    inputs = {
        "value": (angles,),
        "gradient": (angles, weights),
        "second": (angles, weights, angles, weights),
    }
    return {
        name: partial(jax.jit(lambda *columns, n=name: native.kernels(n, program, columns)), *given)
        for name, given in inputs.items()
    }


def run() -> Iterator[tuple[str, str, str, float]]:
    """Circuit, precision, kernel and seconds of a sample."""
    for name, program in programs().items():
        for dtype in ("float64", "float32"):
            with enable_x64(dtype == "float64"):
                found = side_by_side(
                    calls(program, dtype, N_SAMPLES, SPREAD), ROUNDS, min, time.process_time
                )
            for kernel, seconds in found.items():
                yield name, dtype, kernel, seconds / N_SAMPLES


if __name__ == "__main__":
    print(describe())
    for *what, seconds in run():
        print(*what, f"{1e9 * seconds:.0f} ns", flush=True)
