"""Training steps on molecules of many sizes: batches of similar size, and all as the largest.

    python -m benchmarks.sizes [DATA]

writes `results/sizes.json`, with the model and batches of `runs/organic/organic.toml`. Seconds are
those of the processor, of all threads together.
"""

import json
import sys
import time
from pathlib import Path

import jax

import qiff
from qiff._files import atomic_write
from qiff.atoms import groups
from qiff.run.config import read_config
from qiff.training.batches import Batches
from qiff.training.fit import _take_steps, initial_state
from qiff.training.loss import relative

from .__main__ import machine
from .timing import side_by_side

ROOT = Path(__file__).parent.parent
STEPS = 40  # of a call


def main(data: str = "bundled:organic") -> None:
    """Measure, print and write."""
    run = read_config(ROOT / "runs" / "organic" / "organic.toml")
    frames = qiff.read(qiff.Source(data), need_energy=True, need_forces=True)
    potential = qiff.build_for(frames, run.model, seed=0, dtype=run.dtype)
    state, training = initial_state(potential, run.train), run.train
    with qiff.precision(potential):
        stacked = relative(qiff.stack(frames, run.dtype, potential.cutoff), potential)
        functions, most = {}, groups.MOST
        for name, groups.MOST in (("padded to the largest", 1), ("similar sizes", most)):
            drawn = Batches(stacked, training.batch_size, seed=0)
            sizes = [tuple(group.size[:2]) for group in drawn.groups]
            print(f"{name}: atoms and neighbours {sizes}", flush=True)

            def steps(drawn: Batches = drawn) -> jax.Array:
                weights, key, losses = state.weights, jax.random.key(0), jax.numpy.zeros(1)
                for numbers, batch in drawn.between(0, STEPS, STEPS):
                    weights, losses = _take_steps(weights, batch, numbers, key, training, None)
                return losses

            functions[name] = steps
        found = side_by_side(functions, rounds=5, typical=min, clock=time.process_time)
    seconds = {name: value / STEPS for name, value in found.items()}
    for name, value in seconds.items():
        print(f"{name}: {1000 * value:.1f} ms a step")
    record = {"machine": machine(), "data": Path(data).name, "seconds of a step": seconds}
    atomic_write(ROOT / "benchmarks" / "results" / "sizes.json", json.dumps(record, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
