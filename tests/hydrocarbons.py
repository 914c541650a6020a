"""A small potential of carbon and hydrogen, a molecule and a cell: for tests of other programs."""

import ase
import ase.build
import jax

import qiff
from qiff.model.potential import ScaleShiftSettings
from qiff.model.predict import enable_x64

from .test_periodic_dynamics import box


def hydrocarbon_potential() -> qiff.AbstractPotential:
    """Compiled in little time; in double precision."""
    config = {"kind": "classical", "elements": ["C", "H"], "n_channels": 3, "n_basis": 3}
    settings = ScaleShiftSettings(scale=1.0, reference_energies={"C": -10.0, "H": -1.0})
    with enable_x64(True):
        core = qiff.build({**config, "cutoff": 3.0}, jax.random.key(1))
    return qiff.ScaleShift(core, settings)


def molecule() -> ase.Atoms:
    """Ethane."""
    atoms = ase.build.molecule("C2H6")
    atoms.rattle(0.05, seed=3)
    return atoms


START = {"cell": box, "molecule": molecule}
