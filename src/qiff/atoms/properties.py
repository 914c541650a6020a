"""The one table of what can be labelled and predicted; readers, losses and reports loop over it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator


@dataclass(frozen=True)
class Property:
    """A quantity of a configuration, in ASE's units and signs.

    Args:
        key: name in ASE's results, in labels and in predictions.
        aliases: names under which files hold it, in order of preference.
        array_aliases: the same for formats that are arrays (rMD17, sGDML, `.npy`), in lower case.
        per_atom: whether it has a row for each atom.
        shape: of the value of one configuration, or of one atom if `per_atom`.
        length_power: its unit is eV times Å to this power.
        unit: the unit in words.
        sign: the convention in words.
        components: how its components are called in figures and tables.
        needs_cell: whether only configurations with a cell have it.
        standardised: from another common layout of the numbers to `shape`.
        conversions: names under which files hold a related quantity in eV, and how to convert it,
            from its numbers in the layout of this one and the volume of the cell.
        weight_names: names under which files hold the weight of a configuration in its loss.
        words: a pattern that is found in names, in lower case, that may mean it.
    """

    key: str
    aliases: tuple[str, ...]
    array_aliases: tuple[str, ...]
    per_atom: bool
    shape: tuple[int, ...]
    length_power: int
    unit: str
    sign: str
    components: str
    needs_cell: bool = False
    standardised: Callable[[np.ndarray], np.ndarray] = lambda values: values
    conversions: Mapping[str, Callable[[np.ndarray, float], np.ndarray]] = field(
        default_factory=dict
    )
    weight_names: tuple[str, ...] = ()
    words: str = r"(?!)"

    def names(self, *, arrays: bool = False) -> tuple[str, ...]:
        """Names under which files, or formats that are arrays, hold it or a related quantity."""
        return (*(self.array_aliases if arrays else self.aliases), *self.conversions)

    def full_shape(self, n_atoms: int) -> tuple[int, ...]:
        """Shape of the value of a configuration of so many atoms."""
        return (n_atoms, *self.shape) if self.per_atom else self.shape


def _one_number(values: np.ndarray) -> np.ndarray:
    """Without axes, if it is one number."""
    return values.reshape(()) if values.size == 1 else values


def _voigt(stress: np.ndarray) -> np.ndarray:
    """Of nine numbers the six in the order xx, yy, zz, yz, xz, xy."""
    if stress.shape not in {(9,), (3, 3)}:
        return stress
    matrix = stress.reshape(3, 3)
    return ((matrix + matrix.T) / 2)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


def _stress_of_virial(virial: np.ndarray, volume: float) -> np.ndarray:
    r"""$\sigma = -W / V$ of the virial $W = -\partial E/\partial\epsilon$."""
    return -virial / volume


PROPERTIES: dict[str, Property] = {
    "energy": Property(
        key="energy",
        aliases=("REF_energy", "energy", "total_energy", "free_energy"),
        array_aliases=("energies", "e", "energy", "ref_energy", "total_energy"),
        per_atom=False,
        shape=(),
        length_power=0,
        unit="eV",
        sign="total energy of the configuration",
        components="energy",
        standardised=_one_number,
        weight_names=("config_energy_weight",),
        words=r"energ|^e$|^e_|_e$|etot",
    ),
    "forces": Property(
        key="forces",
        aliases=("REF_forces", "forces"),
        array_aliases=("forces", "f", "force", "ref_forces"),
        per_atom=True,
        shape=(3,),
        length_power=-1,
        unit="eV/Å",
        sign="minus the derivative of the energy with respect to the positions",
        components="force components",
        weight_names=("config_forces_weight",),
        words=r"force|^f$|^f_|_f$",
    ),
    "stress": Property(
        key="stress",
        aliases=("REF_stress", "stress"),
        array_aliases=("stress", "stresses", "ref_stress"),
        per_atom=False,
        shape=(6,),
        length_power=-3,
        unit="eV/Å³",
        sign="derivative of the energy with respect to strain, over the volume: tension is "
        "positive; components xx, yy, zz, yz, xz, xy",
        components="stress components",
        needs_cell=True,
        standardised=_voigt,
        conversions=dict.fromkeys(
            ("REF_virial", "REF_virials", "virial", "virials"), _stress_of_virial
        ),
        weight_names=("config_stress_weight", "config_virials_weight"),
        words=r"stress|virial",
    ),
}


def labels(atoms: ase.Atoms) -> dict[str, Any]:
    """Stored results of a configuration, see `PROPERTIES`; none if there are no stored results.

    What a live calculator last computed is no label.
    """
    return atoms.calc.results if isinstance(atoms.calc, SinglePointCalculator) else {}
