"""Errors of measured energies and forces against the exact model."""

from collections.abc import Sequence
from typing import NamedTuple

import ase
import numpy as np

from ...hardware.estimate import Measurement, circuits, estimate
from ...hardware.executor import AbstractExecutor
from ...hardware.measure import Protocol
from ...model.potential import AbstractPotential
from ...model.predict import Prediction, predict


class Errors(NamedTuple):
    """Measurements of several geometries and the predictions of the exact model."""

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
