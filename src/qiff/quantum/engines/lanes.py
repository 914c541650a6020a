"""Gates and observables as element-wise operations on amplitudes, one sample in every lane.

A state is a list of amplitudes, each a real and an imaginary part, which are arrays with an entry
for each sample. No operation mixes entries, so a compiler can keep all amplitudes in registers.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..gate import GATES, SINGLET, TRIPLET, Gate, half_angle
from ..program import Program

Lane = Array
"""One real number of each sample."""
Amplitude = tuple[Lane, Lane]
"""Real and imaginary part."""
State = list[Amplitude]
Functions = Any
"""What a gate needs of its angles: even functions of them, and odd ones."""


class Rule(NamedTuple):
    r"""How a gate acts.

    Args:
        functions: of the angles, the even and the odd ones: for $-a$ the odd ones change sign.
        apply: $U\psi$ of the amplitudes of the qubits of the gate.
        undo: $U^\dagger\psi$ from the same functions.
        n_parts: how often the gate has to act with that part of its angles; None for once.
    """

    functions: Callable[[Sequence[Lane]], Functions]
    apply: Callable[[Functions, State], State]
    undo: Callable[[Functions, State], State]
    n_parts: Callable[[Sequence[Lane]], Array] | None = None


def has_rule(gate: Gate) -> bool:
    """Whether a gate is known here."""
    return gate.kind.fixed is not None or gate.name in RULES


def rule(gate: Gate) -> Rule:
    """How a gate acts."""
    fixed = gate.kind.fixed
    if fixed is None:
        return RULES[gate.name]

    def times(matrix: np.ndarray) -> Callable[[Functions, State], State]:
        return lambda _, z: [_total(row) for row in _terms(matrix, z)]

    return Rule(lambda _: (), times(fixed), times(fixed.conj().T))


def turned(gate: Gate, angles: Sequence[Lane], state: State) -> State:
    """The state after a gate."""
    found = rule(gate)
    return _everywhere(gate, found.apply, found.functions(angles), state)


def returned(
    gate: Gate, angles: Sequence[Lane], states: tuple[State, State]
) -> tuple[list[Lane], tuple[State, State]]:
    r"""A step of the adjoint method: $\psi$ and $\lambda$ before a gate from those after it.

    Returns: $\mathrm{Re}\langle\lambda|\partial_k U|\psi\rangle$ for every angle, and both states
        before the gate, $U^\dagger\psi$ and $U^\dagger\lambda$.
    """
    found, (after, left) = rule(gate), states
    functions, of_angles = jax.vjp(found.functions, angles)
    before = _everywhere(gate, found.undo, functions, after)
    _, pull = jax.vjp(partial(_everywhere, gate, found.apply), functions, before)
    of_functions, left_before = pull(left)
    return of_angles(of_functions)[0], (before, left_before)


def measured(program: Program, state: State) -> list[Lane]:
    r"""$\langle\psi|O_k|\psi\rangle$ of every observable."""
    values = []
    for observable in program.observables:
        value = jnp.zeros_like(state[0][0])
        for mask, factors in observable.diagonals().items():
            for i in np.flatnonzero(factors):
                re, im = _product(factors[i], state[i ^ mask])
                value = value + (state[i][0] * re + state[i][1] * im)
        values.append(value)
    return values


def observed(
    program: Program, psi: State, weights: list[Lane]
) -> tuple[list[Lane], tuple[State, State]]:
    r"""What is measured, $f_k = \langle\psi|O_k|\psi\rangle$, and the start of the adjoint method.

    Returns: $f$; and $\psi$ with $\lambda = 2\sum_k w_k O_k\psi$, the slope of $w\cdot f$.
    """
    values, pull = jax.vjp(partial(measured, program), psi)
    return values, (psi, pull(weights)[0])


def start(program: Program, zero: Lane) -> State:
    """The initial state, which is real."""
    return [(zero + float(z.real), zero) for z in program.state.vector()]


def _everywhere(
    gate: Gate, act: Callable[[Functions, State], State], functions: Functions, state: State
) -> State:
    """Act on the amplitudes of the qubits of a gate, for all values of the other qubits."""
    new, n_qubits = list(state), len(state).bit_length() - 1
    for places in _places(gate.qubits, n_qubits):
        for place, z in zip(places, act(functions, [state[p] for p in places]), strict=True):
            new[place] = z
    return new


@cache
def _places(qubits: tuple[int, ...], n_qubits: int) -> list[list[int]]:
    """Indices of amplitudes, those of the same other qubits together; qubit 0 leads."""
    index = np.arange(2**n_qubits).reshape((2,) * n_qubits)
    front = np.moveaxis(index, qubits, range(len(qubits)))
    return front.reshape(2 ** len(qubits), -1).T.tolist()


def _rotation(name: str) -> Rule:
    r"""$\cos\tfrac{|a|}2 - 2i\,\tfrac{\sin(|a|/2)}{|a|}\,a\cdot G$, as the $2 G_k$ anticommute."""
    generators = GATES[name].generators
    assert generators is not None

    def functions(angles: Sequence[Lane]) -> Functions:
        cosine, ratio = half_angle(_sum(a * a for a in angles))
        return cosine, [ratio * a for a in angles]

    def apply(functions: Functions, z: State) -> State:
        cosine, axis = functions
        found = [[(cosine * re, cosine * im)] for re, im in z]
        for a, generator in zip(axis, generators, strict=True):
            for row, terms in zip(found, _terms(-2j * generator, z), strict=True):
                row += [(a * re, a * im) for re, im in terms]
        return [_total(row) for row in found]

    return Rule(jax.jit(functions), jax.jit(apply), jax.jit(_reversed(apply)))


def _on_subspace(basis: np.ndarray, functions: Callable, n_parts: Callable | None = None) -> Rule:
    r"""$1 + \tfrac12 W C W^\dagger$, with orthogonal columns of $W$ of length $\sqrt2$.

    The real part of the symmetric matrix $C$ is even in the angles, the imaginary part odd.
    """
    columns = np.round(math.sqrt(2) * basis, 12)

    def apply(functions: Functions, z: State) -> State:
        inside = [_total(row) for row in _terms(columns.conj(), z)]
        changed = [
            _total(_times(entry, w) for entry, w in zip(row, inside, strict=True))
            for row in [list(zip(*parts, strict=True)) for parts in zip(*functions, strict=True)]
        ]
        return [_total([one, *row]) for one, row in zip(z, _terms(columns.T, changed), strict=True)]

    return Rule(jax.jit(functions), jax.jit(apply), jax.jit(_reversed(apply)), n_parts)


def _reversed(apply: Callable[[Functions, State], State]) -> Callable[[Functions, State], State]:
    def undo(functions: Functions, z: State) -> State:
        even, odd = functions
        return apply((even, jax.tree.map(jnp.negative, odd)), z)

    return undo


def _exchange(angles: Sequence[Lane]) -> Functions:
    r"""Half of $e^{4ij} - 1$: the phase of the singlet, that of triplets being left out."""
    (j,) = angles
    return [[(jnp.cos(4 * j) - 1) / 2]], [[jnp.sin(4 * j) / 2]]


LARGEST = 3.0
"""Of the eigenvalues of 2 Y that the series is used for."""
N_TERMS = {"float32": 21, "float64": 33}


def _traceless(angles: Sequence[Lane]) -> tuple[list[list[Lane]], list[list[Lane]], Lane, Lane]:
    r"""$Y = Q - \tfrac13\mathrm{tr}Q$, $Y^2$, $p = \tfrac12\mathrm{tr}Y^2$ and the trace of $Q$."""
    xx, xy, xz, yy, yz, zz = angles
    trace = xx + yy + zz
    mean = trace / 3
    y = [[xx - mean, xy, xz], [xy, yy - mean, yz], [xz, yz, zz - mean]]
    square = [[_sum(y[i][k] * y[k][j] for k in range(3)) for j in range(3)] for i in range(3)]
    return y, square, (square[0][0] + square[1][1] + square[2][2]) / 2, trace


def _quadrupole(angles: Sequence[Lane]) -> Functions:
    r"""Half of $e^{-\frac43 i\,\mathrm{tr}Q} e^{2iY} - 1$ on the triplet, see `gate.quadrupole`.

    The phase of the singlet is left out. The exponential is $h_0 + h_1 Y + h_2 Y^2$ with series
    in $p$ and $d = \det Y$, from $Y^3 = pY + d$.
    """
    y, square, p, trace = _traceless(angles)
    d = _sum(y[0][k] * (y[1][k - 2] * y[2][k - 1] - y[1][k - 1] * y[2][k - 2]) for k in range(3))
    zero = jnp.zeros_like(p)
    h = [(zero, zero)] * 3
    for n in range(N_TERMS[p.dtype.name], -1, -1):
        weight = (2j) ** n / math.factorial(n)
        (re, im), one, two = h[2], h[0], h[1]
        h = [
            (d * re + weight.real, d * im + weight.imag),
            (one[0] + p * re, one[1] + p * im),
            two,
        ]
    phase = jnp.cos(4 / 3 * trace), -jnp.sin(4 / 3 * trace)
    h = [_times(phase, part) for part in h]

    def half(part: int) -> list[list[Lane]]:
        of = [
            [h[1][part] * y[i][j] + h[2][part] * square[i][j] for j in range(3)] for i in range(3)
        ]
        for i in range(3):
            of[i][i] = of[i][i] + (h[0][part] - (1 - part))
        return [[entry / 2 for entry in row] for row in of]

    return half(0), half(1)


def _n_parts(angles: Sequence[Lane]) -> Array:
    """So many that the series of a quadrupole gate converges in every lane."""
    p = _traceless(angles)[2]
    bound = 4 * jnp.sqrt(jnp.max(p) / 3)
    return 1 + jnp.minimum(bound / LARGEST, 2.0**30).astype(np.int32)


def _sum(lanes: Iterable[Lane]) -> Lane:
    first, *others = lanes
    return sum(others, first)


def _total(amplitudes: Iterable[Amplitude]) -> Amplitude:
    re, im = zip(*amplitudes, strict=True)
    return _sum(re), _sum(im)


def _times(z: Sequence[Any], w: Amplitude) -> Amplitude:
    return z[0] * w[0] - z[1] * w[1], z[0] * w[1] + z[1] * w[0]


def _product(factor: complex, z: Amplitude) -> Amplitude:
    """With a constant; most are powers of i, which need no multiplication."""
    re, im = z
    for _ in range(4):
        if factor == 1:
            return re, im
        factor, re, im = factor * -1j, -im, re
    if factor.imag == 0:
        return float(factor.real) * re, float(factor.real) * im
    return _times((float(factor.real), float(factor.imag)), z)


def _terms(matrix: np.ndarray, z: State) -> list[list[Amplitude]]:
    """The terms of each row of the product of a constant matrix with amplitudes."""
    return [[_product(row[i], z[i]) for i in np.flatnonzero(row)] for row in matrix]


RULES: dict[str, Rule] = {
    **{name: _rotation(name) for name in ("spin", "mirror", "rx", "ry", "rz")},
    "exchange": _on_subspace(SINGLET[None], _exchange),
    "quadrupole": _on_subspace(TRIPLET, _quadrupole, _n_parts),
}
"""By the name of the gate; those with a fixed matrix need none."""
