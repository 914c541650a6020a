"""Reference energies: what a potential need not learn, fitted on the training part only."""

from collections.abc import Sequence
from dataclasses import dataclass

import ase
import numpy as np
from jaxtyping import Float

from .._checks import InputError
from .properties import labels


@dataclass(frozen=True)
class Reference:
    """Energy of an atom of each element and the scale of what is left, in eV."""

    energies: dict[int, float]
    scale: float


def fit_reference(frames: Sequence[ase.Atoms]) -> Reference:
    r"""Least-squares energies per element and half the range of the residuals.

    $$ E_k \approx \sum_z n_{kz}\, e_z, \qquad s = \tfrac12\,(\max_k - \min_k)
       \Big(E_k - \sum_z n_{kz}\, e_z\Big) $$

    with $n_{kz}$ atoms of element $z$ in frame $k$, and the solution of smallest norm where the
    compositions leave it open. For one molecule the sum is the mean energy: an affine map.

    Raises:
        InputError: there are no frames, or all energies are equal once the reference is off.
    """
    if not frames:
        raise InputError("`frames` must not be empty.")
    energies = np.array([labels(atoms)["energy"] for atoms in frames])
    reference = per_element(frames, energies)
    if not reference.scale > 1e-9:
        raise InputError("`frames` must have different energies, but all are equal.")
    return reference


def per_element(frames: Sequence[ase.Atoms], energies: Float[np.ndarray, " n_frames"]) -> Reference:
    """The same of any energies, one for each frame."""
    elements = sorted({int(z) for atoms in frames for z in atoms.numbers})
    counts = np.array([[np.sum(atoms.numbers == z) for z in elements] for atoms in frames], float)
    found, *_ = np.linalg.lstsq(counts, energies, rcond=None)
    scale = float(np.ptp(energies - counts @ found)) / 2
    return Reference(dict(zip(elements, found.tolist(), strict=True)), scale)
