"""Statistics of a trajectory: energies and temperature of its states, drift and spread."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import ase
import numpy as np
from jaxtyping import Float

from .._files import atomic_write, save_record
from .observables import GRAM_PER_CM3, block_mean, pressure_of
from .settings import Dynamics
from .state import MDState
from .velocities import fixed_atoms, free_in, temperature_of

_COLUMNS = ("time_fs", "potential_eV", "kinetic_eV", "total_eV", "temperature_K")
_VOLUME_COLUMNS = ("pressure_GPa", "volume_A3")  # also, if there is a volume
_N_BLOCKS = 10


class Sample(NamedTuple):
    """One recorded state: time in fs, energies in eV, temperature in K.

    Pressure in GPa, of forces and motion, and volume in Å³ are None without a volume.
    """

    time: float
    potential: float
    kinetic: float
    temperature: float
    pressure: float | None = None
    volume: float | None = None

    @property
    def total(self) -> float:
        return self.potential + self.kinetic


@dataclass(frozen=True)
class DynamicsReport:
    """Summary of a trajectory.

    Args:
        n_atoms: number of atoms.
        n_steps: number of time steps.
        picoseconds: length.
        mean_temperature: in K.
        drift: slope of a straight line through the total energy, in meV/atom/ps.
        spread: standard deviation of the total energy around that line, in meV/atom.
        momentum_change: largest change of a component of the total momentum, in ASE units.
        mean_pressure: GPa.
        pressure_error: standard error of the mean pressure in GPa, see `standard_error`.
        mean_volume: Å³.
        density: g/cm³, of the mean volume.

    Drift, spread and change of the momentum are None unless the ensemble conserves energy and
    momentum, which fixed atoms take up; pressure, volume and density are None without a volume.
    """

    n_atoms: int
    n_steps: int
    picoseconds: float
    mean_temperature: float
    drift: float | None = None
    spread: float | None = None
    momentum_change: float | None = None
    mean_pressure: float | None = None
    pressure_error: float | None = None
    mean_volume: float | None = None
    density: float | None = None

    def record(self) -> dict[str, Any]:
        """The numbers for a JSON file; without a volume none of those that need one."""
        needs_volume = ("mean_pressure", "pressure_error", "mean_volume", "density")
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in needs_volume or self.mean_volume is not None
        }


def sampler(atoms: ase.Atoms, dynamics: Dynamics) -> Callable[[MDState], Sample]:
    r"""A function that gives time, energies, temperature, pressure and volume of a state.

    $$ P = \frac{2 E_\mathrm{kin}}{3 V} - \frac{\mathrm{tr}\,\sigma}{3} $$

    Args:
        atoms: the start.
        dynamics: what is simulated.
    """
    masses = atoms.get_masses()[:, None]
    n_free = free_in(atoms, dynamics)

    def sample(state: MDState) -> Sample:
        momenta = np.asarray(state.momenta)
        kinetic = float(0.5 * np.vdot(momenta, momenta / masses))
        time = int(state.step) * dynamics.timestep
        of_all = (time, float(state.energy), kinetic, temperature_of(kinetic, n_free))
        if state.cell is None or state.stress is None:
            return Sample(*of_all)
        volume = float(np.abs(np.linalg.det(np.asarray(state.cell))))
        return Sample(*of_all, pressure_of(np.asarray(state.stress), kinetic, volume), volume)

    return sample


def report_of(
    samples: Sequence[Sample],
    total_momenta: Sequence[Float[np.ndarray, "3"]],
    atoms: ase.Atoms,
    dynamics: Dynamics,
) -> DynamicsReport:
    """Summarise a trajectory.

    Args:
        samples: of the recorded states, at least two.
        total_momenta: of the same states, in ASE units.
        atoms: the start.
        dynamics: what was simulated.
    """
    conserved: dict[str, float] = {}
    if dynamics.isolated:
        conserved = _energy_conservation(samples, len(atoms))
        if not fixed_atoms(atoms).any():
            change = np.abs(np.array(total_momenta) - total_momenta[0]).max()
            conserved["momentum_change"] = float(change)
    return DynamicsReport(
        n_atoms=len(atoms),
        n_steps=dynamics.steps,
        picoseconds=samples[-1].time / 1000,
        mean_temperature=float(np.mean([sample.temperature for sample in samples])),
        **conserved,
        **_in_volume(samples, float(atoms.get_masses().sum())),
    )


def _in_volume(samples: Sequence[Sample], mass: float) -> dict[str, float]:
    """Pressure, volume and density, see `DynamicsReport`; empty without a volume."""
    pressures = np.array([s.pressure for s in samples if s.pressure is not None])
    volumes = np.array([s.volume for s in samples if s.volume is not None])
    if not len(volumes):
        return {}
    return {
        "mean_pressure": float(pressures.mean()),
        "pressure_error": standard_error(pressures),
        "mean_volume": float(volumes.mean()),
        "density": float(mass / volumes.mean() / GRAM_PER_CM3),
    }


def standard_error(values: Float[np.ndarray, " n_samples"]) -> float:
    """Standard error of the mean of correlated values, see `block_mean`, from 10 blocks; 0 for a
    single value."""
    return block_mean(values, _N_BLOCKS).error if len(values) > 1 else 0.0


def _energy_conservation(samples: Sequence[Sample], n_atoms: int) -> dict[str, float]:
    """Drift and spread, see `DynamicsReport`."""
    time = np.array([sample.time for sample in samples]) / 1000  # ps
    total = np.array([sample.total for sample in samples]) * 1000 / n_atoms  # meV/atom
    change = total - total[0]
    slope, intercept = np.polyfit(time, change, 1)
    spread = np.std(change - slope * time - intercept)
    return {"drift": float(slope), "spread": float(spread)}


def samples_csv(samples: Sequence[Sample]) -> str:
    """The samples as a table with units in its header."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    in_volume = any(s.volume is not None for s in samples)
    table.writerow((*_COLUMNS, *_VOLUME_COLUMNS) if in_volume else _COLUMNS)
    for s in samples:
        row = (s.time, s.potential, s.kinetic, s.total, s.temperature)
        table.writerow((*row, s.pressure, s.volume) if in_volume else row)
    return text.getvalue()


def read_samples(path: Path) -> list[Sample]:
    """The samples in a file that `samples_csv` was written to."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    samples = []
    for row in rows:
        time, potential, kinetic, _, temperature = (float(row[name]) for name in _COLUMNS)
        in_volume = (float(row[name]) for name in _VOLUME_COLUMNS if name in row)
        samples.append(Sample(time, potential, kinetic, temperature, *in_volume))
    return samples


def save_statistics(
    path: Path,
    dynamics: Dynamics,
    samples: Sequence[Sample],
    report: DynamicsReport,
    origin: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the samples (`.csv`) and a record (`.json`) next to a trajectory.

    Args:
        path: of the trajectory.
        dynamics: what was simulated; goes into the record.
        samples: of the recorded states.
        report: goes into the record.
        origin: which model it was; goes into the record.

    Returns:
        The record.
    """
    atomic_write(path.with_suffix(".csv"), samples_csv(samples))
    record = {**asdict(dynamics), **report.record(), **origin}
    return save_record(path.with_suffix(".json"), record)
