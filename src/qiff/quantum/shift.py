r"""Shift rules: exact derivatives of expectation values from values at a few other angles.

Every gate with angles is $U(a) = e^{-iH}$, $H = \sum_k a_k G_k$. Cut in the middle,

$$ \partial_k U = e^{-iH/2}\,(-i W_k)\,e^{-iH/2}, \qquad
   W_k = \int_{-1/2}^{1/2} e^{isH} G_k e^{-isH} ds $$

and because odd commutators of generators cancel in $W_k$, it is a sum $\sum_j c_{kj}(a) B_j$ of as
many operators as the gate has angles, each with $B_j^2 = 1$. So

$$ \partial_k f = \sum_j c_{kj}(a)\,\big(f_{+j} - f_{-j}\big) $$

where in $f_{\pm j}$ the gate is $e^{-iH/2} e^{\mp i\pi B_j/4} e^{-iH/2}$: for the same reason
that is the gate itself at other angles. A derivative in every angle is two circuits for each
angle, all of them the same gate list.

For `spin` the $B_j$ are X, Y, Z in the middle of the rotation, which share the circuits of all
three components. For a gate of one angle whose generator has two eigenvalues, such as `exchange`
and rotations about an axis, it is the plain shift rule and follows from the generator.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float, Num

from .._checks import InputError
from .gate import GATES, GateKind
from .program import Program
from .unitary import generators

Sandwich = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Angles of $U(a/2)\\,U(d)\\,U(a/2)$ from $a$ and $d$, arrays of angles in their last axis."""


@dataclass(frozen=True, eq=False)
class ShiftRule:
    r"""How a kind of gate is differentiated.

    Args:
        generators: $G_k$.
        directions: row $j$ is the angles $d_j$ of $e^{-i\pi B_j/4}$, up to a phase.
        sandwich: see `Sandwich`.
    """

    generators: Num[np.ndarray, "n_angles dim dim"]
    directions: Float[np.ndarray, "n_angles n_angles"]
    sandwich: Sandwich

    def coefficients(
        self, angles: Float[np.ndarray, "*batch n_angles"]
    ) -> Float[np.ndarray, "*batch n_angles n_angles"]:
        r"""$c_{kj}$ at these angles."""
        values, vectors = np.linalg.eigh(np.tensordot(angles, self.generators, 1))
        gaps = values[..., :, None] - values[..., None, :]
        inverse = np.swapaxes(vectors.conj(), -1, -2)[..., None, :, :]
        outer = vectors[..., None, :, :]
        middle = inverse @ self.generators @ outer * np.sinc(gaps / 2 / np.pi)[..., None, :, :]
        insertions = outer @ middle @ inverse
        operators = np.tensordot(self.directions, self.generators, 1) * 4 / np.pi
        dim = operators.shape[-1]
        operators = operators - np.einsum("jaa,bc->jbc", operators, np.eye(dim)) / dim
        dual = np.linalg.pinv(operators.reshape(len(operators), -1))
        return (insertions.reshape(*angles.shape, -1) @ dual).real

    def shifted(
        self, angles: Float[np.ndarray, "*batch n_angles"]
    ) -> Float[np.ndarray, "*batch n_angles 2 n_angles"]:
        r"""Angles of $f_{+j}$ and $f_{-j}$."""
        both = np.stack([self.directions, -self.directions], axis=1)
        return self.sandwich(angles[..., None, None, :], both)


class Shifts(NamedTuple):
    r"""Circuits whose values give a derivative: $\partial_k f = \sum_r$ `weights[k, r]` $f_r$."""

    angles: Float[np.ndarray, "*batch n_rows n_slots"]
    weights: Float[np.ndarray, "*batch n_slots n_rows"]


def shifts(
    program: Program,
    angles: Float[np.ndarray, "*batch n_slots"],
    slots: Iterable[int] | None = None,
) -> Shifts:
    """The circuits from which the derivatives in the angles follow, two for each angle.

    Args:
        program: the gates.
        angles: where, in radians.
        slots: of the angles to differentiate in; gates without any of them are left out. Default
            all.

    Returns:
        Angles of the circuits and weights of their values.
    """
    wanted = set(range(program.n_slots) if slots is None else slots)
    gates = [gate for gate in program.gates() if wanted.intersection(gate.slots)]
    n_rows = 2 * sum(gate.kind.n_angles for gate in gates)
    batch = angles.shape[:-1]
    rows = np.broadcast_to(angles[..., None, :], (*batch, n_rows, program.n_slots)).copy()
    weights = np.zeros((*batch, program.n_slots, n_rows))
    begin = 0
    for gate in gates:
        rule, own = rule_of(gate.name), np.array(gate.slots)
        here = np.arange(begin, begin + 2 * len(own))
        begin += len(here)
        at = angles[..., own]
        rows[..., here[:, None], own] = rule.shifted(at).reshape(*batch, len(here), -1)
        coefficients = rule.coefficients(at)
        weights[..., own[:, None], here[::2]] = coefficients
        weights[..., own[:, None], here[1::2]] = -coefficients
    return Shifts(rows, weights)


