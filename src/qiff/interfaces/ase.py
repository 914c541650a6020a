"""The ASE calculator: any potential drives anything ASE can do."""

from typing import Any

import ase
import numpy as np
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import all_changes

from ..atoms.properties import PROPERTIES
from ..model.ensemble import uncertainty
from ..model.potential import AbstractPotential
from ..model.predict import atomic_energies, check_atoms, evaluator

DEVIATION = "_std"
"""Ends the names of standard deviations, after the name of a property."""


class Calculator(AseCalculator):
    """ASE calculator of a potential: energy and free_energy in eV, forces in eV/Å, stress in
    eV/Å³ of periodic atoms in a cell with a volume, and energies of each atom.

    Compiled once for each number of atoms. An ensemble has `energy_std`, `forces_std` and
    `stress_std` too, see `uncertainty`; they are computed when asked for, by `get_property` for
    instance, and so are `energies`.

    Args:
        potential: any potential, for instance from `qiff.load`.

    Raises:
        InputError: on calculation, if the potential cannot describe the atoms.
    """

    implemented_properties = [*PROPERTIES, "free_energy", "energies"]  # noqa: RUF012 (ASE's interface)

    def __init__(self, potential: AbstractPotential):
        super().__init__()
        self.potential = potential
        if potential.calibration:
            deviations = [f"{key}{DEVIATION}" for key in PROPERTIES]
            self.implemented_properties = [*self.implemented_properties, *deviations]

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: Any = None,
        system_changes: Any = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        current: Any = self.atoms
        only_moved = system_changes == ["positions"] and np.isfinite(current.positions).all()
        if not only_moved:
            check_atoms(self.potential, current, "atoms")
            self._evaluate = evaluator(self.potential, current)
        found = self._evaluate(current.positions, current.cell.array)
        self.results = {**found.results(), "free_energy": found.energy}
        if any(name.endswith(DEVIATION) for name in properties or ()):
            expected = uncertainty(self.potential, current).results()
            self.results |= {f"{key}{DEVIATION}": value for key, value in expected.items()}
        if "energies" in (properties or ()):
            self.results["energies"] = atomic_energies(self.potential, current)
