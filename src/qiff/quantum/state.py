"""Initial states."""

from dataclasses import dataclass
from functools import reduce

import numpy as np
from jaxtyping import Complex

from .._checks import InputError
from .._types import Pair


@dataclass(frozen=True)
class Singlets:
    r"""Pairs of qubits in the singlet $(|01\rangle - |10\rangle)/\sqrt2$, the rest in $|0\rangle$.

    Every common rotation of the paired qubits leaves the state unchanged and exchanging the
    two qubits of a pair changes its sign. (Le et al. 2023, Eqs. 4, 12 and 19.)

    Raises:
        InputError: a qubit is in two pairs or not below `n_qubits`.
    """

    n_qubits: int
    pairs: tuple[Pair, ...]

    def __post_init__(self):
        qubits = [q for pair in self.pairs for q in pair]
        if len(set(qubits)) < len(qubits) or not all(0 <= q < self.n_qubits for q in qubits):
            raise InputError(
                f"`pairs` must be disjoint pairs of qubits below {self.n_qubits}, "
                f"but are {self.pairs}."
            )

    def vector(self) -> Complex[np.ndarray, " dim"]:
        """The state vector; qubit 0 is the most significant bit."""
        singlet = np.array([[0, 1], [-1, 0]], complex) / np.sqrt(2)
        paired = [q for pair in self.pairs for q in pair]
        alone = [q for q in range(self.n_qubits) if q not in paired]
        tensors = [singlet] * len(self.pairs) + [np.array([1, 0], complex)] * len(alone)
        state = reduce(np.multiply.outer, tensors, np.ones((), complex))
        return state.transpose(np.argsort(paired + alone)).reshape(-1)
