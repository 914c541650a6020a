"""Molecular dynamics with any potential, driven by ASE, and what is reported of it.

`ase.md` is imported inside functions: it takes half as long to load as all of qiff.
"""

import csv
import errno
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import ase
import ase.units
import numpy as np

from ._checks import InputError, RunError, check_at_least, check_known, check_positive, check_seed
from ._files import atomic_write
from .atoms.rigid import n_rigid
from .calculator import Calculator
from .model.potential import AbstractPotential

if TYPE_CHECKING:
    from ase.md.md import MolecularDynamics

HOT = 20.0
"""Dynamics count as exploded above this multiple of the temperature plus `HOT_FLOOR`."""
HOT_FLOOR = 5000.0  # K


@dataclass(frozen=True)
class Dynamics:
    """What is simulated.

    Args:
        ensemble: a key of `ENSEMBLES`.
        temperature: K; the velocities at the start are drawn from it.
        timestep: fs.
        steps: number of time steps.
        interval: steps between recorded frames.
        friction: of the thermostat, 1/fs.
        seed: of the velocities and the thermostat.
    """

    ensemble: str = "nve"
    temperature: float = 300.0
    timestep: float = 0.5
    steps: int = 4000
    interval: int = 10
    friction: float = 0.01
    seed: int = 0

    def __post_init__(self):
        check_known("Ensemble", self.ensemble, ENSEMBLES)
        check_at_least("temperature", self.temperature, 0)
        check_positive("timestep", self.timestep)
        check_at_least("steps", self.steps, 1)
        check_at_least("interval", self.interval, 1)
        check_positive("friction", self.friction)
        check_seed(self.seed)


@dataclass(frozen=True)
class Ensemble:
    """How an ensemble is driven, and whether the molecule is isolated.

    If so, energy and momentum are conserved, and it starts without translation and rotation.
    """

    driver: Callable[[ase.Atoms, Dynamics, np.random.Generator], "MolecularDynamics"]
    isolated: bool


def _nve(atoms: ase.Atoms, dynamics: Dynamics, rng: np.random.Generator) -> "MolecularDynamics":
    from ase.md.verlet import VelocityVerlet

    return VelocityVerlet(atoms, timestep=dynamics.timestep * ase.units.fs)


def _nvt(atoms: ase.Atoms, dynamics: Dynamics, rng: np.random.Generator) -> "MolecularDynamics":
    from ase.md.langevin import Langevin

    return Langevin(
        atoms,
        timestep=dynamics.timestep * ase.units.fs,
        temperature_K=dynamics.temperature,
        friction=dynamics.friction / ase.units.fs,
        fixcm=False,
        rng=rng,
    )


ENSEMBLES: dict[str, Ensemble] = {
    "nve": Ensemble(_nve, isolated=True),
    "nvt": Ensemble(_nvt, isolated=False),
}


class Sample(NamedTuple):
    """A recorded frame: time in fs, energies in eV, temperature in K."""

    time: float
    potential: float
    kinetic: float
    temperature: float

    @property
    def total(self) -> float:
        return self.potential + self.kinetic


@dataclass(frozen=True)
class Report:
    """What a trajectory was like.

    `drift` is the slope of a straight line through the total energy, in meV/atom/ps, and
    `spread` the standard deviation around that line, in meV/atom; `momentum_change` is the
    largest change of a component of the total momentum, in ASE units. All three are None unless
    the ensemble conserves energy and momentum.
    """

    n_atoms: int
    n_steps: int
    picoseconds: float
    mean_temperature: float
    drift: float | None = None
    spread: float | None = None
    momentum_change: float | None = None


