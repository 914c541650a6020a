r"""The directions in which circuits are shifted for forces, so that few shots are needed.

With the insertions $M_g$ of the open gates of a circuit $f$,

$$ \frac{\partial f}{\partial R_i} = \sum_{gj} M_{gji}\,(f_{g,+j} - f_{g,-j}) $$

and with shots in proportion to what each shifted circuit contributes, forces with an error
$\epsilon$ take $(\sum_{gj} |M_{gj}|\,\sigma_{gj})^2/\epsilon^2$ shots. Two things make this small:

* A gate that is turned by a vector can be shifted along any three axes. Its singular vectors are
  as many as $M_g$ has ranks, and for equal $\sigma$ no other axes have a smaller sum.
* The derivative of an invariant circuit along a rotation of the molecule is known to be zero: with
  displacements $K$ of infinitesimal rotations, $M_g (1 - K A)$ has the same sum for any $A$. One
  that makes $\sum_g |M_g (1 - K A)|$ smallest is found by iteratively reweighted least squares.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..quantum.gate import GATES
from ..quantum.insertion import OpenGates
from ..quantum.program import Program

_STEPS = 8
_TILT = 1e-4


def conserves_rotations(program: Program) -> bool:
    """Whether common rotations of the qubits and of the vectors of its gates change nothing."""
    paired = {q for pair in program.state.pairs for q in pair}
    kinds = {gate.kind for gate in program.gates()}
    return (
        len(paired) == program.n_qubits
        and all(kind.rank in (0, 1) and not kind.n_ancillas for kind in kinds)
        and all(observable.is_isotropic for observable in program.observables)
    )


def is_turned(name: str) -> bool:
    """Whether every unit vector is a direction of a kind of gate."""
    return GATES[name].rank == 1


def rotations(positions: Any, xp: Any = np) -> Any:
    r"""Displacements $e_\alpha \times r_i$ of infinitesimal rotations, (n_components, 3)."""
    centred = positions - positions.mean(0)
    axes = xp.eye(3, dtype=positions.dtype)
    return xp.cross(axes[:, None], centred[None]).reshape(3, -1).T


def follows(
    gates: Sequence[OpenGates], angles: Any, slopes: Any, positions: Any, xp: Any = np
) -> Any:
    """Whether the angles of a circuit turn with the positions, those of one angle not at all."""
    turned, off = slopes @ rotations(positions, xp), []
    axes = xp.eye(3, dtype=angles.dtype)
    for of in gates:
        along = xp.moveaxis(turned[of.slots], 2, 1)
        wanted = (
            xp.cross(axes[None], angles[of.slots][:, None]) if is_turned(of.name) else 0 * along
        )
        off.append(xp.abs(along - wanted).max())
    return xp.stack(off).max() < 1e4 * xp.finfo(angles.dtype).eps * (1 + xp.abs(slopes).max())


def along_rotations(
    gates: Sequence[OpenGates], insertions: Sequence[Any], positions: Any, xp: Any = np
) -> Any:
    """The best $K A$, (n_components, n_components), for the insertions $M_g$ of the open gates."""
    turns = rotations(positions, xp)
    parts = [
        m if is_turned(of.name) else m.reshape(-1, 1, m.shape[-1])
        for of, m in zip(gates, insertions, strict=True)
    ]
    mixed = xp.linalg.pinv(turns, 1e-6)
    for _ in range(_STEPS):
        left, right = 0.0, 0.0
        for m in parts:
            squares = ((m - m @ turns @ mixed) ** 2).sum((1, 2))
            floor = 1e-6 * (m * m).sum((1, 2)).max() + xp.finfo(m.dtype).tiny
            across = m @ turns
            shares = across / xp.sqrt(squares + floor)[:, None, None]
            left += xp.einsum("gja,gjb->ab", shares, across)
            right += xp.einsum("gja,gji->ai", shares, m)
        mixed = xp.linalg.pinv(left, 1e-6, True) @ right
    return turns @ mixed


def bases(gates: OpenGates, insertions: Any, xp: Any = np) -> Any:
    """For each gate of a kind its directions as rows, (n_gates, n_angles, n_angles).

    Of equal singular values any directions are singular vectors; which, a small term decides.
    """
    n_gates, n_angles = gates.slots.shape
    one = xp.eye(n_angles, dtype=insertions.dtype)
    if not is_turned(gates.name):
        return xp.broadcast_to(one, (n_gates, n_angles, n_angles))
    squares = insertions @ xp.swapaxes(insertions, 1, 2)
    squares /= xp.trace(squares, axis1=1, axis2=2)[:, None, None] + xp.finfo(one.dtype).tiny
    tilted = squares + _TILT * squares @ (one * xp.arange(n_angles, dtype=one.dtype)) @ squares
    return xp.swapaxes(xp.linalg.eigh(tilted)[1], 1, 2)
