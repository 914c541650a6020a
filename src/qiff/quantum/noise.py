r"""Noise: correction of readout errors, and extrapolation to circuits without noise.

Readout errors of different qubits are taken to be independent. Checks by symmetry are in
`shots.conserved_axis` and `shots.spinless`.
"""

from collections.abc import Sequence
from functools import reduce

import numpy as np
from jaxtyping import Float

from .._checks import InputError
from .program import Program
from .shots import Estimate, Setting
from .state import Singlets

TURNS = {1: "C1", 4: "D2", 12: "T"}
"""Groups of rotations by their number: none, half turns about x, y and z, and of a tetrahedron."""


def turns(number: int) -> Float[np.ndarray, "number 3 3"]:
    """The rotations of one of `TURNS`: the mean over 4 has no vectors, over 12 no tensors either.

    Args:
        number: a key of `TURNS`.
    """
    from scipy.spatial.transform import Rotation

    return Rotation.create_group(TURNS[number]).as_matrix()


def nothing(n_qubits: int) -> Program:
    """The circuit without gates, from which the readout is calibrated."""
    return Program(Singlets(n_qubits, ()), (), (), 0, ())


def calibrations(n_qubits: int) -> tuple[Setting, Setting]:
    """Settings that read `nothing` as all zeros and as all ones."""
    letters = "Z" * n_qubits
    return tuple(Setting(letters, (), (), flips=mask) for mask in (0, 2**n_qubits - 1))  # pyright: ignore


def confusion(
    zeros: Float[np.ndarray, " dim"], ones: Float[np.ndarray, " dim"]
) -> Float[np.ndarray, "n_qubits 2 2"]:
    r"""$P(\text{read } i \\mid \text{is } j)$ of each qubit.

    Args:
        zeros: frequencies of what is read of qubits that are all 0.
        ones: the same of qubits that are all 1.

    Raises:
        InputError: the readout of a qubit does not distinguish 0 from 1.
    """
    n_qubits = len(zeros).bit_length() - 1
    index = np.arange(len(zeros))
    found = np.empty((n_qubits, 2, 2))
    for qubit in range(n_qubits):
        is_one = (index >> (n_qubits - 1 - qubit) & 1).astype(bool)
        for j, frequencies in enumerate((zeros, ones)):
            found[qubit, :, j] = frequencies[~is_one].sum(), frequencies[is_one].sum()
    if np.abs(np.linalg.det(found)).min() < 0.05:
        raise InputError(
            "The readout of a qubit does not distinguish 0 from 1: its errors cannot be corrected."
        )
    return found


def twirls(n_qubits: int, seed: int) -> list[int]:
    """Random masks of qubits to flip before the readout; eight for up to seven qubits.

    Any two qubits are flipped in all four ways equally often (the columns of a Hadamard matrix), so
    that the mean over the masks is exact for words on one and two qubits.
    """
    n_masks = max(8, 2 ** n_qubits.bit_length())
    start = int(np.random.default_rng(seed).integers(2**n_qubits))
    turned = lambda mask, qubit: (mask & (qubit + 1)).bit_count() % 2 << (n_qubits - 1 - qubit)
    return [start ^ sum(turned(mask, q) for q in range(n_qubits)) for mask in range(n_masks)]


def twirled(confusion: Float[np.ndarray, "n_qubits 2 2"]) -> Float[np.ndarray, "n_qubits 2 2"]:
    """The same if qubits are flipped at random before, and their bits again after the readout."""
    return (confusion + confusion[:, ::-1, ::-1]) / 2


def unread(confusion: Float[np.ndarray, "n_qubits 2 2"]) -> Float[np.ndarray, "dim dim"]:
    """The inverse of the readout on outcomes of all qubits; see `shots.read_outcomes`."""
    return reduce(np.kron, np.linalg.inv(confusion))


def extrapolation(folds: Sequence[int]) -> Float[np.ndarray, " n_folds"]:
    r"""Weights of values at multiples of the noise, whose sum is the value without noise.

    $$ \gamma_i = \prod_{j \ne i} \frac{\lambda_j}{\lambda_j - \lambda_i} $$

    Args:
        folds: odd numbers $\lambda$ of times that a circuit is run, forwards and backwards.

    Raises:
        InputError: they are not odd, positive and different.

    Reference: Temme, Bravyi and Gambetta, Phys. Rev. Lett. 119, 180509 (2017).
    """
    if len(set(folds)) < len(folds) or not folds or any(f < 1 or f % 2 == 0 for f in folds):
        raise InputError(f"`folds` must be different odd numbers from 1 on, but are {folds}.")
    return np.array([np.prod([b / (b - a) for b in folds if b != a]) for a in folds])