def simulate(
    potential: AbstractPotential,
    atoms: ase.Atoms,
    dynamics: Dynamics,
    path: Path,
    after_frame: Callable[[int], None] = lambda steps: None,
) -> tuple[list[Sample], Report]:
    """Run dynamics and record frames in the extxyz file `path`.

    Args:
        potential: any potential.
        atoms: the start; velocities are drawn anew.
        dynamics: what to simulate.
        path: the trajectory, replaced if it exists.
        after_frame: called with the number of steps done at every recorded frame.

    Returns:
        The recorded frames, the first and last step among them, and a report.

    Raises:
        InputError: the potential cannot describe the atoms.
        RunError: the dynamics exploded; the frames so far are in `path`.
    """
    rng, ensemble = np.random.default_rng(dynamics.seed), ENSEMBLES[dynamics.ensemble]
    atoms = atoms.copy()
    atoms.set_constraint()
    atoms.calc = Calculator(potential)
    atoms.get_forces()
    n_free = _thermalise(atoms, dynamics.temperature, ensemble.isolated, rng)
    driver = ensemble.driver(atoms, dynamics, rng)
    samples: list[Sample] = []
    start = atoms.get_momenta().sum(0)
    momentum_change = 0.0
    atomic_write(path, "")
    with io.FileIO(path, "a") as trajectory:
        for done in [*range(0, dynamics.steps, dynamics.interval), dynamics.steps]:
            try:
                driver.run(done - driver.nsteps)
            except InputError:  # the start was fine, so positions are no longer finite
                raise _exploded(driver.nsteps * dynamics.timestep, np.nan, path) from None
            sample = _sample(atoms, done * dynamics.timestep, n_free)
            _check_calm(sample, dynamics, path)
            _append(trajectory, atoms)
            samples.append(sample)
            moved = np.abs(atoms.get_momenta().sum(0) - start).max()
            momentum_change = max(momentum_change, float(moved))
            after_frame(done)
    conserved = _conservation(samples, len(atoms), momentum_change) if ensemble.isolated else {}
    return samples, Report(
        n_atoms=len(atoms),
        n_steps=dynamics.steps,
        picoseconds=samples[-1].time / 1000,
        mean_temperature=float(np.mean([sample.temperature for sample in samples])),
        **conserved,
    )


def samples_csv(samples: list[Sample]) -> str:
    """The samples as a table with units in its header."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["time_fs", "potential_eV", "kinetic_eV", "total_eV", "temperature_K"])
    table.writerows((s.time, s.potential, s.kinetic, s.total, s.temperature) for s in samples)
    return text.getvalue()


def _thermalise(
    atoms: ase.Atoms, temperature: float, isolated: bool, rng: np.random.Generator
) -> int:
    """Draw Maxwell–Boltzmann velocities, scaled to the temperature exactly.

    Returns:
        The number of degrees of freedom that have the temperature.
    """
    from ase.md.velocitydistribution import Stationary, ZeroRotation

    n_free = 3 * len(atoms)
    width = np.sqrt(atoms.get_masses() * ase.units.kB * temperature)[:, None]
    atoms.set_momenta(width * rng.normal(size=(len(atoms), 3)))
    if isolated:
        Stationary(atoms, preserve_temperature=False)
        with np.errstate(invalid="ignore", divide="ignore"):  # the axis of a linear molecule
            ZeroRotation(atoms, preserve_temperature=False)
        n_free -= n_rigid(atoms)
    now = _temperature(atoms, n_free)
    if now > 0:
        atoms.set_momenta(atoms.get_momenta() * np.sqrt(temperature / now))
    return n_free


def _temperature(atoms: ase.Atoms, n_free: int) -> float:
    return float(2 * atoms.get_kinetic_energy() / (n_free * ase.units.kB)) if n_free else 0.0


def _sample(atoms: ase.Atoms, time: float, n_free: int) -> Sample:
    return Sample(
        time,
        atoms.get_potential_energy(),
        float(atoms.get_kinetic_energy()),
        _temperature(atoms, n_free),
    )


def _check_calm(sample: Sample, dynamics: Dynamics, path: Path) -> None:
    """Raise unless the energy is finite and the temperature has not run away."""
    limit = HOT * dynamics.temperature + HOT_FLOOR
    if not (np.isfinite(sample.total) and sample.temperature < limit):
        raise _exploded(sample.time, sample.temperature, path)


def _exploded(time: float, temperature: float, path: Path) -> RunError:
    return RunError(
        f"the dynamics exploded at {time:g} fs ({temperature:.3g} K): use a smaller timestep or "
        f"check the model; the frames before are in {path}."
    )


def _append(trajectory: io.FileIO, atoms: ase.Atoms) -> None:
    """Write one whole frame with energy, forces and momenta, or nothing of it."""
    import ase.io

    text = io.StringIO()
    ase.io.write(text, atoms, format="extxyz")
    frame = text.getvalue().encode()
    start = trajectory.tell()
    if trajectory.write(frame) < len(frame):
        trajectory.truncate(start)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _conservation(samples: list[Sample], n_atoms: int, momentum_change: float) -> dict[str, float]:
    """Drift, spread and change of momentum, as in `Report`."""
    time = np.array([sample.time for sample in samples]) / 1000  # ps
    total = np.array([sample.total for sample in samples]) * 1000 / n_atoms  # meV/atom
    change = total - total[0]
    slope, offset = np.polyfit(time, change, 1)
    spread = np.std(change - slope * time - offset)
    return {"drift": float(slope), "spread": float(spread), "momentum_change": momentum_change}
