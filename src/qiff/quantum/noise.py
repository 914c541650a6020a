r"""Noise: undoing errors of the readout, and extrapolating to circuits without noise.

The readout of each qubit is taken to err on its own. Symmetry as a check of errors is in
`shots.conserved_axis` and `shots.spinless`.
"""

from collections.abc import Sequence
from functools import reduce

import numpy as np
from jaxtyping import Float

from .._checks import InputError
from .program import Program
from .shots import Setting
from .state import Singlets


def nothing(n_qubits: int) -> Program:
    """The circuit without gates, from which the readout is calibrated."""
    return Program(Singlets(n_qubits, ()), (), (), 0, ())


def calibrations(n_qubits: int) -> tuple[Setting, Setting]:
    """Settings in which `nothing` prepares only zeros and only ones."""
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
        InputError: a qubit reads 0 and 1 alike.
    """
    n_qubits = len(zeros).bit_length() - 1
    index = np.arange(len(zeros))
    found = np.empty((n_qubits, 2, 2))
    for qubit in range(n_qubits):
        is_one = (index >> (n_qubits - 1 - qubit) & 1).astype(bool)
        for j, frequencies in enumerate((zeros, ones)):
            found[qubit, :, j] = frequencies[~is_one].sum(), frequencies[is_one].sum()
    if np.abs(np.linalg.det(found)).min() < 0.05:
        raise InputError("The readout of a qubit does not tell 0 from 1: it cannot be mitigated.")
    return found


def twirled(confusion: Float[np.ndarray, "n_qubits 2 2"]) -> Float[np.ndarray, "n_qubits 2 2"]:
    """The same when qubits are turned over at random before, and turned back after the readout."""
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
