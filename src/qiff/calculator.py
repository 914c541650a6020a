"""The ASE calculator: any potential drives anything ASE can do."""

from typing import Any

import ase
import equinox as eqx
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import all_changes

from .atoms.graph import graph
from .model.potential import AbstractPotential
from .model.predict import check_atoms, dtype, energy_and_forces, precision


class Calculator(AseCalculator):
    """ASE calculator of a potential: energy and free_energy in eV, forces in eV/Å.

    Compiled once for each number of atoms.

    Args:
        potential: any potential, for instance from `qiff.load`.

    Raises:
        InputError: on calculation, if the potential cannot describe the atoms.
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012 (ASE's interface)

    def __init__(self, potential: AbstractPotential):
        super().__init__()
        self.potential = potential

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: Any = None,
        system_changes: Any = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        current: Any = self.atoms
        check_atoms(self.potential, current, "atoms")
        with precision(self.potential):
            energy, forces = compiled(self.potential, graph(current, dtype(self.potential)))
            self.results = {
                "energy": float(energy),
                "free_energy": float(energy),
                "forces": forces.__array__(),
            }


compiled = eqx.filter_jit(energy_and_forces)
"""Energy and forces of one configuration, compiled once per structure and number of atoms."""
