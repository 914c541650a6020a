"""Shots of a geometry against test errors: models fine-tuned with more and more `shot_weight`.

    python runs/shots/path.py OUT MODEL [--seeds 0 1 2] [--weights 0.3 1 3 10] [--steps 1000]

MODEL is a name of `qiff.studies.hardware.models.SMALL_MODELS`, OUT the folder of `qiff reproduce
hardware`, whose trained models the paths begin from; missing ones are trained. Each point continues
from the one before. The loss is that of `qiff train` with `train.shot_weight`, here an
argument of one compiled function. Every point is a model file and a line of OUT/path-MODEL.jsonl,
and is not computed again.
"""

import argparse
import json
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import qiff
from qiff.atoms.frames import stack
from qiff.model.predict import precision
from qiff.model.shot_cost import GOAL, shot_cost
from qiff.studies.hardware.models import SMALL_MODELS
from qiff.studies.harness.experiment import Experiment, carry_out
from qiff.studies.harness.parts import StudySettings
from qiff.training.batches import batches
from qiff.training.checkpoint import load, save
from qiff.training.loss import relative
from qiff.training.metrics import evaluate

N_FRAMES = 3  # test frames that shots are predicted for
BLOCK = 100  # steps of one compiled call
BATCH = 32


def trained(name: str, seeds: list[int], out: Path) -> list[Path]:
    """The folders of the models that the paths begin from."""
    small, settings = SMALL_MODELS[name], StudySettings()
    experiment = Experiment(
        f"hardware-{name}".lower().replace(",", "").replace(" ", "-"),
        small.config,
        small.sample,
        small.training(settings),
        (small.rate,),
        dtype=small.dtype,
    )
    return [carry_out(experiment, [seed], out, lambda name: None).folders[0] for seed in seeds]


class Functions:
    """Compiled functions for all points of a model."""

    def __init__(self, name: str, potential, frames, steps: int, rate: float, drawn: int):
        loss = SMALL_MODELS[name].training(StudySettings()).loss
        cost = shot_cost(potential, jax.tree.map(lambda values: values[0], frames.graph))
        optimiser = optax.chain(
            optax.clip_by_global_norm(10.0), optax.adam(optax.cosine_decay_schedule(rate, steps))
        )

        def total(potential, batch, weight, key):
            one = lambda graph, key: cost.mean_square(potential, graph, key, drawn)
            squares = jax.vmap(one)(batch.graph, jax.random.split(key, len(batch)))
            return loss(potential, batch) + weight * squares.mean()

        def step(state, now):
            (potential, average, optimiser_state, frames, weight), (order, key) = state, now
            batch = jax.tree.map(lambda values: jnp.asarray(values)[order], frames)
            value, gradient = jax.value_and_grad(total)(potential, batch, weight, key)
            updates, optimiser_state = optimiser.update(gradient, optimiser_state)
            potential = optax.apply_updates(potential, updates)
            average = optax.incremental_update(potential, average, 0.01)
            return (potential, average, optimiser_state, frames, weight), value

        self.start = optimiser.init
        self.advance = eqx.filter_jit(lambda state, now: jax.lax.scan(step, state, now))
        exact = lambda potential, graphs: jax.vmap(lambda g: cost.shots(potential, g, GOAL))(graphs)
        self.shots = eqx.filter_jit(exact)


def main() -> None:
    """See the docstring of the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("model", choices=SMALL_MODELS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--weights", type=float, nargs="+", default=[0.3, 1, 3, 10])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=0.02)
    parser.add_argument("--drawn", type=int, default=4)
    options = parser.parse_args()
    name, small, functions = options.model, SMALL_MODELS[options.model], None
    table = options.out / f"path-{name.lower().replace(' ', '-')}.jsonl"
    rows = [json.loads(line) for line in table.read_text().splitlines()] if table.exists() else []
    for seed, folder in zip(options.seeds, trained(name, options.seeds, options.out), strict=True):
        all_frames = qiff.read(qiff.Source(str(folder / "frames.xyz")))
        part = json.loads((folder / "split.json").read_text())["train"]
        tests = small.sample(seed).tests["test"]
        potential = load(folder / "model.qiff")
        with precision(potential):
            train = relative(
                stack([all_frames[i] for i in part], small.dtype, potential.cutoff), potential
            )
            seen = stack(tests[:N_FRAMES], small.dtype, potential.cutoff).graph
            functions = functions or Functions(
                name, potential, train, options.steps, options.rate, options.drawn
            )
        for weight in (0.0, *options.weights):
            path = folder / f"path-{weight:g}.qiff"
            if any(row["seed"] == seed and row["weight"] == weight for row in rows):
                potential = load(path)
                continue
            with precision(potential):
                if weight > 0:
                    state = (
                        potential,
                        potential,
                        functions.start(potential),
                        train,
                        jnp.asarray(weight),
                    )
                    order = batches(len(part), BATCH, seed, 0, options.steps)
                    keys = jax.random.split(jax.random.key(seed), options.steps)
                    for begin in range(0, options.steps, BLOCK):
                        now = jnp.asarray(order[begin : begin + BLOCK]), keys[begin : begin + BLOCK]
                        state, _ = functions.advance(state, now)
                    potential = state[1]
                shots = np.asarray(functions.shots(potential, seen))
            save(potential, path)
            errors = evaluate(potential, tests)
            kept = {key: errors[key] for key in ("energy_mae", "forces_mae", "forces_rmse")}
            rows.append({"seed": seed, "weight": weight, "shots": float(shots.mean()), **kept})
            with table.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            print(name, rows[-1], flush=True)


if __name__ == "__main__":
    main()
