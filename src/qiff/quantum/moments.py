r"""Means and covariances of one shot: further observables of a circuit from which they follow.

One shot of a setting reads the parts $P_o$ of the observables that it measures. Their covariance
is $\langle P_o P_{o'} \rangle - \langle P_o \rangle \langle P_{o'} \rangle$, and the products of
commuting sums of Pauli words are sums of Pauli words: $O^2 = 3 - 2\,O$ for
$O = \sigma_a\cdot\sigma_b$, which needs nothing more.
"""

from functools import cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .observable import PauliSum
from .shots import settings

Words = dict[str, complex]
"""A sum of Pauli words, by word its coefficient."""

_PRODUCTS: dict[str, tuple[complex, str]] = {
    "II": (1, "I"),
    **{pair: (1, letter) for letter in "XYZ" for pair in (f"I{letter}", f"{letter}I")},
    **{2 * letter: (1, "I") for letter in "XYZ"},
    **{pair: (1j, letter) for pair, letter in (("XY", "Z"), ("YZ", "X"), ("ZX", "Y"))},
    **{pair: (-1j, letter) for pair, letter in (("YX", "Z"), ("ZY", "X"), ("XZ", "Y"))},
}


class Moments(NamedTuple):
    """What is simulated for means and covariances of every setting.

    Args:
        observables: what is simulated.
        means: coefficients of 1 and of their values in the mean of what a setting reads.
        squares: the same of the products of two.
    """

    observables: tuple[PauliSum, ...]
    means: Float[np.ndarray, "n_settings n_observables n_terms"]
    squares: Float[np.ndarray, "n_settings n_observables n_observables n_terms"]

    def covariance(
        self, values: Float[Array, " n_values"]
    ) -> Float[Array, "n_settings n_observables n_observables"]:
        """The covariance of one shot of each setting, from the values of `observables`."""
        terms = jnp.concatenate([jnp.ones(1, values.dtype), values])
        means = jnp.asarray(self.means, values.dtype) @ terms
        squares = jnp.asarray(self.squares, values.dtype) @ terms
        return squares - means[:, :, None] * means[:, None, :]


@cache
def moments(observables: tuple[PauliSum, ...], method: str) -> Moments:
    """The moments of observables that are measured by a method.

    Args:
        observables: all of one number of qubits.
        method: a key of `SETTINGS`.

    Raises:
        InputError: the method is unknown.
    """
    readings, n = settings(observables, method), len(observables)
    found: list[PauliSum] = []
    rows: dict[tuple[int, ...], dict[int, float]] = {}
    for s, reading in enumerate(readings):
        parts: list[Words] = [{} for _ in range(n)]
        for coefficient, k, word in reading.terms:
            parts[k][word] = parts[k].get(word, 0) + coefficient
        for k, part in enumerate(parts):
            rows[s, k] = _listed(part, found)
            for other in range(n):
                rows[s, k, other] = _listed(_product(part, parts[other]), found)
    means = np.zeros((len(readings), n, 1 + len(found)))
    squares = np.zeros((len(readings), n, n, 1 + len(found)))
    for key, row in rows.items():
        for column, coefficient in row.items():
            (means if len(key) == 2 else squares)[*key, column] = coefficient
    return Moments(tuple(found), means, squares)


def _product(first: Words, second: Words) -> Words:
    """The product of two sums that commute, whose coefficients are real."""
    total: Words = {}
    for a, x in first.items():
        for b, y in second.items():
            phases, letters = zip(
                *(_PRODUCTS[p + q] for p, q in zip(a, b, strict=True)), strict=True
            )
            word = "".join(letters)
            total[word] = total.get(word, 0) + x * y * np.prod(phases)
    return {word: c for word, c in total.items() if abs(c) > 1e-12}


def _listed(words: Words, found: list[PauliSum]) -> dict[int, float]:
    """A sum as coefficients of 1 (column 0) and of observables, of which one may be added."""
    row: dict[int, float] = {}
    identity = {word for word in words if set(word) == {"I"}}
    for word in identity:
        row[0] = float(np.real(words[word]))
    terms = sorted((word, float(np.real(c))) for word, c in words.items() if word not in identity)
    if terms:
        size = terms[0][1]
        one = PauliSum(tuple((c / size, word) for word, c in terms))
        if one not in found:
            found.append(one)
        row[1 + found.index(one)] = size
    return row
