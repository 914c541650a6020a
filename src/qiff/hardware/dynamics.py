r"""Molecular dynamics on measured forces, with their known noise subtracted from the thermostat.

A force with an error of covariance $\Sigma$ adds noise to the momenta in every step $\Delta t$,
which heats like random forces of covariance $\Delta t^2 \Sigma$. The thermostat adds less by that:

$$ p \to c\,p + \xi, \qquad \langle \xi \xi^T \rangle = (1 - c^2)\, m k_B T - \Delta t^2\, \Sigma $$

Reference: Krajewski and Parrinello, Phys. Rev. B 73, 041105 (2006).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import ase
import ase.units
import numpy as np
from jaxtyping import Float

from .._checks import InputError, RunError
from ..dynamics.settings import Dynamics
from ..dynamics.state import MDState
from ..model.potential import AbstractPotential
from .estimate import Measurement, measure, n_stages
from .executor import AbstractExecutor
from .measure import Laboratory, Protocol

Vectors = Float[np.ndarray, "n_atoms 3"]


@dataclass(eq=False)
class MeasuredIntegrator:
    """Langevin dynamics on forces from an executor: a `qiff.dynamics.integrator.Integrator`.

    Args:
        executor: carries out circuits.
        protocol: how every geometry is measured.
        after_job: called with the number of circuits carried out so far.
        measured: what was measured, one entry for each step; it is filled on use.

    Raises:
        InputError: on use, without a thermostat, if atoms are fixed, or if the potential cannot
            be sent.
        RunError: while states are taken, if the noise of the forces adds more heat than friction
            removes.
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
        self,
        potential: AbstractPotential,
        atoms: ase.Atoms,
        dynamics: Dynamics,
        largest_kinetic_energy: float,
        /,
    ) -> Iterator[MDState]:
        if dynamics.ensemble != "nvt":
            raise InputError("Measured forces are noisy and need a thermostat: use ensemble `nvt`.")
        if atoms.constraints:
            raise InputError("Measured forces move all atoms: remove the constraints of the start.")
        laboratory, moving = Laboratory(self.executor, self.protocol, self.after_job), atoms.copy()
        n_stages(potential, atoms)  # raises before anything is written

        def forces_at(positions: Vectors) -> Measurement:
            moving.positions = positions
            self.measured.append(measure(laboratory, potential, moving))
            return self.measured[-1]

        return _states(forces_at, atoms, dynamics, largest_kinetic_energy)


def _states(
    forces_at: Callable[[Vectors], Measurement],
    atoms: ase.Atoms,
    dynamics: Dynamics,
    largest_kinetic_energy: float,
) -> Iterator[MDState]:
    """Recorded states in the BAOAB splitting; the first that is not stable is the last."""
    rng = np.random.default_rng(dynamics.seed)
    timestep = dynamics.timestep * ase.units.fs
    masses = atoms.get_masses()[:, None]
    damping = np.exp(-dynamics.friction * dynamics.timestep)
    bath = (1 - damping**2) * np.repeat(masses * ase.units.kB * dynamics.temperature, 3)
    positions, momenta = atoms.positions.copy(), atoms.get_momenta()
    now, stable = forces_at(positions), True
    recorded = set(dynamics.recorded.tolist())
    for step in range(dynamics.steps + 1):
        if step in recorded or not stable:
            scalars = map(np.asarray, (step, stable))
            yield MDState(positions, momenta, np.asarray(now.energy), now.forces, *scalars)
        if step == dynamics.steps or not stable:
            return
        momenta = momenta + timestep / 2 * now.forces
        positions = positions + timestep / 2 * momenta / masses
        missing = np.diag(bath) - timestep**2 * now.covariance
        momenta = damping * momenta + _draw(missing, rng).reshape(-1, 3)
        positions = positions + timestep / 2 * momenta / masses
        now = forces_at(positions)
        momenta = momenta + timestep / 2 * now.forces
        stable = bool((momenta**2 / masses).sum() / 2 <= largest_kinetic_energy)


def _draw(
    covariance: Float[np.ndarray, "n n"], rng: np.random.Generator
) -> Float[np.ndarray, " n"]:
    """Normal numbers of a covariance.

    Raises:
        RunError: it has a negative eigenvalue.
    """
    values, vectors = np.linalg.eigh(covariance)
    if values[0] < 0:
        raise RunError(
            "the noise of the forces adds more heat than friction removes: measure with more "
            "shots, or use a smaller timestep or a larger friction."
        )
    return vectors @ (np.sqrt(values) * rng.normal(size=len(values)))
