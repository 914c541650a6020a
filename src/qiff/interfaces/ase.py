"""The ASE calculator: any potential drives anything ASE can do."""

from typing import Any

import ase
import numpy as np
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import all_changes

from ..model.ensemble import Ensemble, uncertainty
from ..model.potential import AbstractPotential
from ..model.predict import check_atoms, evaluator

DEVIATIONS = ("energy_std", "forces_std")
"""Names of the parts of `Uncertainty`."""


class Calculator(AseCalculator):
    """ASE calculator of a potential: energy and free_energy in eV, forces in eV/Å.

    Compiled once for each number of atoms. Of an ensemble there are `energy_std` and `forces_std`
    too, see `uncertainty`; they are computed when asked for, by `get_property` for instance.

    Args:
        potential: any potential, for instance from `qiff.load`.

    Raises:
        InputError: on calculation, if the potential cannot describe the atoms.
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012 (ASE's interface)

    def __init__(self, potential: AbstractPotential):
        super().__init__()
        self.potential = potential
        if isinstance(potential, Ensemble):
            self.implemented_properties = [*self.implemented_properties, *DEVIATIONS]

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
            self._evaluate = evaluator(self.potential, current.numbers)
        found = self._evaluate(current.positions)
        self.results = {**found.results(), "free_energy": found.energy}
        if {*DEVIATIONS} & {*(properties or ())}:
            expected = uncertainty(self.potential, current)
            self.results |= {
                f"{key}_std": value for key, value in vars(expected).items() if value is not None
            }
