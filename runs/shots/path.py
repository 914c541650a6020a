"""Shots of a geometry against test errors: models fine-tuned with more and more `shot_weight`.

    python runs/shots/path.py OUT MODEL [--seeds 0 1 2] [--weights 0 1 4 16] [--steps 500] [--fresh]

MODEL is a name of `qiff.studies.hardware.models.SMALL_MODELS`, OUT the folder of `qiff reproduce
hardware`, whose trained models the paths begin from; missing ones are trained. Each point continues
from the one before with the loss of `qiff train` and `train.shot_weight`, which is here an argument
of one compiled function; 0 shows what more training alone does. With --fresh every point begins
from the initial weights of its seed. Each point is a model file and a line of OUT/path-MODEL.jsonl,
and is not computed again.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import qiff
from qiff.atoms.frames import Frames, stack
from qiff.model.build import build_for
from qiff.model.predict import precision
from qiff.model.shot_cost import shot_cost
from qiff.studies.hardware.models import SMALL_MODELS
from qiff.studies.harness.experiment import Experiment, carry_out
from qiff.studies.harness.parts import StudySettings
from qiff.training.batches import Batches
from qiff.training.checkpoint import load, save
from qiff.training.loss import relative
from qiff.training.metrics import evaluate
from qiff.training.settings import Training

N_FRAMES = 3  # test frames that shots are predicted for
BLOCK = 100  # steps of one compiled call


class Start(NamedTuple):
    """What the path of a seed begins from."""

    folder: Path
    potential: Any
    initial: Any
    train: Frames
    valid: list
    test: list


def start(name: str, seed: int, out: Path) -> Start:
    """A trained model and its configurations."""
    small, settings = SMALL_MODELS[name], StudySettings()
    experiment = Experiment(
        f"hardware-{name}".lower().replace(",", "").replace(" ", "-"),
        small.config,
        small.sample,
        small.training(settings),
        (small.rate,),
        dtype=small.dtype,
    )
    (folder,) = carry_out(experiment, [seed], out, lambda name: None).folders
    frames = qiff.read(qiff.Source(str(folder / "frames.xyz")))
    split = json.loads((folder / "split.json").read_text())
    train, valid = ([frames[i] for i in split[part]] for part in ("train", "valid"))
    potential = load(folder / "model.qiff")
    with precision(potential):
        stacked = relative(stack(train, small.dtype, potential.cutoff), potential)
    initial = build_for(train, small.config, seed=seed, dtype=small.dtype)
    return Start(folder, potential, initial, stacked, valid, small.sample(seed).tests["test"])


class Functions:
    """Compiled functions for all points and seeds of a model."""

    def __init__(self, start: Start, training: Training):
        cost = shot_cost(start.potential, jax.tree.map(lambda all: all[0], start.train.graph))
        optimiser = training.transformation

        def total(potential, batch, weight, key):
            one = lambda graph, key: cost.mean_square(potential, graph, key, training.shot_circuits)
            squares = jax.vmap(one)(batch.graph, jax.random.split(key, len(batch)))
            return training.loss(potential, batch) + weight * squares.mean()

        def step(state, now):
            (potential, average, optimiser_state, frames, weight), (order, key) = state, now
            batch = jax.tree.map(lambda values: jnp.asarray(values)[order], frames)
            gradient = jax.grad(total)(potential, batch, weight, key)
            updates, optimiser_state = optimiser.update(gradient, optimiser_state)
            potential = optax.apply_updates(potential, updates)
            average = optax.incremental_update(potential, average, 1 - training.average)
            return (potential, average, optimiser_state, frames, weight), None

        self.training, self.init = training, optimiser.init
        self.advance = eqx.filter_jit(lambda state, now: jax.lax.scan(step, state, now)[0])
        self.shots = eqx.filter_jit(lambda potential, graph: cost.shots(potential, graph))


def tuned(functions: Functions, potential: Any, train: Frames, weight: float, seed: int) -> Any:
    """The average of a potential after `training.steps` more steps with a weight."""
    state = potential, potential, functions.init(potential), train, jnp.asarray(weight)
    steps = functions.training.steps
    order = Batches(train, functions.training.batch_size, seed).order(0, steps)
    chosen = np.array([indices for _, indices in order])
    keys = jax.random.split(jax.random.key(seed), steps)
    for begin in range(0, steps, BLOCK):
        now = jnp.asarray(chosen[begin : begin + BLOCK]), keys[begin : begin + BLOCK]
        state = functions.advance(state, now)
    return state[1]


def row(functions: Functions, potential: Any, start: Start) -> dict[str, float]:
    """Shots of a geometry, and errors of the validation and test parts."""
    with precision(potential):
        graphs = [
            jax.tree.map(lambda all: all[0], stack([frame], "float64", potential.cutoff).graph)
            for frame in start.test[:N_FRAMES]
        ]
        shots = np.mean([float(functions.shots(potential, graph)) for graph in graphs])
    found = {"shots": float(shots)}
    for part, frames in (("valid", start.valid), ("test", start.test)):
        errors = evaluate(potential, frames)
        found |= {f"{part}_{key}": errors[key] for key in ("energy_mae", "forces_mae")}
    return found


def path(
    start: Start,
    seed: int,
    weights: list[float],
    functions: Functions,
    table: Path,
    *,
    fresh: bool,
) -> None:
    """The points of a seed that are not yet in the table."""
    lines = table.read_text().splitlines() if table.exists() else []
    known = [(one["seed"], one["point"]) for one in map(json.loads, lines)]
    points = [(f"fresh-{functions.training.steps}-weight-{weight:g}", weight) for weight in weights]
    if not fresh:
        points = [(f"{n}-weight-{weight:g}", weight) for n, weight in enumerate(weights, 1)]
        points = [("trained", None), *points]
    potential = start.potential
    for point, weight in points:
        file = start.folder / f"path-{point}.qiff"
        if (seed, point) in known:
            potential = load(file)
            continue
        if weight is not None:
            begin = start.initial if fresh else potential
            with precision(potential):
                potential = tuned(functions, begin, start.train, weight, seed)
        save(potential, file)
        found = {"seed": seed, "point": point, **row(functions, potential, start)}
        with table.open("a") as lines:
            lines.write(json.dumps(found) + "\n")
        print(found, flush=True)


def main() -> None:
    """See the docstring of the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("model", choices=SMALL_MODELS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--weights", type=float, nargs="*", default=[0, 1, 4, 16])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--rate", type=float, default=0.02)
    parser.add_argument("--fresh", action="store_true")
    options = parser.parse_args()
    functions = None
    training = replace(
        SMALL_MODELS[options.model].training(StudySettings()),
        steps=options.steps,
        batch_size=32,
        learning_rate=options.rate,
        shot_circuits=4,
    )
    table = options.out / f"path-{options.model.lower().replace(' ', '-')}.jsonl"
    for seed in options.seeds:
        begin = start(options.model, seed, options.out)
        with precision(begin.potential):
            functions = functions or Functions(begin, training)
        path(begin, seed, options.weights, functions, table, fresh=options.fresh)


if __name__ == "__main__":
    main()
