"""The ASE calculator: any potential drives anything ASE can do."""

from threading import RLock
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
    instance, and so are `energies`. It can be copied and pickled, also with its atoms; threads
    that share it take turns.

    Args:
        potential: any potential, for instance from `qiff.load`.
        isolated: ignore the cell, for programs that set one around a molecule. The molecule must
            be whole, not wrapped into the cell.

    Raises:
        InputError: on calculation, if the potential cannot describe the atoms.
    """

    implemented_properties = [*PROPERTIES, "free_energy", "energies"]  # noqa: RUF012 (ASE's interface)

    def __init__(self, potential: AbstractPotential, *, isolated: bool = False):
        super().__init__()
        self.potential, self.isolated = potential, isolated
        if potential.calibration:
            deviations = [f"{key}{DEVIATION}" for key in PROPERTIES]
            self.implemented_properties = [*self.implemented_properties, *deviations]
        self._start()

    def _start(self) -> None:
        """Set what is neither copied nor pickled."""
        self._evaluate: Any = None
        self._lock = RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in ("_evaluate", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._start()

    def get_property(
        self, name: str, atoms: ase.Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        with self._lock:
            return super().get_property(name, atoms, allow_calculation)

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: Any = None,
        system_changes: Any = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        current: Any = self.atoms
        if self.isolated:
            current = current.copy()
            current.pbc = False
        only_moved = system_changes == ["positions"] and np.isfinite(current.positions).all()
        if not only_moved or self._evaluate is None:
            self._evaluate = None  # none is left if the next line raises
            check_atoms(self.potential, current, "atoms")
            self._evaluate = evaluator(self.potential, current)
        found = self._evaluate(current.positions, current.cell.array)
        self.results = {**found.results(), "free_energy": found.energy}
        if any(name.endswith(DEVIATION) for name in properties or ()):
            expected = uncertainty(self.potential, current).results()
            self.results |= {f"{key}{DEVIATION}": value for key, value in expected.items()}
        if "energies" in (properties or ()):
            self.results["energies"] = atomic_energies(self.potential, current)
