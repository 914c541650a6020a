"""Whether labels are plausible in the units that they are read in."""

from collections.abc import Mapping, Sequence

import ase
import ase.units
import numpy as np

from ..properties import labels
from .units import ENERGY_UNITS, size_of

ELECTRONIC = (
    *(0.0, -0.500, -2.862, -7.433, -14.573, -24.529, -37.689, -54.401, -74.809, -99.409),
    *(-128.547, -161.859, -199.615, -241.877, -288.854, -340.719, -397.505, -459.482, -526.817),
)
"""Hartree–Fock energies of atoms with all electrons in Hartree, by atomic number up to argon.

Reference: Clementi and Roetti, At. Data Nucl. Data Tables 14, 177 (1974), rounded.
"""
TOLERANCE = 0.03
"""Binding and correlation change the energy of all electrons by less than this share."""
LARGE_FORCE = 15.0
"""eV/Å; forces have a smaller root mean square, but for atoms that nearly collide."""


def implausible(frames: Sequence[ase.Atoms], units: Mapping[str, str]) -> list[str]:
    """What is not plausible, in sentences.

    Args:
        frames: with labels in eV and Å.
        units: in which the file was read, see `units_of`.
    """
    found = []
    ratios = [
        labels(atoms)["energy"] / (ase.units.Hartree * sum(ELECTRONIC[z] for z in atoms.numbers))
        for atoms in frames
        if "energy" in labels(atoms) and atoms.numbers.max() < len(ELECTRONIC)
    ]
    now = size_of(units["energy"], 0, "energy unit")
    for unit, size in ENERGY_UNITS.items():
        if ratios and size != now and abs(np.median(ratios) * size / now - 1) < TOLERANCE:
            found.append(
                f"energies are read in {units['energy']}, but in {unit} they would be those of all "
                f"electrons; if they are, set --energy-unit {unit}"
            )
    forces = [labels(atoms)["forces"].ravel() for atoms in frames if "forces" in labels(atoms)]
    size = float(np.sqrt(np.mean(np.concatenate(forces) ** 2))) if forces else 0.0
    if size > LARGE_FORCE:
        found.append(
            f"forces of {size:.3g} eV/Å are large; if they are in another unit, set --forces-unit"
        )
    return found
