"""Named array shapes with their units. One name per idea, used in every signature."""

import numpy as np
from jaxtyping import Array, Complex, Float, Int

AnyArray = Array | np.ndarray
"""An array of JAX or numpy: numpy on the way in, JAX inside transformations."""

Positions = Float[Array, "n_atoms 3"]
"""Cartesian coordinates in Å."""
Forces = Float[Array, "n_atoms 3"]
"""−∂E/∂positions in eV/Å."""
Numbers = Int[AnyArray, " n_atoms"]
"""Atomic numbers Z; 0 for padding."""
Energy = Float[Array, ""]
"""Energy of one configuration in eV."""
Energies = Float[Array, " n_atoms"]
"""Energy of each atom in eV; their sum is the energy of the configuration."""

Vectors = Float[Array, "n_vectors 3"]
"""Positions relative to an origin, in Å: what an encoding puts on qubits."""
Angles = Float[Array, " n_slots"]
"""Gate angles of a circuit in radians, one entry per slot."""
StateVector = Complex[Array, " dim"]
"""State vector of `n_qubits` qubits, dim = 2**n_qubits; qubit 0 is the most significant bit."""
Expectations = Float[Array, " n_observables"]
"""Expectation values of the observables of a circuit."""

Qubits = tuple[int, ...]
"""Where a gate acts."""
Pair = tuple[int, int]
"""Two qubits."""
Permutation = tuple[int, ...]
"""`permutation[i]` is where item `i` goes."""
