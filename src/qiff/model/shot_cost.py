r"""How many shots the forces of a configuration need, as a function of weights and positions.

With shots in proportion to what each setting of each shifted circuit contributes, forces whose
standard errors have the mean square $\epsilon^2$ take

$$ N = \frac{S\,(S + S_E)}{\epsilon^2}, \qquad S = \sum_r s_r, \qquad
   s_r^2 = \frac{1}{3 n} \sum_i w_{ri}^2\, \sigma_r^2 $$

with the sum over settings and shifted circuits, $\sigma_r$ the standard deviation of one shot of
the part of the energy that is read, and $w_{ri}$ the weight of the circuit in force component $i$
(see `directions`). $S_E$ is the same sum for the circuits of the energy, with $w = 1$/Å. Errors of
forces that come from these circuits are left out, and the read-out is taken as linear.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import InputError
from .._types import Positions, Qubits
from ..atoms.graph import Graph
from ..quantum.engine import expectations
from ..quantum.insertion import Insertion, inserted, insertion
from ..quantum.moments import moments
from ..quantum.program import Program
from ..quantum.shift import rule_of
from .directions import along_rotations, bases, conserves_rotations, follows
from .plan import CircuitTrace
from .potential import AbstractPotential

GOAL = 0.010
"""Error of a force component in eV/Å that numbers of shots are stated for."""
STATED_SHOTS = 1e6
"""Shots of a configuration that `ShotCost.mean_square` is given for."""
_SMALLEST = 1e-9


class Shares(NamedTuple):
    """What shots are shared by, in eV/Å: see the equations of the module.

    Args:
        first, second: two independent estimates of $S$; equal if all circuits are counted.
        energy: $S_E$.
    """

    first: Float[Array, ""]
    second: Float[Array, ""]
    energy: Float[Array, ""]


class _Circuits(NamedTuple):
    """Circuits of a gate list: see `Request`; and where their directions are taken."""

    angles: Array
    slopes: Array
    readouts: Array
    fixed_angles: Array
    fixed_slopes: Array


@dataclass(frozen=True)
class ShotCost:
    """The shots of configurations of some atoms for potentials of one structure; see `shot_cost`.

    Args:
        open_slots: for each gate list the angles that depend on the positions.
        method: a key of `SETTINGS`: how circuits are measured.
    """

    open_slots: tuple[Qubits, ...]
    method: str = "auto"

    def shares(
        self,
        potential: AbstractPotential,
        graph: Graph,
        key: PRNGKeyArray | None = None,
        n_drawn: int = 0,
        directions_of: AbstractPotential | None = None,
    ) -> Shares:
        """The shares of one configuration.

        Args:
            potential: whose circuits are measured.
            graph: the configuration.
            key: to draw shifted circuits with, in proportion to their weights; None for all.
            n_drawn: pairs of shifted circuits of each of the two estimates and gate list.
            directions_of: the potential whose directions are taken; by default the same. They
                are constants of derivatives: results of circuits do not depend on them, and the
                number of shots hardly, since it is near its minimum.
        """
        trace, positions = CircuitTrace(potential, graph), jnp.asarray(graph.positions)
        request = trace.request(jax.tree.leaves(potential), positions)
        fixed = jax.lax.stop_gradient(jax.tree.leaves(directions_of or potential))
        at = trace.request(fixed, positions)
        parts = request.angles, request.slopes, request.weights
        lists: Any = zip(*parts, at.angles, at.slopes, strict=True)
        total = jnp.zeros(3, positions.dtype)
        for program, slots, of in zip(trace.programs, self.open_slots, lists, strict=True):
            made = insertion(program, slots)
            given = _Circuits(*of)
            total += _shares(program, made, self.method, given, positions, key, n_drawn)
        return Shares(*total)

    def mean_square(
        self, potential: AbstractPotential, graph: Graph, key: PRNGKeyArray, n_drawn: int
    ) -> Float[Array, ""]:
        """Mean square of the standard errors of forces in (eV/Å)² with `STATED_SHOTS` shots.

        It is an unbiased estimate, see `shares`.
        """
        first, second, energy = self.shares(potential, graph, key, n_drawn)
        return (first * second + (first + second) / 2 * energy) / STATED_SHOTS

    def shots(
        self, potential: AbstractPotential, graph: Graph, error: float = GOAL
    ) -> Float[Array, ""]:
        """Shots for a root mean square of the standard errors of forces in eV/Å."""
        total, _, energy = self.shares(potential, graph)
        return total * (total + energy) / error**2


def shot_cost(potential: AbstractPotential, graph: Graph, method: str = "auto") -> ShotCost:
    """The cost of configurations of the same atoms.

    Args:
        potential: any.
        graph: one configuration.
        method: a key of `SETTINGS`.

    Raises:
        InputError: the circuits of the potential cannot be sent.
    """
    trace, leaves = CircuitTrace(potential, graph), jax.tree.leaves(potential)
    if len(trace.stages) > 1:
        raise InputError(
            "The shots of circuits that depend on the results of others cannot be predicted: use "
            "`shot_weight` = 0, or `qiff resources` for their number."
        )
    slopes = jax.jit(trace.request)(leaves, jnp.asarray(graph.positions)).slopes
    found = []
    for program, of_list in zip(trace.programs, slopes, strict=True):
        moving = np.flatnonzero(np.any(np.asarray(of_list) != 0, axis=(0, 2, 3)))
        found.append(tuple(sorted({int(slot) for slot in moving} & set(program.read_slots()))))
    return ShotCost(tuple(found), method)


def _shares(
    program: Program,
    made: Insertion,
    method: str,
    of: _Circuits,
    positions: Positions,
    key: PRNGKeyArray | None,
    n_drawn: int,
) -> Float[Array, "3"]:
    """`ShotCost.shares` of the circuits of one gate list."""
    energy = jax.vmap(partial(deviations, program, method))(of.angles[:, None], of.readouts).sum()
    of_energy = energy / np.sqrt(positions.size)
    if not made.gates:
        return jnp.stack([0 * energy, 0 * energy, of_energy])
    rows = partial(_rows, program, made, positions)
    flat = lambda slopes: slopes.reshape(*of.angles.shape, -1)
    given = of.angles, flat(of.slopes), of.fixed_angles, flat(of.fixed_slopes)
    shifts, weights = jax.vmap(rows)(*given)
    n_circuits, n_rows, _ = weights.shape
    sizes = jnp.sqrt((weights**2).sum(-1) / positions.size + _SMALLEST**2)

    def of_row(row: Array) -> Array:
        k, r = row // n_rows, row % n_rows
        plain, shift = made.angles(of.angles[k]), shifts[k, r]
        both = jnp.stack([plain + shift, plain - shift])
        return sizes[k, r] * deviations(made.program, method, both, of.readouts[k]).sum()

    if key is None:
        total = jax.vmap(of_row)(jnp.arange(n_circuits * n_rows)).sum()
        return jnp.stack([total, total, of_energy])
    chances = jax.lax.stop_gradient(sizes * jnp.linalg.norm(of.readouts, axis=1)[:, None]).ravel()
    chances /= chances.sum()
    drawn = jax.random.categorical(key, jnp.log(chances), shape=(2 * n_drawn,))
    means = (jax.vmap(of_row)(drawn) / chances[drawn]).reshape(2, n_drawn).mean(1)
    return jnp.append(means, of_energy)


def deviations(
    program: Program, method: str, angles: Float[Array, "n_rows n_slots"], readout: Array
) -> Float[Array, " n_rows"]:
    """Standard deviations of one shot of the weighted observables, summed over settings."""
    what = moments(program.observables, method)
    simulated = replace(program, observables=what.observables)
    values = jax.vmap(partial(expectations, simulated))(angles)
    covariance = jax.vmap(what.covariance)(values)
    squares = jnp.einsum("rsop,o,p->rs", covariance, readout, readout)
    return jnp.sqrt(jnp.maximum(squares, 0) + _SMALLEST * readout @ readout).sum(1)


def _rows(
    program: Program,
    made: Insertion,
    positions: Positions,
    angles: Array,
    slopes: Array,
    fixed_angles: Array,
    fixed_slopes: Array,
) -> tuple[Array, Array]:
    """Shifts of `made` and weights of the pairs of shifted circuits of one circuit."""
    own = _insertions(made, angles, slopes)
    fixed = _insertions(made, fixed_angles, fixed_slopes)
    if conserves_rotations(program):
        is_invariant = follows(made.gates, fixed_angles, fixed_slopes, positions, jnp)
        away = along_rotations(made.gates, fixed, positions, jnp) * is_invariant
        own, fixed = ([m - m @ away for m in each] for each in (own, fixed))
    shifts, weights = [], []
    for of, m, at in zip(made.gates, own, fixed, strict=True):
        basis = jax.lax.stop_gradient(bases(of, at, jnp))
        turns = basis @ jnp.asarray(rule_of(of.name).directions, basis.dtype)
        which = np.arange(len(basis))[:, None, None], np.arange(len(basis[0]))[None, :, None]
        empty = jnp.zeros((*basis.shape[:2], len(made.source)), basis.dtype)
        shifted = empty.at[(*which, of.middles[:, None, :])].set(turns)
        shifts.append(shifted.reshape(-1, len(made.source)))
        weights.append((basis @ m).reshape(-1, m.shape[-1]))
    return jnp.concatenate(shifts), jnp.concatenate(weights)


def _insertions(made: Insertion, angles: Array, slopes: Array) -> Sequence[Array]:
    """By kind of open gates $M_g$, see `directions`."""
    return [
        jnp.einsum("gkj,gki->gji", jax.vmap(partial(inserted, of.name))(angles[of.slots]), own)
        for of, own in ((of, slopes[of.slots]) for of in made.gates)
    ]
