"""Shots of a geometry against test errors: models fine-tuned with more and more `shot_weight`.

    python runs/shots/path.py OUT MODEL [--pairs 8] [--seeds 0 1 2] [--weights 0 1 4] [--steps 500]
    python runs/shots/path.py OUT MODEL --invariants 12 ...
    python runs/shots/path.py OUT MODEL --fresh ...

MODEL is a name of `qiff.studies.hardware.models.SMALL_MODELS`, OUT the folder of `qiff reproduce
hardware`, whose trained models the paths begin from; missing ones are trained. With --pairs N they
are sums with a pair energy of N radial functions, and the first point, `alone`, is such an energy
without circuits, fitted to forces by least squares. With --invariants N they are sums with a model
that is linear in the classical invariants of N channels, which sees angles too; `alone`, it is
trained as the sum is. Each point continues from the one before with
the loss of `qiff train` and `train.shot_weight`, which is here an argument of one compiled
function; 0 shows what more training alone does; then the reference energies are fitted to the
training part once more. With --fresh every point begins from the initial weights of its seed. All
of this is in float64. Each point is a model file and a line of
OUT/path-MODEL.jsonl, and is not computed again.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ase
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

import qiff
from qiff.atoms.frames import Frames, stack
from qiff.model.build import build, build_for, with_references_of
from qiff.model.derivatives import derivatives
from qiff.model.predict import enable_x64, precision
from qiff.model.shot_cost import shot_cost
from qiff.studies.hardware.models import SMALL_MODELS
from qiff.studies.harness.experiment import Experiment, carry_out
from qiff.studies.harness.parts import StudySettings
from qiff.testing import in_precision
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
    frames: Sequence[ase.Atoms]
    train: Frames
    valid: Sequence[ase.Atoms]
    test: Sequence[ase.Atoms]


def beside(config: Mapping[str, Any], pairs: int, invariants: int) -> dict[str, Any]:
    """The classical part beside a model; empty if there is none."""
    elements = list(dict.fromkeys(config["elements"]))
    if pairs:
        return {"kind": "pairs", "elements": elements, "n_basis": pairs}
    if invariants:
        return {"kind": "classical", "elements": elements, "n_channels": invariants, "n_hidden": 0}
    return {}


def slug(name: str, part: Mapping[str, Any]) -> str:
    """The name of a model in names of files."""
    number = part.get("n_basis") or part.get("n_channels")
    ending = f"-{part['kind']}{number}" if part else ""
    return name.lower().replace(",", "").replace(" ", "-") + ending


def trained(name: str, seed: int, out: Path, label: str, config: Mapping[str, Any]) -> Path:
    """The folder of a model that is trained as the small model of a name is."""
    small = SMALL_MODELS[name]
    training, rates = small.training(StudySettings()), (small.rate,)
    experiment = Experiment(
        f"hardware-{label}", config, small.sample, training, rates, dtype=small.dtype
    )
    return carry_out(experiment, [seed], out, lambda name: None).folders[0]


def start(name: str, seed: int, out: Path, part: Mapping[str, Any]) -> Start:
    """A trained model and its configurations."""
    small, config = SMALL_MODELS[name], SMALL_MODELS[name].config
    if part:
        config = {"kind": "sum", "potentials": [config, part]}
    folder = trained(name, seed, out, slug(name, part), config)
    frames = qiff.read(qiff.Source(str(folder / "frames.xyz")))
    split = json.loads((folder / "split.json").read_text())
    train, valid = ([frames[i] for i in split[part]] for part in ("train", "valid"))
    potential = in_precision(load(folder / "model.qiff"), "float64")
    with precision(potential):
        stacked = relative(stack(train, "float64", potential.cutoff), potential)
    initial = build_for(train, config, seed=seed)
    tests = small.sample(seed).tests["test"]
    return Start(folder, potential, initial, train, stacked, valid, tests)


def pairs_alone(config: Mapping[str, Any], start: Start) -> Any:
    """A pair energy alone, by least squares of the forces of the training part."""
    with enable_x64(True):
        leaves, structure = jax.tree.flatten(build(config, jax.random.key(0)))

        @jax.jit
        @partial(jax.vmap, in_axes=(None, 0))
        @jax.jacfwd
        def slopes(weights: list, graph: Any) -> Any:
            return derivatives(jax.tree.unflatten(structure, weights), graph).forces

        (found,) = slopes(leaves, start.train.graph)
        rows = np.asarray(found).reshape(-1, leaves[0].size)
        wanted = np.asarray(start.train.labels["forces"]).ravel()
        best = np.linalg.lstsq(rows, wanted, rcond=1e-12)[0]
        return jax.tree.unflatten(structure, [jnp.asarray(best.reshape(leaves[0].shape))])


class Functions:
    """Compiled functions for all points and seeds of a model."""

    def __init__(self, start: Start, training: Training, *, count_shots: bool):
        cost = shot_cost(start.potential, jax.tree.map(lambda all: all[0], start.train.graph))
        optimiser = training.optimiser_of(start.potential)
        _, self.tree_of = ravel_pytree(start.potential)

        def total(potential, batch, weight, key):
            if not count_shots:
                return training.loss(potential, batch)
            one = lambda graph, key: cost.mean_square(potential, graph, key, training.shot_circuits)
            squares = jax.vmap(one)(batch.graph, jax.random.split(key, len(batch)))
            return training.loss(potential, batch) + weight * squares.mean()

        def step(state, now):
            (vector, before, optimiser_state, frames, weight), (order, key) = state, now
            batch = jax.tree.map(lambda values: jnp.asarray(values)[order], frames)
            gradient = jax.grad(total)(self.tree_of(vector), batch, weight, key)
            updates, optimiser_state = optimiser.update(ravel_pytree(gradient)[0], optimiser_state)
            vector += updates
            average: Any = optax.incremental_update(vector, before, 1 - training.average)
            return (vector, average, optimiser_state, frames, weight), None

        self.training, self.init = training, optimiser.init
        self.advance = eqx.filter_jit(lambda state, now: jax.lax.scan(step, state, now)[0])
        self.shots = eqx.filter_jit(lambda potential, graph: cost.shots(potential, graph))


def tuned(functions: Functions, potential: Any, train: Frames, weight: float, seed: int) -> Any:
    """The average of a potential after `training.steps` more steps with a weight."""
    vector, _ = ravel_pytree(potential)
    state = vector, vector, functions.init(vector), train, jnp.asarray(weight)
    steps = functions.training.steps
    order = Batches(train, functions.training.batch_size, seed).order(0, steps)
    chosen = np.array([indices for _, indices in order])
    keys = jax.random.split(jax.random.key(seed), steps)
    for begin in range(0, steps, BLOCK):
        now = jnp.asarray(chosen[begin : begin + BLOCK]), keys[begin : begin + BLOCK]
        state = functions.advance(state, now)
    return functions.tree_of(state[1])


def errors(potential: Any, start: Start) -> dict[str, float]:
    """Errors of the validation and test parts."""
    found = {}
    for part, frames in (("valid", start.valid), ("test", start.test)):
        values = evaluate(potential, frames)
        found |= {f"{part}_{key}": values[key] for key in ("energy_mae", "forces_mae")}
    return found


def shots(functions: Functions, potential: Any, start: Start) -> float:
    """Shots of a geometry, mean of some of the test part."""
    with precision(potential):
        graphs = [
            jax.tree.map(lambda all: all[0], stack([frame], "float64", potential.cutoff).graph)
            for frame in start.test[:N_FRAMES]
        ]
        return float(np.mean([float(functions.shots(potential, graph)) for graph in graphs]))


def points_of(table: Path) -> list[tuple[int, str]]:
    """Seeds and points of a table."""
    lines = table.read_text().splitlines() if table.exists() else []
    return [(one["seed"], one["point"]) for one in map(json.loads, lines)]


def add(table: Path, seed: int, point: str, shots: float, errors: Mapping[str, float]) -> None:
    """Add a point to a table."""
    found = {"seed": seed, "point": point, "shots": shots, **errors}
    with table.open("a") as lines:
        lines.write(json.dumps(found) + "\n")
    print(found, flush=True)


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
    known = points_of(table)
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
            potential = with_references_of(potential, start.frames)
        save(potential, file)
        add(table, seed, point, shots(functions, potential, start), errors(potential, start))


def main() -> None:
    """See the docstring of the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("model", choices=SMALL_MODELS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--weights", type=float, nargs="*", default=[0, 1, 4, 16])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--rate", type=float, default=0.02)
    parser.add_argument("--pairs", type=int, default=0)
    parser.add_argument("--invariants", type=int, default=0)
    parser.add_argument("--fresh", action="store_true")
    options = parser.parse_args()
    functions = None
    training = replace(
        SMALL_MODELS[options.model].training(StudySettings()),
        steps=options.steps,
        learning_rate=options.rate,
        shot_circuits=4,
    )
    part = beside(SMALL_MODELS[options.model].config, options.pairs, options.invariants)
    label = slug(options.model, part)
    table = options.out / f"path-{label}.jsonl"
    for seed in options.seeds:
        begin = start(options.model, seed, options.out, part)
        if part and (seed, "alone") not in points_of(table):
            if options.pairs:
                alone = pairs_alone(part, begin)
            else:
                folder = trained(options.model, seed, options.out, f"{label}-alone", part)
                alone = load(folder / "model.qiff")
            add(table, seed, "alone", 0.0, errors(alone, begin))
        with precision(begin.potential):
            functions = functions or Functions(begin, training, count_shots=any(options.weights))
        path(begin, seed, options.weights, functions, table, fresh=options.fresh)


if __name__ == "__main__":
    main()
