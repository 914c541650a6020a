"""Molecular dynamics with any potential: states one by one, or recorded in a file."""

from collections.abc import Callable, Iterator
from pathlib import Path

import ase
import ase.units
import numpy as np

from .._checks import RunError
from .._precision import NotFiniteError
from ..atoms.graph import check_apart
from ..model.potential import AbstractPotential
from ..model.predict import check_atoms
from .integrator import Integrator, compiled_integrator
from .settings import Dynamics
from .state import MDState
from .statistics import DynamicsReport, Sample, report_of, sampler
from .trajectory import record
from .velocities import free_in, start_of

HOT = 20.0
"""Dynamics count as exploded above this multiple of the temperature plus `HOT_FLOOR`."""
HOT_FLOOR = 5000.0  # K


def simulate(
    potential: AbstractPotential,
    atoms: ase.Atoms,
    dynamics: Dynamics,
    integrator: Integrator = compiled_integrator,
) -> Iterator[MDState]:
    """Run dynamics and yield the recorded states; nothing is written.

        for state in qiff.simulate(potential, atoms, qiff.Dynamics("nvt")):
            print(state.step, state.energy)

    Args:
        potential: any potential.
        atoms: the initial positions, with momenta if `dynamics.velocities` is file. Atoms that
            ASE's `FixAtoms` fixes are held.
        dynamics: what to simulate.
        integrator: what advances the state.

    Returns:
        The states at `dynamics.recorded`, the first and last step among them.

    Raises:
        InputError: the potential cannot describe the atoms; they have another constraint, a mass
            that is not positive, no momenta that are asked for, or no volume at constant pressure.
        RunError: while states are taken: the dynamics exploded.
    """
    check_atoms(potential, atoms, "atoms")
    start = start_of(atoms, dynamics)
    n_free = free_in(start, dynamics)
    hottest = HOT * dynamics.temperature + HOT_FLOOR
    states = integrator(potential, start, dynamics, n_free * ase.units.kB * hottest / 2)
    return _stable(states, start, sampler(start, dynamics))


def _stable(
    states: Iterator[MDState], start: ase.Atoms, sample: Callable[[MDState], Sample]
) -> Iterator[MDState]:
    """The states, or an error at the first that is not stable."""
    last = None
    try:
        for state in states:
            if not state.stable:
                found = sample(state)
                if last is None and not np.isfinite(found.total):
                    raise NotFiniteError
                raise _exploded(f"at {found.time:g} fs ({found.temperature:.3g} K)")
            yield state
            last = state
    except NotFiniteError:
        if last is None:
            check_apart(start, "the start")
        when = f"after {sample(last).time:g} fs" if last else "in its first steps"
        raise _exploded(when) from None


def _exploded(when: str) -> RunError:
    return RunError(f"the dynamics exploded {when}: use a smaller timestep or check the model.")


def run_dynamics(
    potential: AbstractPotential,
    atoms: ase.Atoms,
    dynamics: Dynamics,
    path: Path,
    integrator: Integrator = compiled_integrator,
    after_frame: Callable[[int], None] = lambda n_steps: None,
) -> tuple[list[Sample], DynamicsReport]:
    """Run dynamics, record them in a trajectory file, and summarise them.

    Args:
        potential: any potential.
        atoms: the initial positions, with momenta if `dynamics.velocities` is file. Atoms that
            ASE's `FixAtoms` fixes are held.
        dynamics: what to simulate.
        path: of the trajectory (extxyz), replaced if it exists.
        integrator: what advances the state.
        after_frame: called with the number of steps done whenever a frame was written.

    Returns:
        Time, energies and temperature of the recorded states, and a summary.

    Raises:
        InputError: the potential cannot describe the atoms; they have another constraint, no
            momenta that are asked for, or no volume at constant pressure.
        RunError: the dynamics exploded; the frames before are in `path`.
    """
    states = simulate(potential, atoms, dynamics, integrator)
    sample, samples, total_momenta = sampler(atoms, dynamics), [], []
    for state in record(states, atoms, path):
        samples.append(sample(state))
        total_momenta.append(np.asarray(state.momenta).sum(0))
        after_frame(int(state.step))
    return samples, report_of(samples, total_momenta, atoms, dynamics)
