"""The state of a simulation at one time step."""

import equinox as eqx
from jaxtyping import Bool, Float, Int

from .._types import AnyArray

Vectors = Float[AnyArray, "n_atoms 3"]
"""One vector for each atom."""
Momenta = Vectors
"""In ASE units, √(eV u): what positions in Å, energies in eV and masses in u lead to."""
Cell = Float[AnyArray, "3 3"]
"""Rows are the cell vectors in Å."""


class MDState(eqx.Module):
    """Positions, momenta and forces after a number of time steps.

    JAX arrays inside the compiled loop, numpy arrays where an integrator yields it.

    Args:
        positions: Å.
        momenta: see `Momenta`.
        energy: potential energy in eV, with the reference energy of the atoms.
        forces: eV/Å.
        step: time steps since the start.
        stable: whether the kinetic energy is finite and below the limit of the simulation.
        cell: rows are the cell vectors in Å; None if nothing is periodic. Positions are not
            brought back into the cell, so that they follow the paths of atoms.
        stress: of the forces, without the motion of atoms, in eV/Å³ in the order xx, yy, zz, yz,
            xz, xy; None without a volume.
    """

    positions: Vectors
    momenta: Momenta
    energy: Float[AnyArray, ""]
    forces: Vectors
    step: Int[AnyArray, ""]
    stable: Bool[AnyArray, ""]
    cell: Cell | None = None
    stress: Float[AnyArray, "6"] | None = None
