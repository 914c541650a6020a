"""Harmonic vibrations of a relaxed molecule, from the exact second derivatives of a potential."""

from typing import NamedTuple

import ase
import jax
import numpy as np
from jaxtyping import Array, Float

from ..atoms.graph import graph
from ..interfaces.ase import Calculator
from ..model.derivatives import energy
from ..model.potential import AbstractPotential
from ..model.predict import check_atoms, dtype, precision
from .relaxation import relaxed


class Vibrations(NamedTuple):
    """A relaxed structure and its harmonic frequencies in 1/cm; imaginary ones are negative.

    The six (five if linear) of rigid motion are zero up to the influence of remaining forces.
    """

    atoms: ase.Atoms
    frequencies: Float[np.ndarray, " 3*n_atoms"]


def hessian(
    potential: AbstractPotential, atoms: ase.Atoms
) -> Float[np.ndarray, "n_atoms 3 n_atoms 3"]:
    r"""Second derivatives $\partial^2 E / \partial R_i \partial R_j$ in eV/Å².

    Args:
        potential: any potential.
        atoms: one configuration.

    Returns:
        By atom and component of the first and the second derivative.

    Raises:
        InputError: the potential cannot describe the atoms.
    """
    check_atoms(potential, atoms, "atoms")
    with precision(potential):
        start = graph(atoms, dtype(potential), potential.cutoff)

        @jax.jit
        def second_derivatives(positions: Array) -> Array:
            energy_at = lambda x: energy(potential, start.at(x))
            return jax.jacrev(jax.grad(energy_at))(positions)

        return np.asarray(second_derivatives(jax.numpy.asarray(start.positions)), float)


def vibrations(potential: AbstractPotential, atoms: ase.Atoms) -> Vibrations:
    """Relax a structure and find its harmonic frequencies.

    Args:
        potential: any potential.
        atoms: the structure to start from.

    Returns:
        The relaxed structure and its frequencies in 1/cm.

    Raises:
        InputError: the potential cannot describe the atoms.
        RunError: the structure does not relax.
    """
    from ase.vibrations import VibrationsData

    at_rest = relaxed(atoms, Calculator(potential))
    at_rest.calc = None
    found = VibrationsData(at_rest, hessian(potential, at_rest)).get_frequencies()
    return Vibrations(at_rest, np.sort(np.real(found) - np.abs(np.imag(found))))
