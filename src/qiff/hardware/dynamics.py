r"""Molecular dynamics on measured forces, whose known noise is taken out of the thermostat.

A force with an error of covariance $\Sigma$ kicks the momenta by $\Delta t\, F$ in each step and
so heats by $\Delta t^2 \Sigma$ on top of the heat bath. The bath gives that much less:

$$ p \to c\,p + \xi, \qquad \langle \xi \xi^T \rangle = (1 - c^2)\, m k_B T - \Delta t^2\, \Sigma $$

Reference: Krajewski and Parrinello, Phys. Rev. B 73, 041105 (2006).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import ase
import ase.units
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._checks import InputError, RunError
from ..dynamics.md import Dynamics, MDState
from ..model.potential import AbstractPotential
from .estimate import Measurement, circuits, measure
from .executor import AbstractExecutor
from .measure import Laboratory, Protocol


@dataclass(eq=False)
class MeasuredIntegrator:
    """Langevin dynamics on forces from an executor, see `qiff.dynamics.md.Integrator`.

    Args:
        executor: carries out circuits.
        protocol: how every geometry is measured.
        after_job: called with the number of circuits carried out so far.

    Raises:
        InputError: on use, without a thermostat, or if the potential cannot be sent.
        RunError: on use, if the noise of the forces is more than friction takes away.
    """

    executor: AbstractExecutor
    protocol: Protocol
    after_job: Callable[[int], None] = lambda n_circuits: None
    measured: list[Measurement] = field(default_factory=list)

    @property
    def n_shots(self) -> int:
        """Shots of all steps."""
        return sum(one.n_shots for one in self.measured)

    def __call__(
        self, potential: AbstractPotential, atoms: ase.Atoms, dynamics: Dynamics, limit: float
    ) -> Iterator[tuple[int, MDState]]:
        if dynamics.ensemble != "nvt":
            raise InputError("Measured forces are noisy and need a thermostat: use ensemble `nvt`.")
        laboratory, moving = Laboratory(self.executor, self.protocol, self.after_job), atoms.copy()
        circuits(potential, atoms)  # or raise, before anything is written

        def forces_at(positions: np.ndarray) -> Measurement:
            moving.positions = positions
            self.measured.append(measure(laboratory, potential, moving))
            return self.measured[-1]

        return _points(forces_at, atoms, dynamics, limit)


def _points(
    forces_at: Callable[[np.ndarray], Measurement],
    atoms: ase.Atoms,
    dynamics: Dynamics,
    limit: float,
) -> Iterator[tuple[int, MDState]]:
    """Steps done and the point reached at every recorded frame, in the BAOAB splitting."""
    rng = np.random.default_rng(dynamics.seed)
    timestep = dynamics.timestep * ase.units.fs
    masses = atoms.get_masses()[:, None]
    keep = np.exp(-dynamics.friction * dynamics.timestep)
    heat = (1 - keep**2) * np.repeat(masses * ase.units.kB * dynamics.temperature, 3)
    positions, momenta = atoms.positions.copy(), atoms.get_momenta()
    now, stable = forces_at(positions), True
    recorded = set(dynamics.recorded.tolist())
    for step in range(dynamics.steps + 1):
        if step in recorded or not stable:
            yield step, _point(positions, momenta, now, step, stable)
        if step == dynamics.steps or not stable:
            return
        momenta = momenta + timestep / 2 * now.forces
        positions = positions + timestep / 2 * momenta / masses
        bath = np.diag(heat) - timestep**2 * now.covariance
        momenta = keep * momenta + _draw(bath, rng).reshape(-1, 3)
        positions = positions + timestep / 2 * momenta / masses
        now = forces_at(positions)
        momenta = momenta + timestep / 2 * now.forces
        stable = bool((momenta**2 / masses).sum() / 2 < limit)


def _draw(covariance: Float[np.ndarray, "n n"], rng: np.random.Generator) -> np.ndarray:
    """Normal numbers of a covariance.

    Raises:
        RunError: it is not one.
    """
    values, vectors = np.linalg.eigh(covariance)
    if values[0] < 0:
        raise RunError(
            "the forces are noisier than the thermostat is strong: measure with more shots, or "
            "use a smaller timestep or a larger friction."
        )
    return vectors @ (np.sqrt(values) * rng.normal(size=len(values)))


def _point(
    positions: np.ndarray, momenta: np.ndarray, now: Measurement, step: int, stable: bool
) -> MDState:
    arrays = (positions, momenta, now.energy, now.forces, step, stable)
    return MDState(*map(jnp.asarray, arrays))
