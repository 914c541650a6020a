r"""The directions in which circuits are shifted for forces, so that few shots are needed.

With insertions $M_g$ of an open gate $g$, $\partial f/\partial R_i = \sum_{gj} M_{gji}
(f_{g,+j} - f_{g,-j})$, and shots in proportion to what each shifted circuit contributes, a force
takes $(\sum_{gj} |M_{gj}|\,\sigma)^2/\epsilon^2$ of them. Two things make the sum small:

* A gate turned by a vector can be shifted along any three axes. Its singular vectors make the sum
  the nuclear norm of $M_g$, and as many axes as $M_g$ has ranks.
* A circuit that is invariant under rotations has no derivative along them, $\sum_g M_g K f_g = 0$
  with the displacements $K$ of infinitesimal rotations. So $M_g (1 - K A)$ has the same sum for
  any $A$, of which the best is taken, by iteratively reweighted least squares.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._types import Positions
from ..quantum.gate import GATES
from ..quantum.insertion import Insertion, inserted
from ..quantum.program import Program

_STEPS = 12


class Rows(NamedTuple):
    """Pairs of shifted circuits of one circuit.

    Args:
        shifts: of the angles of `Insertion.program`, in the first of the pair; the second has the
            opposite.
        weights: of the difference of a pair in the derivative in each position.
    """

    shifts: Float[Array, "n_rows n_inserted"]
    weights: Float[Array, "n_rows n_components"]


def conserves_rotations(program: Program) -> bool:
    """Whether common rotations of the qubits and of the vectors of its gates change nothing."""
    paired = {q for pair in program.state.pairs for q in pair}
    ranks = [gate.kind.rank for gate in program.gates() if not gate.kind.n_ancillas]
    return (
        len(paired) == program.n_qubits
        and len(ranks) == len(list(program.gates()))
        and set(ranks) <= {0, 1}
        and all(o.is_isotropic for o in program.observables)
    )


def rows(
    made: Insertion,
    angles: Float[Array, " n_slots"],
    slopes: Float[Array, "n_slots n_components"],
    positions: Positions,
    *,
    invariant: bool,
) -> Rows:
    """The shifted circuits of one circuit; directions are constants of its derivatives.

    Args:
        made: its program.
        angles: of the circuit.
        slopes: their derivatives in the positions.
        positions: in Å.
        invariant: `conserves_rotations`.
    """
    own: list[Array] = [
        jnp.einsum(
            "gkj,gki->gji",
            jax.vmap(lambda a, n=of.name: inserted(n, a))(angles[of.slots]),
            slopes[of.slots],
        )
        for of in made.gates
    ]
    axes = [_is_turned(of.name) for of in made.gates]
    if invariant:
        fixed = jax.lax.stop_gradient(own)
        gauge = _gauge(fixed, axes, positions, _follows(made, angles, slopes, positions))
        own = [m - (m @ gauge[0]) @ gauge[1] for m in own]
    shifts, weights = [], []
    for of, m, turned in zip(made.gates, own, axes, strict=True):
        n_gates, n_axes, _ = m.shape
        basis = jnp.broadcast_to(jnp.eye(n_axes, dtype=m.dtype), (n_gates, n_axes, n_axes))
        if turned:
            fixed = jax.lax.stop_gradient(m)
            basis = jnp.linalg.eigh(fixed @ fixed.mT)[1].mT
        weights.append((basis @ m).reshape(n_gates * n_axes, -1))
        shifts.append(_shifts(of, basis, len(made.source)))
    return Rows(jnp.concatenate(shifts), jnp.concatenate(weights))


def _is_turned(name: str) -> bool:
    """Whether any unit vector is a direction of the kind of gate."""
    return GATES[name].rank == 1


def _shifts(of, basis, n_inserted):
    from ..quantum.shift import rule_of

    n_gates, n_axes, _ = basis.shape
    turns = basis @ jnp.asarray(rule_of(of.name).directions, basis.dtype)
    empty = jnp.zeros((n_gates, n_axes, n_inserted), basis.dtype)
    which = np.arange(n_gates)[:, None, None], np.arange(n_axes)[None, :, None]
    return empty.at[(*which, of.middles[:, None, :])].set(turns).reshape(n_gates * n_axes, -1)


def _rotations(positions: Positions) -> Float[Array, "n_components 3"]:
    r"""Displacements $e_\alpha \times r_i$ of infinitesimal rotations."""
    centred = positions - positions.mean(0)
    return jnp.cross(jnp.eye(3, dtype=positions.dtype)[:, None], centred).reshape(3, -1).T


def _follows(made, angles, slopes, positions) -> Array:
    """Whether the angles turn with the positions, so that the circuit is invariant."""
    turned = slopes @ _rotations(positions)
    worst = jnp.zeros((), angles.dtype)
    for of in made.gates:
        wanted = 0.0
        if _is_turned(of.name):
            at = angles[of.slots]
            wanted = jnp.moveaxis(jnp.cross(jnp.eye(3, dtype=at.dtype), at[:, None]), 1, 2)
        worst = jnp.maximum(worst, jnp.abs(turned[of.slots] - wanted).max())
    return worst < 1e3 * jnp.finfo(angles.dtype).eps * (1 + jnp.abs(slopes).max())


def _gauge(own, axes, positions, follows):
    """$K$ and the best $A$; zero where the circuit is not invariant."""
    turns = _rotations(positions)
    parts = [
        m if turned else m.reshape(-1, 1, m.shape[-1]) for m, turned in zip(own, axes, strict=True)
    ]
    along = jnp.linalg.pinv(turns, rtol=1e-6) * follows

    def improve(along, _):
        left, right = 0.0, 0.0
        for m in parts:
            rest = m - m @ turns @ along
            gram = rest @ rest.mT
            values, vectors = jnp.linalg.eigh(gram)
            floor = 1e-8 * (m * m).sum((1, 2)).max() + jnp.finfo(gram.dtype).tiny
            metric = (vectors / jnp.sqrt(jnp.maximum(values, 0) + floor)[:, None, :]) @ vectors.mT
            across = m @ turns
            left += jnp.einsum("gja,gjk,gkb->ab", across, metric, across)
            right += jnp.einsum("gja,gjk,gki->ai", across, metric, m)
        return jnp.linalg.pinv(left, rtol=1e-6, hermitian=True) @ right * follows, None

    return turns, jax.lax.scan(improve, along, None, length=_STEPS)[0]
