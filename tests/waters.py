"""A box of water molecules, for tests of other programs with the bundled model of liquid water."""

import ase
import ase.build
import numpy as np

SPACING = 3.1  # Å: 1.0 g/cm³


def water_box(n_side: int) -> ase.Atoms:
    """`n_side`³ molecules in a periodic cube, each turned at random."""
    sites = SPACING * (0.5 + np.stack(np.meshgrid(*3 * [range(n_side)]), -1).reshape(-1, 3))
    rng, atoms = np.random.default_rng(0), ase.Atoms(cell=3 * [SPACING * n_side], pbc=True)
    for site in sites:
        one = ase.build.molecule("H2O")
        one.rotate(rng.uniform(0, 180), rng.normal(size=3))
        one.translate(site - one.positions[0])
        atoms += one
    return atoms