def decay(one: Estimate, more: Estimate, gap: int) -> float:
    r"""Factor $s$ by which one more multiple of the noise shrinks expectation values.

    $$ s^{\lambda_2 - \lambda_1} = \frac{\sum_r f_r(\lambda_1) f_r(\lambda_2)}
       {\sum_r f_r(\lambda_1)^2 - \sigma_r^2} $$

    All circuits and observables $r$ share it, so that its own error is small. It is 1 if values do
    not decay or are smaller than the errors of the shots; the extrapolation is then polynomial.

    Args:
        one, more: values less those of fully mixed qubits at $\lambda_1$ and $\lambda_2$.
        gap: $\lambda_2 - \lambda_1$.
    """
    variances = [np.einsum("roo->ro", estimate.covariance) for estimate in (one, more)]
    square = float(np.sum(one.values**2 - variances[0]))
    product = float(np.sum(one.values * more.values))
    error = np.sqrt(np.sum(one.values**2 * variances[1]))
    if square <= 0 or product <= 3 * error:
        return 1.0
    return min(1.0, (product / square) ** (1 / gap))


def spread(one: Estimate, more: Estimate) -> float:
    r"""Factor by which values are underestimated because some decay faster than others.

    $$ \frac{\sum_r f_r(\lambda_1)^2 \sum_r f_r(\lambda_2)^2}
       {(\sum_r f_r(\lambda_1) f_r(\lambda_2))^2} \ge 1 $$

    What decays slowly has a larger part in `decay` than without noise, the more so the more rates
    differ, and the less values at two multiples of the noise are proportional to each other. For
    rates with a normal distribution the power of this factor would be 3/8 for `extrapolated` with
    $\lambda$ = 1, 3; the power 1 was found on a simulated device. It is 1 where the factor is not
    larger than twice its error.

    Args:
        one, more: see `decay`.
    """
    variances = [np.einsum("roo->ro", estimate.covariance) for estimate in (one, more)]
    first, second = (
        float(np.sum(estimate.values**2 - variance))
        for estimate, variance in zip((one, more), variances, strict=True)
    )
    product = float(np.sum(one.values * more.values))
    if min(first, second, product) <= 0:
        return 1.0
    factor = first * second / product**2
    error = 2 * np.sqrt(np.sum(more.values**2 * variances[1])) / second
    return factor if factor > 1 + 2 * error else 1.0


def extrapolated(
    parts: Sequence[Estimate],
    folds: Sequence[int],
    mixed: Float[np.ndarray, "n_rows n_observables"],
    *,
    with_spread: bool = False,
) -> Estimate:
    r"""Values without noise from values $f(\lambda)$ at multiples of the noise.

    $$ f(0) = m + c \sum_i \gamma_i\, s^{-\lambda_i} (f(\lambda_i) - m) $$

    Noise drives circuits to the fully mixed state, whose values $m$ are known, mostly by a factor
    that all of them share, `decay`. It is divided out; the rest changes little with the noise and
    is extrapolated as a polynomial. Because $\sum_i \gamma_i \lambda_i = 0$, the error of $s$
    enters to second order only, and is left out of the covariance.

    Args:
        parts: $f$, for each of `folds`.
        folds: $\lambda$, see `extrapolation`.
        mixed: $m$.
        with_spread: whether $c$ is `spread`, or 1.
    """
    above = [Estimate(part.values - mixed, part.covariance) for part in parts]
    gammas, (first, second) = extrapolation(folds), np.argsort(folds)[:2]
    s = decay(above[first], above[second], folds[second] - folds[first])
    c = spread(above[first], above[second]) if with_spread else 1.0
    factors = [c * gamma / s**fold for gamma, fold in zip(gammas, folds, strict=True)]
    weighted = [part.scaled(factor) for part, factor in zip(above, factors, strict=True)]
    return sum(weighted, start=Estimate(mixed, np.zeros_like(parts[0].covariance)))
