"""Relaxation: the nearest minimum of the energy, in a fixed cell or together with it."""

from collections.abc import Callable
from typing import Any

import ase
import numpy as np
from ase.calculators.calculator import BaseCalculator

from .._checks import RunError

LARGEST_FORCE = 1e-3
"""eV/Å: a structure is relaxed when no force on an atom is larger."""
_MAX_STEPS = 500  # of the optimiser


def relaxed(
    atoms: ase.Atoms,
    calculator: BaseCalculator,
    largest_force: float = LARGEST_FORCE,
    relaxing: Callable[[ase.Atoms], Any] = lambda atoms: atoms,
) -> ase.Atoms:
    """A relaxed copy of a structure, with its calculator.

    Args:
        atoms: the structure to start from.
        calculator: any calculator of ASE, for instance `Calculator(potential)`.
        largest_force: in eV/Å, of a relaxed structure.
        relaxing: what is optimised of the atoms, for instance `ase.filters.FrechetCellFilter` for
            the cell as well; only the positions by default.

    Raises:
        RunError: the structure does not relax.
    """
    from ase.optimize import BFGS

    copy = atoms.copy()
    copy.calc = calculator
    target = relaxing(copy)
    if not BFGS(target, logfile=None).run(fmax=largest_force, steps=_MAX_STEPS):
        largest = np.linalg.norm(target.get_forces(), axis=1).max()
        raise RunError(
            f"the structure is not relaxed after {_MAX_STEPS} steps, the largest force is "
            f"{largest:.3g} eV/Å: start closer to a minimum or check the model."
        )
    return copy
