r"""How many shots the forces of a configuration need, as a function of weights and positions.

With shots in proportion to $s_r$, a mean square $\epsilon^2$ of the standard errors of the force
components takes

$$ N = \frac{S\,(S + S_E)}{\epsilon^2}, \qquad S = \sum_r s_r, \qquad
   s_r^2 = \frac{1}{3 n} \sum_i w_{ri}^2\, \sigma_r^2 $$

with the sum over all settings $r$ of all shifted circuits, $\sigma_r$ the standard deviation of
one shot of what the setting reads of the energy, and $w_{ri}$ the weight of the circuit in force
component $i$. $S_E$ is the share of the circuits of the energy.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import InputError
from .._types import Qubits
from ..atoms.graph import Graph
from ..quantum.engine import expectations
from ..quantum.insertion import inserted, insertion
from ..quantum.moments import moments
from ..quantum.shift import rule_of
from .directions import along_rotations, bases, conserves_rotations, follows
from .plan import CircuitTrace
from .potential import AbstractPotential

GOAL = 0.010
"""Error of a force component in eV/Å that numbers of shots are stated for."""
STATED_SHOTS = 1e6
"""Shots of a configuration that `ShotCost.mean_square` is given for."""


_SMALLEST = 1e-9


@dataclass(frozen=True)
class ShotCost:
    """The shots of the forces of all configurations that a potential describes.

    Args:
        open_slots: for each gate list the angles that depend on the positions.
        method: a key of `SETTINGS`.
    """

    open_slots: tuple[Qubits, ...]
    method: str = "bell"

    def spread(self, potential, graph, key=None, n_drawn=0):
        """Two independent estimates of $S$, and $S_E$, in eV/Å; exact and equal without a key."""
        positions = jnp.asarray(graph.positions)
        trace = CircuitTrace(potential, graph)
        leaves = jax.tree.leaves(potential)
        angles, slopes, readouts = trace.request(leaves, positions)
        found = jnp.zeros(3, positions.dtype)
        for program, slots, *given in zip(
            trace.programs, self.open_slots, angles, slopes, readouts, strict=True
        ):
            found += _of_list(program, slots, self.method, *given, positions, key, n_drawn)
        return found

    def mean_square(self, potential, graph, key, n_drawn):
        r"""Mean square standard error of forces in (eV/Å)² with `STATED_SHOTS` shots."""
        first, second, energy = self.spread(potential, graph, key, n_drawn)
        return (first * second + (first + second) / 2 * energy) / STATED_SHOTS

    def shots(self, potential, graph, error=GOAL):
        """Shots for a root mean square standard error of force components in eV/Å."""
        total, _, energy = self.spread(potential, graph)
        return total * (total + energy) / error**2


def shot_cost(potential: AbstractPotential, graph: Graph, method="bell") -> ShotCost:
    """The cost for configurations like `graph`.

    Raises:
        InputError: the circuits of the potential cannot be sent.
    """
    trace = CircuitTrace(potential, graph)
    request: Any = jax.jit(trace.request)(jax.tree.leaves(potential), jnp.asarray(graph.positions))
    if any(np.isnan(at).any() for at in request.angles):
        raise InputError("circuits depend on results of others")
    found = []
    for program, slopes in zip(trace.programs, request.slopes, strict=True):
        read = set(program.read_slots())
        moved = np.flatnonzero(np.any(np.asarray(slopes) != 0, axis=(0, 2, 3)))
        found.append(tuple(int(s) for s in moved if s in read))
    return ShotCost(tuple(found), method)


def _of_list(program, slots, method, angles, slopes, readouts, positions, key, n_drawn):
    """`ShotCost.spread` of the circuits of one gate list."""
    made, what = insertion(program, slots), moments(program.observables, method)
    flat = slopes.reshape(*angles.shape, -1)
    shifts, weights = jax.vmap(lambda a, s: _rows(program, made, a, s, positions))(angles, flat)
    n_circuits, n_rows, n_components = weights.shape
    sizes = jnp.sqrt((weights**2).sum(-1) / n_components + _SMALLEST**2)

    def deviation(program, angles, readout):
        values = expectations(replace(program, observables=what.observables), angles)
        squares = jnp.einsum("sop,o,p->s", what.covariance(values), readout, readout)
        return jnp.sqrt(jnp.maximum(squares, 0) + _SMALLEST * readout @ readout).sum()

    def of_row(row):
        k, r = row // n_rows, row % n_rows
        plain, shift = made.angles(angles[k]), shifts[k, r]
        both = jax.vmap(lambda sign: deviation(made.program, plain + sign * shift, readouts[k]))
        return sizes[k, r] * both(jnp.array([1.0, -1.0], angles.dtype)).sum()

    energy = jax.vmap(lambda a, c: deviation(program, a, c))(angles, readouts).sum()
    energy /= np.sqrt(n_components)
    if key is None:
        total = jax.vmap(of_row)(jnp.arange(n_circuits * n_rows)).sum()
        return jnp.stack([total, total, energy])
    chances = jax.lax.stop_gradient(sizes * jnp.linalg.norm(readouts, axis=1)[:, None]).ravel()
    chances /= chances.sum()
    drawn = jax.random.categorical(key, jnp.log(chances), shape=(2 * n_drawn,))
    each = jax.vmap(of_row)(drawn) / chances[drawn]
    return jnp.concatenate([each.reshape(2, n_drawn).mean(1), energy[None]])


def _rows(program, made, angles, slopes, positions):
    """Shifts and weights of the pairs of shifted circuits of one circuit.

    Directions are constants of the derivative: a change of them has no effect on values, and
    almost none on the number of shots, of which they are nearly the minimum.
    """
    own = [
        jnp.einsum(
            "gkj,gki->gji", jax.vmap(partial(inserted, of.name))(angles[of.slots]), slopes[of.slots]
        )
        for of in made.gates
    ]
    given: Any = jax.lax.stop_gradient((angles, slopes, positions, own))
    if conserves_rotations(program):
        is_invariant = follows(made.gates, *given[:3], jnp)
        away = along_rotations(made.gates, given[3], given[2], jnp) * is_invariant
        own = [m - m @ away for m in own]
    shifts, weights = [], []
    for of, m in zip(made.gates, own, strict=True):
        basis = bases(of, jax.lax.stop_gradient(m), jnp)
        turns = basis @ jnp.asarray(rule_of(of.name).directions, basis.dtype)
        which = np.arange(len(basis))[:, None, None], np.arange(len(basis[0]))[None, :, None]
        empty = jnp.zeros((*basis.shape[:2], len(made.source)), basis.dtype)
        found = empty.at[(*which, of.middles[:, None, :])].set(turns)
        shifts.append(found.reshape(-1, len(made.source)))
        weights.append((basis @ m).reshape(-1, m.shape[-1]))
    return jnp.concatenate(shifts), jnp.concatenate(weights)
