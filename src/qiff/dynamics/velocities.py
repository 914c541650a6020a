"""Velocities at the start of a simulation, fixed atoms, and the degrees of freedom that move."""

import ase
import ase.units
import numpy as np
from jaxtyping import Bool

from .._checks import InputError
from ..atoms.graph import has_volume
from ..atoms.rigid import n_rigid
from .settings import Dynamics


def fixed_atoms(atoms: ase.Atoms) -> Bool[np.ndarray, " n_atoms"]:
    """Which atoms a constraint holds in place.

    Raises:
        InputError: there is another constraint than ASE's `FixAtoms`.
    """
    from ase.constraints import FixAtoms  # loads most of scipy

    fixed = np.zeros(len(atoms), bool)
    for constraint in atoms.constraints:
        if not isinstance(constraint, FixAtoms):
            raise InputError(
                f"the constraint `{type(constraint).__name__}` of the atoms is not known to "
                "dynamics, which can only hold atoms in place (`FixAtoms`); remove it."
            )
        fixed[constraint.get_indices()] = True
    return fixed


def degrees_of_freedom(atoms: ase.Atoms, isolated: bool) -> int:
    """Number of degrees of freedom with kinetic energy.

    Args:
        atoms: at the start of the simulation. Those that are fixed have none.
        isolated: whether the rigid motions of all atoms are absent, see `n_rigid`. Where atoms
            are fixed there are none to be absent.

    Raises:
        InputError: see `fixed_atoms`.
    """
    fixed = int(fixed_atoms(atoms).sum())
    return 3 * (len(atoms) - fixed) - (n_rigid(atoms) if isolated and not fixed else 0)


def free_in(atoms: ase.Atoms, dynamics: Dynamics) -> int:
    """The degrees of freedom of a simulation, see `degrees_of_freedom`.

    Args:
        atoms: the start, with momenta if `dynamics.velocities` is file: then rigid motions count
            unless these have none.
        dynamics: what is simulated.
    """
    drawn = dynamics.velocities == "drawn"
    return degrees_of_freedom(atoms, dynamics.isolated and (drawn or _is_at_rest(atoms)))


def _is_at_rest(atoms: ase.Atoms) -> bool:
    """Whether there is no translation, nor rotation of a molecule, up to rounding in files."""
    momenta, arms = atoms.get_momenta(), atoms.positions - atoms.get_center_of_mass()
    turning = np.zeros(3) if atoms.pbc.any() else np.cross(arms, momenta).sum(0)
    scale = np.abs(momenta).sum(), np.abs(arms).max() * np.abs(momenta).sum()
    moving = np.abs(momenta.sum(0)).max(), np.abs(turning).max()
    return bool(np.all(np.array(moving) <= 1e-6 * np.array(scale)))


def temperature_of(kinetic_energy: float, n_free: int) -> float:
    r"""$T = 2 E_\mathrm{kin} / (n k_B)$ in K; 0 if nothing is free to move.

    Args:
        kinetic_energy: eV.
        n_free: see `degrees_of_freedom`.
    """
    return float(2 * kinetic_energy / (n_free * ase.units.kB)) if n_free else 0.0


def start_of(atoms: ase.Atoms, dynamics: Dynamics) -> ase.Atoms:
    """A copy of atoms with the momenta that a simulation starts with.

    Args:
        atoms: the positions, and the momenta if `dynamics.velocities` is file.
        dynamics: what is simulated.

    Raises:
        InputError: a mass is not positive and finite; momenta are to be those of the atoms, which
            have none or some that are not finite; the pressure is to be constant, but there is no
            volume or atoms are fixed; see `fixed_atoms`.
    """
    fixed, masses = fixed_atoms(atoms), atoms.get_masses()
    if (wrong := ~(np.isfinite(masses) & (masses > 0))).any():
        first = int(wrong.argmax())
        raise InputError(
            f"`masses` must be positive and finite, but atom {first} has {masses[first]:g} u."
        )
    if dynamics.constant_pressure:
        _check_can_be_scaled(atoms, dynamics, fixed)
    if dynamics.velocities == "drawn":
        return with_velocities(atoms, dynamics.temperature, dynamics.seed, dynamics.isolated)
    if not atoms.has("momenta"):
        raise InputError(
            "the atoms have no momenta, but `velocities` is file: draw them (drawn), or start "
            "from a frame of a trajectory."
        )
    start = atoms.copy()
    momenta = np.where(fixed[:, None], 0.0, start.get_momenta())
    if not np.isfinite(momenta).all():
        raise InputError("the momenta of the atoms must be finite, but have NaN or infinity.")
    start.set_momenta(momenta)
    return start


def _check_can_be_scaled(
    atoms: ase.Atoms, dynamics: Dynamics, fixed: Bool[np.ndarray, " n_atoms"]
) -> None:
    """Raise InputError unless a barostat can act on these atoms."""
    needs = f"constant pressure (ensemble `{dynamics.ensemble}`) needs"
    if not (atoms.pbc.all() and has_volume(atoms)):
        raise InputError(
            f"{needs} a cell with a volume that is periodic in all three directions, but pbc is "
            f"{atoms.pbc.tolist()} and the rank of the cell is {atoms.cell.rank}."
        )
    if fixed.any():
        raise InputError(
            f"{needs} atoms that all move with the cell, but {fixed.sum()} are fixed; remove the "
            "constraint, or use ensemble `nvt`."
        )


def with_velocities(atoms: ase.Atoms, temperature: float, seed: int, isolated: bool) -> ase.Atoms:
    """A copy of atoms with velocities of a Maxwell–Boltzmann distribution.

    They are scaled, so that the temperature is met exactly. Fixed atoms have none.

    Args:
        atoms: the molecule or periodic system.
        temperature: K.
        seed: of the velocities.
        isolated: whether the rigid motions are removed that leave the energy as it is:
            translation, and rotation of a molecule; none where atoms are fixed.
    """
    from ase.md.velocitydistribution import Stationary, ZeroRotation

    atoms, fixed = atoms.copy(), fixed_atoms(atoms)
    rng = np.random.default_rng(seed)
    width = np.sqrt(atoms.get_masses() * ase.units.kB * temperature)[:, None]
    momenta = width * rng.normal(size=(len(atoms), 3))
    atoms.set_momenta(np.where(fixed[:, None], 0.0, momenta) if fixed.any() else momenta)
    if isolated and not fixed.any():
        Stationary(atoms, preserve_temperature=False)
        if not atoms.pbc.any():
            with np.errstate(invalid="ignore", divide="ignore"):  # the axis of a linear molecule
                ZeroRotation(atoms, preserve_temperature=False)
    n_free = degrees_of_freedom(atoms, isolated)
    drawn = temperature_of(float(atoms.get_kinetic_energy()), n_free)
    if drawn > 0:
        atoms.set_momenta(atoms.get_momenta() * np.sqrt(temperature / drawn))
    return atoms
