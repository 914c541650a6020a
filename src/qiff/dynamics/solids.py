r"""Crystals at rest: equation of state and elastic constants, with any calculator of ASE.

Stresses and strains have the components xx, yy, zz, yz, xz, xy. Strains are engineering strains:
the last three are twice the components of the tensor, so that the deformation

$$ 1 + \epsilon = \begin{pmatrix} 1 + e_1 & e_6/2 & e_5/2 \\ e_6/2 & 1 + e_2 & e_4/2 \\
   e_5/2 & e_4/2 & 1 + e_3 \end{pmatrix} $$

multiplies the cell vectors and positions from the right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import ase
import ase.units
import numpy as np
from ase.calculators.calculator import BaseCalculator
from ase.stress import voigt_6_to_full_3x3_strain
from jaxtyping import Float

from .._checks import InputError, RunError, check_positive
from ..atoms.graph import check_cell
from .relaxation import relaxed

LARGEST_FORCE = 1e-4
"""eV/Å, of a relaxed crystal: smaller than for a molecule, since strains are small."""
VOLUMES = (0.94, 0.96, 0.98, 1.0, 1.02, 1.04, 1.06)
"""Volumes of an equation of state, relative to that of the relaxed crystal."""
STEP = 5e-3
"""Largest component of a strain."""
_NOT_CUBIC = 0.05  # of C11
_FEWEST_VOLUMES = 5


class EquationOfState(NamedTuple):
    """Energy of a crystal against its volume, at the minimum.

    Args:
        volume: of the cell in Å³.
        energy: of the cell in eV.
        bulk_modulus: in GPa.
        volumes: those that were fitted, in Å³.
        energies: the same in eV.
    """

    volume: float
    energy: float
    bulk_modulus: float
    volumes: Float[np.ndarray, " n_volumes"]
    energies: Float[np.ndarray, " n_volumes"]


class CubicConstants(NamedTuple):
    """Elastic constants of a cubic crystal in GPa."""

    c11: float
    c12: float
    c44: float


@dataclass(frozen=True)
class ElasticConstants:
    """Elastic constants of a crystal.

    Args:
        tensor: row i, column j is the change of stress i with engineering strain j, in GPa. It is
            symmetric up to errors of relaxation.
        atoms: the relaxed crystal.
    """

    tensor: Float[np.ndarray, "6 6"]
    atoms: ase.Atoms

    @property
    def bulk_modulus(self) -> float:
        r"""$K = \frac19 \sum_{ij \le 3} C_{ij}$ in GPa, for equal strains in all directions."""
        return float(self.tensor[:3, :3].mean())

    @property
    def cubic(self) -> CubicConstants:
        """Means of the constants that are equal in a cubic crystal with its axes along x, y, z.

        Raises:
            InputError: the crystal is not cubic, or not along these axes.
        """
        diagonal, off = np.eye(3, dtype=bool), ~np.eye(3, dtype=bool)
        stretch, shear = self.tensor[:3, :3], self.tensor[3:, 3:]
        found = CubicConstants(
            *(float(part.mean()) for part in (stretch[diagonal], stretch[off], shear[diagonal]))
        )
        expected = np.zeros((6, 6))
        expected[:3, :3] = np.where(diagonal, found.c11, found.c12)
        expected[3:, 3:] = found.c44 * diagonal
        wrong = float(np.abs(self.tensor - expected).max())
        if wrong > _NOT_CUBIC * abs(found.c11):
            raise InputError(
                "`cubic` must be asked of a cubic crystal along x, y and z, but constants differ "
                f"by {wrong:.3g} GPa from those of one; read `tensor`."
            )
        return found


def equation_of_state(
    calculator: BaseCalculator, atoms: ase.Atoms, volumes: Sequence[float] = VOLUMES
) -> EquationOfState:
    r"""Relax a crystal and fit its energy against its volume.

    $$ E(V) = E_0 + \frac{9 V_0 B_0}{16} \Big\{ \big[x^2 - 1\big]^3 B_0'
       + \big[x^2 - 1\big]^2 \big[6 - 4 x^2\big] \Big\}, \qquad x = (V_0/V)^{1/3} $$

    The shape of the cell is kept, and positions are relaxed at each volume.

    Args:
        calculator: with energy, forces and stress, for instance `qiff.Calculator(potential)`.
        atoms: a crystal near its minimum.
        volumes: relative to that of the relaxed crystal; at least five.

    Returns:
        Volume in Å³, energy in eV and bulk modulus in GPa at the minimum, and what was fitted.

    Raises:
        InputError: the atoms are not periodic in three directions, or there are too few volumes.
        RunError: the crystal does not relax, or its energy has no minimum among the volumes.

    Reference: Birch, Phys. Rev. 71, 809 (1947).
    """
    from ase.eos import EquationOfState as Fit
    from ase.filters import FrechetCellFilter

    _check_crystal(atoms)
    if len(volumes) < _FEWEST_VOLUMES:
        raise InputError(f"`volumes` must be at least {_FEWEST_VOLUMES}, but are {len(volumes)}.")
    isotropic = partial(FrechetCellFilter, hydrostatic_strain=True)
    start = relaxed(atoms, calculator, LARGEST_FORCE, isotropic)
    found = []
    for volume in volumes:
        strained = _deformed(start, np.eye(3) * volume ** (1 / 3))
        energy = relaxed(strained, calculator, LARGEST_FORCE).get_potential_energy()
        found.append((strained.get_volume(), energy))
    sizes, energies = np.array(found).T
    volume, energy, modulus = Fit(sizes, energies, "birchmurnaghan").fit(warn=False)
    if not (sizes.min() < volume < sizes.max() and modulus > 0):
        raise RunError(
            f"the energy has no minimum between the volumes {sizes.min():.5g} and "
            f"{sizes.max():.5g} Å³: check the model."
        )
    modulus = float(modulus / ase.units.GPa)
    return EquationOfState(float(volume), float(energy), modulus, sizes, energies)


def elastic_constants(
    calculator: BaseCalculator, atoms: ase.Atoms, step: float = STEP
) -> ElasticConstants:
    r"""Relax a crystal with its cell and find its elastic constants from stresses.

    $$ C_{ij} = \frac{\partial\sigma_i}{\partial e_j}
       \approx \frac{\sigma_i(h e_j) - \sigma_i(-h e_j)}{2h} $$

    Positions are relaxed under each strain.

    Args:
        calculator: with energy, forces and stress, for instance `qiff.Calculator(potential)`.
        atoms: a crystal near its minimum.
        step: of the strain, $h$.

    Returns:
        The tensor $C_{ij}$ in GPa and the relaxed crystal.

    Raises:
        InputError: the atoms are not periodic in three directions, or the step is not positive.
        RunError: the crystal does not relax.
    """
    from ase.filters import FrechetCellFilter

    _check_crystal(atoms)
    check_positive("step", step)
    start = relaxed(atoms, calculator, LARGEST_FORCE, FrechetCellFilter)

    def stress(strain: Float[np.ndarray, "6"]) -> Float[np.ndarray, "6"]:
        strained = _deformed(start, voigt_6_to_full_3x3_strain(strain))
        return relaxed(strained, calculator, LARGEST_FORCE).get_stress()

    columns = [(stress(strain) - stress(-strain)) / (2 * step) for strain in step * np.eye(6)]
    return ElasticConstants(np.array(columns).T / ase.units.GPa, start)


def _deformed(atoms: ase.Atoms, deformation: Float[np.ndarray, "3 3"]) -> ase.Atoms:
    """A copy with cell and positions multiplied from the right."""
    copy = atoms.copy()
    copy.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    return copy


def _check_crystal(atoms: ase.Atoms) -> None:
    check_cell(atoms, "atoms")
    if not atoms.pbc.all():
        raise InputError(
            "`atoms` must be periodic in three directions, but have "
            f"pbc = {atoms.pbc.tolist()}; give a crystal."
        )
