"""What the parts of the hardware study share: small models, and errors of measurements."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ase
import numpy as np

from ..._checks import InputError
from ...hardware.delivery import Cached
from ...hardware.estimate import Measurement, circuits, estimate
from ...hardware.executor import AbstractExecutor
from ...hardware.executors import make_executor
from ...hardware.measure import Protocol
from ...model.potential import AbstractPotential
from ...model.predict import Prediction, predict
from ...training.checkpoint import load
from ...training.settings import Training
from .. import learning_curve
from .experiment import Experiment, Progress, SeedData, carry_out
from .study import Budget, shuffled

_WATER, _LIH = ["O", "H", "H"], ["Li", "H"]
_PERIOD = np.pi / 3.6
"""Radians per Å for which the bond lengths of LiH are one period."""


class Subject(NamedTuple):
    """A small model that is sent: its config, its data, and how it is trained."""

    model: Mapping[str, Any]
    sample: Callable[[int], SeedData]
    training: Callable[[Budget], Training] = lambda budget: budget.training(1.0)
    rate: float = 0.03
    dtype: str = "float64"

    def missing(self) -> str:
        """Why its data are not there; empty if they are."""
        try:
            self.sample(0)
        except InputError as error:
            return str(error)
        return ""


_LIH_DATA = partial(shuffled, "bundled:lih", 60, 20)
_WATER_DATA = partial(shuffled, "bundled:water", 640, 40)
_DIMER_DATA = partial(shuffled, "bundled:water-dimer", 1200, 100)
_ETHANOL = {"kind": "local", "elements": ["H", "C", "O"], "n_layers": 2, "n_circuits": 1}

SUBJECTS = {
    "LiH siVQLM": Subject({"kind": "diatomic", "elements": _LIH, "n_layers": 3}, _LIH_DATA),
    "LiH VQLM": Subject(
        {
            "kind": "generic",
            "elements": _LIH,
            "n_qubits": 4,
            "n_layers": 6,
            "initial_scale": _PERIOD,
        },
        _LIH_DATA,
    ),
    "water siVQLM": Subject({"kind": "triatomic", "elements": _WATER, "n_layers": 3}, _WATER_DATA),
    "water siVQLM, 4 layers": Subject(
        {"kind": "triatomic", "elements": _WATER, "n_layers": 4}, _WATER_DATA
    ),
    "water VQLM": Subject(
        {"kind": "generic", "elements": _WATER, "n_qubits": 3, "n_layers": 8}, _WATER_DATA
    ),
    "dimer siVQLM": Subject({"kind": "dimer", "elements": _WATER * 2, "n_layers": 3}, _DIMER_DATA),
    "dimer coupled": Subject(
        {"kind": "coupled_dimer", "elements": _WATER * 2, "n_layers": 3, "initial_scale": 0.4},
        _DIMER_DATA,
    ),
    "ethanol local": Subject(
        _ETHANOL,
        partial(learning_curve.sample, "ethanol", 200),
        lambda budget: learning_curve.training(budget.steps // 2),
        rate=0.01,
        dtype="float32",
    ),
}


class Work(NamedTuple):
    """Where a study is carried out, how much it may take, and how it shows what it does."""

    out: Path
    budget: Budget
    show: Progress

    def subject(self, name: str) -> tuple[AbstractPotential, Sequence[ase.Atoms]]:
        """A trained model and its test frames."""
        subject = SUBJECTS[name]
        experiment = Experiment(
            f"hardware-{name}".lower().replace(",", "").replace(" ", "-"),
            subject.model,
            subject.sample,
            subject.training(self.budget),
            (subject.rate,),
            dtype=subject.dtype,
        )
        outcome = carry_out(experiment, self.budget.seeds[:1], self.out, self.show)
        tests = experiment.sample(outcome.seeds[0]).tests["test"]
        return load(outcome.folders[0] / "model.qiff"), tests

    def executor(self, name: str) -> AbstractExecutor:
        """An executor whose results are kept."""
        return Cached(make_executor(name), self.out / "runs" / name.replace(":", "-"))


class Errors(NamedTuple):
    """Measurements of several geometries beside what the exact model says."""

    exact: Sequence[Prediction]
    found: Sequence[Measurement]

    @property
    def energies(self) -> np.ndarray:
        """Error of the energy of each geometry, in eV."""
        return np.array([f.energy - e.energy for e, f in zip(self.exact, self.found, strict=True)])

    @property
    def energy(self) -> float:
        """Root mean square error in eV."""
        return float(np.sqrt(np.mean(self.energies**2)))

    @property
    def by_geometry(self) -> np.ndarray:
        """Root mean square error of the force components of each geometry, in eV/Å."""
        pairs = zip(self.exact, self.found, strict=True)
        return np.array([np.sqrt(np.mean((f.forces - e.forces) ** 2)) for e, f in pairs])

    @property
    def forces(self) -> float:
        """Root mean square error of force components in eV/Å."""
        return float(np.sqrt(np.mean(self.by_geometry**2)))

    @property
    def largest(self) -> float:
        """Largest error of an energy or force component, in eV or eV/Å."""
        return float(np.max(np.abs(np.concatenate(self._off()))))

    @property
    def in_errors(self) -> np.ndarray:
        """Errors of energies and force components in units of their standard errors."""
        errors = [[f.energy_error, *f.forces_error.ravel()] for f in self.found]
        return np.abs(np.concatenate([o / e for o, e in zip(self._off(), errors, strict=True)]))

    def _off(self) -> list[np.ndarray]:
        pairs = zip(self.exact, self.found, strict=True)
        return [np.array([f.energy - e.energy, *(f.forces - e.forces).ravel()]) for e, f in pairs]


def measure_errors(
    potential: AbstractPotential,
    frames: Sequence[ase.Atoms],
    executor: AbstractExecutor,
    protocol: Protocol,
) -> Errors:
    """Measure geometries and compare with the exact model."""
    found = [estimate(potential, atoms, executor, protocol) for atoms in frames]
    return Errors([predict(potential, atoms) for atoms in frames], found)


def n_circuits(potential: AbstractPotential, atoms: ase.Atoms) -> int:
    """Circuits of a geometry, each read in one setting."""
    return sum(len(c.angles) + len(c.shifted) for c in circuits(potential, atoms))


def standard_error(found: Sequence[Measurement]) -> float:
    """Root mean square of the standard errors of force components, in eV/Å."""
    return float(np.sqrt(np.mean([one.forces_error**2 for one in found])))
