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
from .settings import Dynamics
from .state import MDState
from .velocities import degrees_of_freedom, temperature_of

_COLUMNS = ("time_fs", "potential_eV", "kinetic_eV", "total_eV", "temperature_K")


class Sample(NamedTuple):
    """One recorded state: time in fs, energies in eV, temperature in K."""

    time: float
    potential: float
    kinetic: float
    temperature: float

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
        mean_temperature: K.
        drift: slope of a straight line through the total energy, in meV/atom/ps.
        spread: standard deviation of the total energy around that line, in meV/atom.
        momentum_change: largest change of a component of the total momentum, in ASE units.

    The last three are None unless the ensemble conserves energy and momentum.
    """

    n_atoms: int
    n_steps: int
    picoseconds: float
    mean_temperature: float
    drift: float | None = None
    spread: float | None = None
    momentum_change: float | None = None


def sampler(atoms: ase.Atoms, dynamics: Dynamics) -> Callable[[MDState], Sample]:
    """A function that gives time, energies and temperature of a state.

    Args:
        atoms: the start.
        dynamics: what is simulated.
    """
    masses = atoms.get_masses()[:, None]
    n_free = degrees_of_freedom(atoms, dynamics.isolated)

    def sample(state: MDState) -> Sample:
        momenta = np.asarray(state.momenta)
        kinetic = float(0.5 * np.vdot(momenta, momenta / masses))
        time = int(state.step) * dynamics.timestep
        return Sample(time, float(state.energy), kinetic, temperature_of(kinetic, n_free))

    return sample


def report_of(
    samples: Sequence[Sample],
    total_momenta: Sequence[Float[np.ndarray, "3"]],
    n_atoms: int,
    dynamics: Dynamics,
) -> DynamicsReport:
    """Summarise a trajectory.

    Args:
        samples: of the recorded states, at least two.
        total_momenta: of the same states, in ASE units.
        n_atoms: number of atoms.
        dynamics: what was simulated.
    """
    conserved: dict[str, float] = {}
    if dynamics.isolated:
        change = np.abs(np.array(total_momenta) - total_momenta[0]).max()
        conserved = {**_energy_conservation(samples, n_atoms), "momentum_change": float(change)}
    return DynamicsReport(
        n_atoms=n_atoms,
        n_steps=dynamics.steps,
        picoseconds=samples[-1].time / 1000,
        mean_temperature=float(np.mean([sample.temperature for sample in samples])),
        **conserved,
    )


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
    table.writerow(_COLUMNS)
    table.writerows((s.time, s.potential, s.kinetic, s.total, s.temperature) for s in samples)
    return text.getvalue()


def read_samples(path: Path) -> list[Sample]:
    """The samples in a file that `samples_csv` was written to."""
    with path.open(newline="") as file:
        rows = [[float(row[name]) for name in _COLUMNS] for row in csv.DictReader(file)]
    return [Sample(time, potential, kinetic, t) for time, potential, kinetic, _, t in rows]


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
    record = {**asdict(dynamics), **asdict(report), **origin}
    return save_record(path.with_suffix(".json"), record)
