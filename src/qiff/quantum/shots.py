r"""Finite shots: measurement settings, probabilities of outcomes, and estimates from them.

A `Setting` is a change of basis at the end of a circuit, after which every qubit is read. Pauli
words that differ on no qubit share a setting; or a pair of qubits is read in the Bell basis, which
gives $XX$, $YY$ and $ZZ$ of it at once and so $\sigma_a\cdot\sigma_b$ directly.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from .._checks import check_known
from .._types import Pair, Qubits
from .observable import PauliSum
from .program import Program
from .unitary import unitaries

Closing = tuple[str, Qubits, tuple[float, ...]]
"""A gate of fixed angles at the end of a circuit: name, qubits, angles."""

_TO_Z: dict[str, tuple[tuple[str, float], ...]] = {
    "X": (("ry", -np.pi / 2),),
    "Y": (("rx", np.pi / 2),),
    "Z": (),
    "I": (),
}


@dataclass(frozen=True)
class Setting:
    """How the qubits are read at the end of a circuit.

    Args:
        letters: the letter measured on each qubit, I where it does not matter.
        bells: pairs read in the Bell basis.
        terms: coefficient, number of the observable and word of what is read.
        axis: the direction that takes the place of z, as the vector of a rotation of all qubits
            which turns it to z; only for observables that such rotations leave unchanged.
        flips: mask of the qubits that are flipped before the readout; outcomes are flipped back.
    """

    letters: str
    bells: tuple[Pair, ...]
    terms: tuple[tuple[float, int, str], ...]
    axis: tuple[float, ...] = ()
    flips: int = 0

    @property
    def n_qubits(self) -> int:
        return len(self.letters)

    def gates(self) -> tuple[Closing, ...]:
        """The change of basis."""
        turns: list[Closing] = [
            ("spin", (q,), self.axis) for q in range(self.n_qubits) if self.axis
        ]
        for a, b in self.bells:
            turns += [("cnot", (a, b), ()), ("ry", (a,), (-np.pi / 2,))]
        for qubit, letter in enumerate(self.letters):
            turns += [(name, (qubit,), (angle,)) for name, angle in _TO_Z[letter]]
        return (*turns, *(("rx", (q,), (np.pi,)) for q in self.flipped))

    @property
    def flipped(self) -> Qubits:
        """The qubits in `flips`; qubit 0 is the most significant bit."""
        n = self.n_qubits
        return tuple(q for q in range(n) if self.flips >> (n - 1 - q) & 1)

    def values(self, n_observables: int) -> Float[np.ndarray, "n_observables dim"]:
        """The part of each observable that is read in this setting, for each outcome."""
        found = np.zeros((n_observables, 2**self.n_qubits))
        for coefficient, observable, word in self.terms:
            found[observable] += coefficient * self._signs(word)
        return found

    def _signs(self, word: str) -> Float[np.ndarray, " dim"]:
        index = np.arange(2**self.n_qubits)
        sign = {q: 1 - 2 * (index >> (self.n_qubits - 1 - q) & 1) for q in range(self.n_qubits)}
        product = np.ones(len(index))
        for a, b in self.bells:
            read = {"I": 1, "X": sign[a], "Y": -sign[a] * sign[b], "Z": sign[b]}
            product *= read[word[a]]
        in_bells = {q for pair in self.bells for q in pair}
        for qubit, letter in enumerate(word):
            if letter != "I" and qubit not in in_bells:
                product *= sign[qubit]
        return product


def pauli_settings(observables: Sequence[PauliSum]) -> tuple[Setting, ...]:
    """Words that have no different letters on a qubit are measured together."""
    return _grouped(observables, bells=False)


def bell_settings(observables: Sequence[PauliSum]) -> tuple[Setting, ...]:
    """Words XX, YY and ZZ on disjoint pairs are measured together, in the Bell basis."""
    return _grouped(observables, bells=True)


def fewest_shots(observables: Sequence[PauliSum]) -> tuple[Setting, ...]:
    r"""Bell or Pauli settings, whichever take fewer shots in the maximally mixed state.

    With shots in proportion to standard deviations, their number goes with the square of
    $\sum_s \big(\sum_o \mathrm{Var}_s(o)\big)^{1/2}$ over settings $s$, for observables $o$ that
    are read with equal weights.
    """
    return min((bell_settings(observables), pauli_settings(observables)), key=_deviation)


def _deviation(readings: Sequence[Setting]) -> float:
    """Standard deviations of one shot, summed over settings: without a state, words are ±1 and
    uncorrelated."""
    words = [[c**2 for c, _, word in r.terms if set(word) != {"I"}] for r in readings]
    return sum(np.sqrt(sum(squares)) for squares in words)


SETTINGS: dict[str, Callable[[Sequence[PauliSum]], tuple[Setting, ...]]] = {
    "auto": fewest_shots,
    "pauli": pauli_settings,
    "bell": bell_settings,
}


def settings(observables: Sequence[PauliSum], method: str) -> tuple[Setting, ...]:
    """The settings in which observables are measured.

    Args:
        observables: all of one number of qubits.
        method: a key of `SETTINGS`.

    Raises:
        InputError: the method is unknown.
    """
    check_known("Method of measurement", method, SETTINGS)
    return SETTINGS[method](observables)


def _grouped(observables: Sequence[PauliSum], *, bells: bool) -> tuple[Setting, ...]:
    """Words in order of appearance, each in the first setting that can also read it."""
    n_qubits, read = observables[0].n_qubits, {}
    words = dict.fromkeys(word for o in observables for _, word in o.terms)
    groups: list[dict[str, Any]] = []
    for word in words:
        on = tuple(q for q, letter in enumerate(word) if letter != "I")
        pair = on if bells and len(on) == 2 and len({word[q] for q in on}) == 1 else ()
        group = next((g for g in groups if _fits(g, word, on, pair)), None)
        if group is None:
            group = {"letters": ["I"] * n_qubits, "bells": []}
            groups.append(group)
        if pair:
            group["bells"] += [pair] if pair not in group["bells"] else []
        else:
            for q in on:
                group["letters"][q] = word[q]
        read[word] = groups.index(group)
    terms = [(c, k, word) for k, o in enumerate(observables) for c, word in o.terms]
    return tuple(
        Setting(
            "".join(group["letters"]),
            tuple(group["bells"]),
            tuple(term for term in terms if read[term[2]] == number),
        )
        for number, group in enumerate(groups)
    )


def _fits(group: dict[str, Any], word: str, on: Qubits, pair: Qubits) -> bool:
    """Whether an incomplete setting can also read a word."""
    taken = {q for bell in group["bells"] for q in bell}
    if pair:
        untouched = all(group["letters"][q] == "I" for q in pair)
        return pair in group["bells"] or (untouched and not taken.intersection(pair))
    return not taken.intersection(on) and all(group["letters"][q] in ("I", word[q]) for q in on)


def conserved_axis(
    program: Program, angles: Float[np.ndarray, " n_slots"]
) -> Float[np.ndarray, "3"] | None:
    """The direction along which a circuit conserves the total spin, if there is one.

    Gates of rank 0 conserve it along every direction, gates of rank 1 along their own vector, `rz`
    along z; singlets have none of it. Other gates, and qubits outside singlets, conserve nothing.
    """
    paired = {q for pair in program.state.pairs for q in pair}
    if len(paired) < program.n_qubits:
        return None
    axes = []
    for gate in program.gates():
        at = angles[np.array(gate.slots, int)]
        if gate.name == "rz":
            axes.append(np.array([0, 0, at[0]]))
        elif gate.kind.n_ancillas or gate.kind.rank not in (0, 1):
            return None
        elif gate.kind.rank == 1:
            axes.append(at)
    vectors = np.array([axis for axis in axes if np.linalg.norm(axis) > 1e-9]).reshape(-1, 3)
    if len(vectors) == 0:
        return np.array([0.0, 0.0, 1.0])
    axis = vectors[0] / np.linalg.norm(vectors[0])
    return axis if np.abs(np.cross(vectors, axis)).max() < 1e-9 else None


def turn_to_z(axis: Float[np.ndarray, "3"]) -> tuple[float, ...]:
    """The rotation that takes a direction to z, as a vector."""
    across = np.cross(axis, [0.0, 0.0, 1.0])
    sine = float(np.linalg.norm(across))
    angle = np.arctan2(sine, axis[2])
    normal = across / sine if sine > 1e-12 else np.array([1.0, 0.0, 0.0])
    return tuple(float(x) for x in angle * normal)


def spinless(setting: Setting) -> Float[np.ndarray, " dim"]:
    """1 for outcomes without total spin along the axis of a setting, else 0.

    A qubit read along z has ±1, a pair in the Bell basis 0 or ±2 with an unknown sign: then only
    the parity of the number of pairs that are not 0 is known.
    """
    index = np.arange(2**setting.n_qubits)
    sign = [1 - 2 * (index >> (setting.n_qubits - 1 - q) & 1) for q in range(setting.n_qubits)]
    in_bells = {q for pair in setting.bells for q in pair}
    alone = [q for q in range(setting.n_qubits) if q not in in_bells]
    if any(setting.letters[q] not in "IZ" for q in alone):
        return np.ones(len(index))
    if not setting.bells:
        return np.asarray(np.sum(sign, axis=0) == 0, float)
    parity = np.prod([sign[b] for _, b in setting.bells] + [sign[q] for q in alone], axis=0)
    return (parity == (-1) ** (setting.n_qubits // 2)).astype(float)


# --- simulation -------------------------------------------------------------------------------


def probabilities(
    program: Program, angles: Float[np.ndarray, "n_rows n_slots"], setting: Setting
) -> Float[np.ndarray, "n_rows dim"]:
    """Exact probabilities of the outcomes of circuits, in numpy.

    Args:
        program: the gates.
        angles: one row for each circuit.
        setting: how they are read.
    """
    states = np.broadcast_to(program.state.vector(), (len(angles), 2**program.n_qubits))
    for gate in program.gates():
        matrices = unitaries(gate.name, angles[:, np.array(gate.slots, int)])
        states = _apply(matrices, gate.qubits, states)
    for name, qubits, fixed in setting.gates():
        states = _apply(unitaries(name, np.array([fixed])), qubits, states)
    return np.abs(states) ** 2


def _apply(matrices: np.ndarray, qubits: Qubits, states: np.ndarray) -> np.ndarray:
    n_rows, n_qubits = len(states), states.shape[1].bit_length() - 1
    tensor = states.reshape(n_rows, *(2,) * n_qubits)
    axes, front = [1 + q for q in qubits], range(1, 1 + len(qubits))
    tensor = np.moveaxis(tensor, axes, front)
    moved = matrices @ tensor.reshape(n_rows, 2 ** len(qubits), -1)
    return np.moveaxis(moved.reshape(tensor.shape), front, axes).reshape(n_rows, -1)


# --- estimates --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Estimate:
    """Expectation values of each circuit and the covariance of their errors."""

    values: Float[np.ndarray, "n_rows n_observables"]
    covariance: Float[np.ndarray, "n_rows n_observables n_observables"]

    def __add__(self, other: "Estimate") -> "Estimate":
        """The sum of what is independent, such as two settings."""
        return Estimate(self.values + other.values, self.covariance + other.covariance)

    def scaled(self, factor: float) -> "Estimate":
        """A multiple."""
        return Estimate(factor * self.values, factor**2 * self.covariance)


PRIOR_SHOTS = 2.0
"""Shots of the maximally mixed state that errors are estimated with, beside those measured."""


def read_outcomes(
    frequencies: Float[np.ndarray, "n_rows dim"],
    shots: Int[np.ndarray, " n_rows"] | None,
    values: Float[np.ndarray, "n_observables dim"],
    kept: Float[np.ndarray, " dim"] | None = None,
    inverse: Float[np.ndarray, "dim dim"] | None = None,
) -> Estimate:
    r"""Expectation values of the outcomes of one setting.

    $$ \hat o(f) = \frac{\sum_b f_b\, p_b}{\sum_b f_b\, k_b}, \qquad
       \mathrm{cov} = \frac{1}{N}\sum_b g_b\, u_b u_b^T + d\, d^T, \quad
       u_b = \frac{p_b - \hat o(g)\, k_b}{\sum_{b'} g_{b'} k_{b'}}, \quad
       d = \hat o(g) - \hat o(f) $$

    with $p = k v$; unbiased where every outcome is kept, $k = 1$. The covariance is that of the
    frequencies $g$, to which `PRIOR_SHOTS` shots of the maximally mixed state have been added:
    equal outcomes of a few shots do not mean that there is no error.

    Args:
        frequencies: share of each outcome $f_b$.
        shots: N of each circuit; None if frequencies are exact.
        values: $v_b$ of each observable.
        kept: $k_b$, 0 for outcomes that are discarded.
        inverse: inverse of the matrix of readout errors; $p$ and $k$ are multiplied by it.
    """
    weights = np.ones(len(values[0])) if kept is None else kept
    products = values * weights
    if inverse is not None:
        products, weights = products @ inverse, weights @ inverse
    found = frequencies @ products.T / (frequencies @ weights)[:, None]
    if shots is None:
        return Estimate(found, np.zeros((*found.shape, found.shape[1])))
    n = shots[:, None].astype(float)
    smooth = (n * frequencies + PRIOR_SHOTS / frequencies.shape[1]) / (n + PRIOR_SHOTS)
    total = (smooth @ weights)[:, None]
    centre = smooth @ products.T / total
    residual = (products - centre[:, :, None] * weights) / total[:, :, None]
    squares = np.einsum("rb,rib,rjb->rij", smooth, residual, residual, optimize=True)
    off = centre - found
    return Estimate(found, squares / n[:, :, None] + off[:, :, None] * off[:, None, :])


def allocate(weights: Float[np.ndarray, " n"], total: int) -> Int[np.ndarray, " n"]:
    r"""Shots in proportion to $|w|$, which makes $\sum_i w_i^2 \sigma^2/N_i$ smallest.

    Where weights are close the numbers of shots are equal, so that few jobs are needed. None gets
    fewer than 2, which a standard error needs.
    """
    sizes = np.abs(weights)
    sizes = np.maximum(sizes, sizes.max() / 64) if sizes.max() > 0 else np.ones(len(sizes))
    levels = 2 ** (np.round(2 * np.log2(sizes)) / 2)
    return np.maximum(2, np.floor(total * levels / levels.sum())).astype(np.int64)
