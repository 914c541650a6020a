"""Changed configurations and potentials, and by how much two predictions differ."""

from collections.abc import Sequence

import ase
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from .model.potential import AbstractPotential
from .model.predict import Prediction, enable_x64, evaluator


def defect(found: Prediction, expected: Prediction) -> float:
    """Largest difference of energies and forces, relative to the largest force above 1 eV/Å, or of
    stresses, relative to the largest component above 1e-3 eV/Å³.

    Args:
        found: of the configuration that was changed.
        expected: what the law demands.

    Returns:
        A number without unit; zero if the law holds exactly.
    """
    scale = max(1.0, float(np.abs(expected.forces).max(initial=0.0)))
    apart = np.abs(found.forces - expected.forces).max(initial=0.0)
    largest = float(max(abs(found.energy - expected.energy), apart) / scale)
    if found.stress is None or expected.stress is None:
        return largest
    unit = max(1e-3, float(np.abs(expected.stress).max()))
    return max(largest, float(np.abs(found.stress - expected.stress).max() / unit))


def evaluate(potential: AbstractPotential, frames: Sequence[ase.Atoms]) -> list[Prediction]:
    """What a potential predicts of each configuration, compiled once for each number of atoms.

    Args:
        potential: any potential.
        frames: configurations of any sizes.

    Returns:
        One prediction for each configuration.
    """
    return [evaluator(potential, one)(one.positions, one.cell.array) for one in frames]


def transformed(
    atoms: ase.Atoms, matrix: np.ndarray | None = None, shift: ArrayLike = 0.0
) -> ase.Atoms:
    """A copy with positions $Mr + s$.

    Args:
        atoms: one configuration.
        matrix: $M$, orthogonal or not; None for no change.
        shift: $s$ in Å, one vector or one for each atom.

    Returns:
        The copy, in the same cell.
    """
    moved = atoms.copy()
    turned = atoms.positions @ (np.eye(3) if matrix is None else matrix).T
    moved.positions = turned + np.asarray(shift)
    return moved


def random_rotation(seed: int = 11) -> Float[np.ndarray, "3 3"]:
    """The matrix of a rotation, drawn evenly from all.

    Args:
        seed: of the rotation.

    Returns:
        An orthogonal matrix with determinant 1.
    """
    from scipy.spatial.transform import Rotation

    return Rotation.from_quat(np.random.default_rng(seed).normal(size=4)).as_matrix()


def in_precision(potential: AbstractPotential, name: str) -> AbstractPotential:
    """The same potential with weights in another precision.

    Args:
        potential: any potential.
        name: float32 or float64.

    Returns:
        The potential in that precision; the one that was given is not changed.
    """
    with enable_x64(True):
        return jax.tree.map(lambda weights: jnp.asarray(weights, name), potential)
