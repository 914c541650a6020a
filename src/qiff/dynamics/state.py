"""The state of a simulation at one time step."""

import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool, Float, Int

Vectors = Float[Array | np.ndarray, "n_atoms 3"]
"""One vector for each atom."""
Momenta = Vectors
"""In ASE units, √(eV u): what positions in Å, energies in eV and masses in u lead to."""


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
    """

    positions: Vectors
    momenta: Momenta
    energy: Float[Array | np.ndarray, ""]
    forces: Vectors
    step: Int[Array | np.ndarray, ""]
    stable: Bool[Array | np.ndarray, ""]
