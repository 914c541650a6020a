"""Matrices of gates in numpy: what simulated measurements and exporters read.

In double precision whatever the precision of JAX, and without JAX, which must not be called in the
callbacks that measure.
"""

import numpy as np
from jaxtyping import Float, Num

from .._checks import InputError
from .gate import GATES


def unitaries(
    name: str, angles: Float[np.ndarray, "n_rows n_angles"]
) -> Num[np.ndarray, "n_rows dim dim"]:
    r"""$U(a) = \exp(-i \sum_k a_k G_k)$ of a gate; equal rows of angles are computed once.

    Raises:
        InputError: the gate declares no generators.
    """
    fixed = GATES[name].fixed
    if fixed is not None:
        return np.broadcast_to(fixed, (len(angles), *fixed.shape))
    different, where = np.unique(angles, axis=0, return_inverse=True)
    values, vectors = np.linalg.eigh(np.tensordot(different, generators(name), 1))
    phases = np.exp(-1j * values)[:, None, :]
    return (vectors * phases @ np.swapaxes(vectors.conj(), -1, -2))[where.reshape(-1)]


def generators(name: str) -> Num[np.ndarray, "n_angles dim dim"]:
    """The generators that a gate declares.

    Raises:
        InputError: it declares none.
    """
    kind = GATES[name]
    if kind.generators is None:
        how = "`generators`" if kind.n_angles else "its matrix by `fixed`"
        raise InputError(
            f"Gate `{name}` can be simulated, but not measured or exported: give {how} in GATES."
        )
    return kind.generators
