"""Harmonic vibrations of a relaxed molecule, from the exact second derivatives of a potential."""

from typing import NamedTuple

import ase
import jax
import numpy as np
from jaxtyping import Array, Float

from .._checks import RunError
from ..atoms.graph import graph
from ..interfaces.ase import Calculator
from ..model.derivatives import energy
from ..model.potential import AbstractPotential
from ..model.predict import check_atoms, dtype, precision

FORCE_LEFT = 1e-3
"""eV/Å: a structure is relaxed when no force is larger."""
_MOST_STEPS = 500


class Vibrations(NamedTuple):
    """A relaxed structure and its harmonic frequencies in 1/cm; imaginary ones are negative.

    The first six (five if linear) belong to rigid motion and are zero up to what is left of forces.
    """

    atoms: ase.Atoms
    frequencies: Float[np.ndarray, " 3*n_atoms"]


def hessian(
    potential: AbstractPotential, atoms: ase.Atoms
) -> Float[np.ndarray, "n_atoms 3 n_atoms 3"]:
    r"""Second derivatives $\partial^2 E / \partial R_i \partial R_j$ in eV/Å².

    Raises:
        InputError: the potential cannot describe the atoms.
    """
    check_atoms(potential, atoms, "atoms")
    with precision(potential):
        seen = graph(atoms, dtype(potential), potential.cutoff)

        @jax.jit
        def second(positions: Array) -> Array:
            at = lambda x: energy(potential, seen.at(x))
            return jax.jacrev(jax.grad(at))(positions)

        return np.asarray(second(jax.numpy.asarray(seen.positions)), float)


def vibrations(potential: AbstractPotential, atoms: ase.Atoms) -> Vibrations:
    """Relax a structure and find its harmonic frequencies.

    Args:
        potential: any potential.
        atoms: where to begin.

    Raises:
        InputError: the potential cannot describe the atoms.
        RunError: the structure does not relax.
    """
    from ase.optimize import BFGS
    from ase.vibrations import VibrationsData

    relaxed = atoms.copy()
    relaxed.calc = Calculator(potential)
    if not BFGS(relaxed, logfile=None).run(fmax=FORCE_LEFT, steps=_MOST_STEPS):
        left = np.abs(relaxed.get_forces()).max()
        raise RunError(
            f"the structure is not relaxed after {_MOST_STEPS} steps, a force of {left:.3g} eV/Å "
            "is left: begin nearer to a minimum or check the model."
        )
    relaxed.calc = None
    found = VibrationsData(relaxed, hessian(potential, relaxed)).get_frequencies()
    return Vibrations(relaxed, np.sort(np.real(found) - np.abs(np.imag(found))))