def _add(angles: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Gates of one angle commute."""
    return angles + direction


def _rotate(angles: np.ndarray, direction: np.ndarray) -> np.ndarray:
    r"""Rotations: the part of the axis $m$ across the outer axis $n$ keeps its length."""
    length, turn = (np.linalg.norm(v, axis=-1, keepdims=True) for v in (angles, direction))
    n = angles / np.where(length > 0, length, 1)
    m = direction / turn
    along = (n * m).sum(-1, keepdims=True)
    outer, inner = (np.stack([np.cos(t / 2), np.sin(t / 2)]) for t in (length, turn))
    scalar = inner[0] * outer[0] - inner[1] * outer[1] * along
    vector = inner[0] * outer[1] * n + inner[1] * (m + (outer[0] - 1) * along * n)
    size = np.linalg.norm(vector, axis=-1, keepdims=True)
    axis = np.where(size > 0, vector, m) / np.where(size > 0, size, 1)
    return 2 * np.arctan2(size, scalar) * axis


_MIXTURES = (0.0, 0.31, 0.75, 1.37, 2.9)


def _couple(angles: np.ndarray, direction: np.ndarray) -> np.ndarray:
    r"""$e^{2iQ'} = e^{iQ} e^{2iD} e^{iQ}$, symmetric and unitary, so that $Q'$ is real.

    Real and imaginary part commute: a mixture of both has the eigenvectors of the product, but
    for a chance degeneracy, so the best of several mixtures is taken.
    """
    outer, inner = _exponential(symmetric(angles)), _exponential(2 * symmetric(direction))
    product = outer @ inner @ outer
    best, least = np.zeros(product.shape), np.full(product.shape[:-2], np.inf)
    for mixture in _MIXTURES:
        _, vectors = np.linalg.eigh(np.real(product) + mixture * np.imag(product))
        across = np.swapaxes(vectors, -1, -2)
        phases = np.angle(np.diagonal(across @ product @ vectors, axis1=-2, axis2=-1))
        found = vectors * (phases / 2)[..., None, :] @ across
        defect = np.abs(_exponential(2 * found) - product).max((-1, -2))
        best = np.where((defect < least)[..., None, None], found, best)
        least = np.minimum(defect, least)
    return best[..., *np.triu_indices(3)]


def symmetric(entries: np.ndarray) -> Float[np.ndarray, "*batch 3 3"]:
    """The matrix of xx, xy, xz, yy, yz, zz."""
    return entries[..., np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])]


def _exponential(matrix: np.ndarray) -> Complex[np.ndarray, "*batch 3 3"]:
    r"""$e^{iA}$ of a real symmetric matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.exp(1j * values)[..., None, :] @ np.swapaxes(vectors, -1, -2)


def _quadrupole_directions() -> Float[np.ndarray, "6 6"]:
    """Products of a component of either spin along x, y, z and the bisectors between them."""
    pairs = list(combinations_with_replacement(range(3), 2))
    axes = np.array([(np.eye(3)[a] + np.eye(3)[b]) for a, b in pairs])
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    return np.pi / 4 * np.array([[axis[a] * axis[b] for a, b in pairs] for axis in axes])


_QUARTERS = np.pi / 2 * np.eye(3)

RULES: dict[str, ShiftRule] = {
    "spin": ShiftRule(generators("spin"), _QUARTERS, _rotate),
    "mirror": ShiftRule(generators("mirror"), _QUARTERS, _rotate),
    "quadrupole": ShiftRule(generators("quadrupole"), _quadrupole_directions(), _couple),
}
"""Gates of several angles; see `rule_of`."""


def rule_of(name: str) -> ShiftRule:
    """The shift rule of a gate: its own, or the one that follows from its single generator.

    Raises:
        InputError: it has no rule and none follows from its generators.
    """
    return RULES[name] if name in RULES else _plain_rule(name, GATES[name])


@cache
def _plain_rule(name: str, kind: GateKind) -> ShiftRule:
    r"""$d = \pi / 2(\lambda_2 - \lambda_1)$ for a generator with two eigenvalues $\lambda$."""
    if kind.n_angles != 1:
        raise InputError(f"Gate `{name}` has {kind.n_angles} angles: add its shift rule to RULES.")
    values = np.unique(np.linalg.eigvalsh(generators(name)[0]).round(10))
    if len(values) != 2:
        raise InputError(
            f"The generator of gate `{name}` must have 2 different eigenvalues for a shift rule, "
            f"but has {len(values)}: add the rule to RULES."
        )
    return ShiftRule(generators(name), np.pi / 2 / np.diff(values)[:, None], _add)
