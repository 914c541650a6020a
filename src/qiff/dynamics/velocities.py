"""Velocities at the start of a simulation, and the degrees of freedom that carry them."""

import ase
import ase.units
import numpy as np

from ..atoms.rigid import n_rigid


def degrees_of_freedom(atoms: ase.Atoms, isolated: bool) -> int:
    """Number of degrees of freedom with kinetic energy.

    Args:
        atoms: at the start of the simulation.
        isolated: whether translation and rotation are absent.
    """
    return 3 * len(atoms) - (n_rigid(atoms) if isolated else 0)


def temperature_of(kinetic_energy: float, n_free: int) -> float:
    r"""$T = 2 E_\mathrm{kin} / (n k_B)$ in K; 0 if nothing is free to move.

    Args:
        kinetic_energy: eV.
        n_free: see `degrees_of_freedom`.
    """
    return float(2 * kinetic_energy / (n_free * ase.units.kB)) if n_free else 0.0


def with_velocities(atoms: ase.Atoms, temperature: float, seed: int, isolated: bool) -> ase.Atoms:
    """A copy of atoms without constraints, with velocities of a Maxwell–Boltzmann distribution.

    They are scaled, so that the temperature is met exactly.

    Args:
        atoms: the molecule.
        temperature: K.
        seed: of the velocities.
        isolated: whether translation and rotation are removed.
    """
    from ase.md.velocitydistribution import Stationary, ZeroRotation

    atoms = atoms.copy()
    atoms.set_constraint()
    rng = np.random.default_rng(seed)
    width = np.sqrt(atoms.get_masses() * ase.units.kB * temperature)[:, None]
    atoms.set_momenta(width * rng.normal(size=(len(atoms), 3)))
    if isolated:
        Stationary(atoms, preserve_temperature=False)
        with np.errstate(invalid="ignore", divide="ignore"):  # the axis of a linear molecule
            ZeroRotation(atoms, preserve_temperature=False)
    n_free = degrees_of_freedom(atoms, isolated)
    drawn = temperature_of(float(atoms.get_kinetic_energy()), n_free)
    if drawn > 0:
        atoms.set_momenta(atoms.get_momenta() * np.sqrt(temperature / drawn))
    return atoms
