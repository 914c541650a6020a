"""Shots for forces of 10 meV/Å: shift rules, differences of positions, simultaneous perturbation.

    python runs/shots/differences.py NAME MODEL.qiff [MODEL.qiff ...]

for models of `path.py`, NAME a name of `qiff.studies.hardware.models.SMALL_MODELS`; exact
simulation of the first test geometry. G is the energy as a function of the values of the circuits,
with $\\sigma$ the standard deviation of one shot, summed over circuits c and settings.

* Differences: G is measured at $R \\pm \\delta d_k$ for all K directions that are no translation or
  rotation: $N = K^2\\sigma^2 / (3n\\,\\delta^2(\\epsilon^2 - b^2))$.
* Perturbation: all angles of a circuit are shifted by $\\pm\\delta\\Delta$ with random signs
  $\\Delta$, and $\\Delta$ times the difference quotient stands for its gradient:
  $N = \\langle\\sum_c t_c\\sigma_c\\rangle^2 / (\\delta^2(\\epsilon^2 - b^2))$, with $t_c$ the root
  mean square of $\\Delta \\cdot \\partial a_c/\\partial R$ over force components. Derivatives of
  other angles are noise, which vanishes with the number of random vectors: that many are stated
  too.

$b^2$ is the mean square of what a finite $\\delta$ is wrong by, and $\\delta$ the one of fewest
shots.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qiff.atoms.frames import stack
from qiff.model.plan import CircuitTrace
from qiff.model.predict import precision
from qiff.model.shot_cost import GOAL, deviations, shot_cost
from qiff.quantum.engine import expectations
from qiff.studies.hardware.models import SMALL_MODELS
from qiff.training.checkpoint import load

STEPS = np.geomspace(0.002, 1.0, 24)  # Å, or radians
N_DRAWN = 400


class Measured:
    """The circuits of a configuration, of one gate list."""

    def __init__(self, potential: Any, graph: Any):
        trace, self.positions = CircuitTrace(potential, graph), jnp.asarray(graph.positions)
        request = trace.request(jax.tree.leaves(potential), self.positions)
        (program,) = trace.programs
        (self.angles,), (slopes,), (readouts,) = request.angles, request.slopes, request.weights
        self.slopes = np.asarray(slopes).reshape(*self.angles.shape, -1)
        of_each = jax.vmap(partial(deviations, program, "auto"))
        self.deviations = np.asarray(of_each(self.angles[:, None], readouts))[:, 0]
        values = lambda angles: (jax.vmap(partial(expectations, program))(angles) * readouts).sum(
            -1
        )
        at = lambda x: trace.request(jax.tree.leaves(potential), x.reshape(-1, 3)).angles[0]
        self.values = jax.jit(values)
        self.energy = jax.jit(lambda x: values(at(x)).sum())
        self.gradient = np.asarray(jax.grad(lambda angles: values(angles).sum())(self.angles))
        self.forces = -np.einsum("ca,cai->i", self.gradient, self.slopes)


def internal(positions: np.ndarray) -> np.ndarray:
    """Orthonormal displacements without translations and rotations, one a row."""
    apart = positions - positions.mean(0)
    moved = [np.tile(axis, len(apart)) for axis in np.eye(3)]
    turned = [np.cross(axis, apart).ravel() for axis in np.eye(3)]
    _, sizes, rows = np.linalg.svd(np.array([*moved, *turned]))
    return rows[int((sizes > 1e-6 * sizes[0]).sum()) :]


def fewest(squares: np.ndarray, biases: np.ndarray) -> tuple[float, int]:
    """Shots, and which step: from shots times the mean square error, and squares of biases."""
    left = GOAL**2 - biases
    shots = np.where(left > 0, squares / np.where(left > 0, left, 1), np.inf)
    return float(shots.min()), int(shots.argmin())


def differences(of: Measured) -> tuple[float, float]:
    """Shots, and the step in Å."""
    x, rows = np.asarray(of.positions).ravel(), internal(np.asarray(of.positions))
    biases = []
    for step in STEPS:
        slopes = [(of.energy(x + step * d) - of.energy(x - step * d)) / (2 * step) for d in rows]
        biases.append(np.mean((-np.array(slopes) @ rows - of.forces) ** 2))
    squares = len(rows) ** 2 * of.deviations.sum() ** 2 / (x.size * STEPS**2)
    shots, best = fewest(squares, np.array(biases))
    return shots, STEPS[best]


def perturbation(of: Measured) -> tuple[float, float, float]:
    """Shots, the step in radians, and how many random vectors."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (N_DRAWN, *of.angles.shape))
    along = np.einsum("nca,cai->nci", signs, of.slopes)
    weights = np.sqrt((along**2).mean(-1)) @ of.deviations
    linear = np.einsum("nca,ca->nc", signs, of.gradient)  # of a small step, right on the average
    spread = np.mean((np.einsum("nc,nci->ni", linear, along) + of.forces) ** 2)
    biases = []
    for step in STEPS:
        shifted = signs * step
        slopes = [of.values(of.angles + a) - of.values(of.angles - a) for a in shifted]
        beyond = np.array(slopes) / (2 * step) - linear
        one, other = np.einsum("nc,nci->ni", beyond, along).reshape(2, N_DRAWN // 2, -1).mean(1)
        biases.append(max(0.0, np.mean(one * other)))
    shots, best = fewest((weights**2).mean() / STEPS**2, np.array(biases))
    return shots, STEPS[best], spread / GOAL**2


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=SMALL_MODELS)
    parser.add_argument("models", type=Path, nargs="+")
    options = parser.parse_args()
    (atoms, *_) = SMALL_MODELS[options.name].sample(0).tests["test"]
    print("| model | shift rules | differences | δ (Å) | perturbation | δ | random vectors |")
    print("|---|---|---|---|---|---|---|")
    for path in options.models:
        potential = load(path)
        with precision(potential):
            stacked = stack([atoms], "float64", potential.cutoff)
            graph = jax.tree.map(lambda all: all[0], stacked.graph)
            by_rules = float(shot_cost(potential, graph).shots(potential, graph))
            of = Measured(potential, graph)
            one, other = differences(of), perturbation(of)
        cells = [format(value, ".2g") for value in (by_rules, *one, *other)]
        print(f"| {path.stem} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
