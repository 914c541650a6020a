"""What a measurement will cost in circuits, shots and time, before anything is sent."""

import ase
import numpy as np

from ..model.potential import AbstractPotential
from ..model.shot_cost import GOAL
from ..quantum.shots import settings
from .estimate import estimate, n_stages
from .executor import AbstractExecutor, Exact, Job
from .measure import Protocol

SECONDS_PER_SHOT = 250e-6
"""Of devices with superconducting qubits, mostly to reset the qubits."""
SECONDS_PER_CIRCUIT = 0.02
"""To load a circuit."""


def resources(
    potential: AbstractPotential,
    atoms: ase.Atoms,
    executor: AbstractExecutor,
    protocol: Protocol,
) -> dict[str, int | float]:
    """The cost of the energy and forces of a configuration with an executor; nothing is sent.

    Standard errors are those of circuits without noise with these shots, from exact simulation.

    Args:
        potential: any potential.
        atoms: one configuration.
        executor: one that compiles circuits also counts their depth and gates.
        protocol: how to measure.

    Returns:
        Numbers by name, with the unit in the name: qubits, gate lists, stages (how often results
        are awaited), circuits, gates, shots, standard errors, seconds.

    Raises:
        InputError: the potential cannot describe the atoms, or its circuits cannot be sent.
    """
    dry_run = DryRun()
    found = estimate(potential, atoms, dry_run, protocol)
    n_circuits = sum(len(job) for job in dry_run.jobs)
    example = max(dry_run.jobs, key=len)
    error = float(np.sqrt(np.mean(found.forces_error**2)))
    seconds = found.n_shots * SECONDS_PER_SHOT + n_circuits * SECONDS_PER_CIRCUIT
    return {
        "qubits": max(job.program.n_qubits for job in dry_run.jobs),
        "gate lists": len({job.program for job in dry_run.jobs}),
        "stages": n_stages(potential, atoms),
        "settings": len(settings(example.program.observables, protocol.method)),
        "circuits": n_circuits,
        "gates": len(list(example.program.gates())),
        **executor.counts(example),
        "shots": found.n_shots,
        "error of energy (meV)": 1000 * found.energy_error,
        "error of forces (meV/Å)": 1000 * error,
        "shots for 10 meV/Å": found.n_shots * (error / GOAL) ** 2,
        "seconds on a device": seconds,
    }


class DryRun(AbstractExecutor):
    """Gives exact results with the errors of a finite number of shots, and keeps every job."""

    batch = 10**9

    def __init__(self):
        self.jobs: list[Job] = []

    @property
    def name(self) -> str:
        return "dry run"

    def sample(self, job: Job) -> np.ndarray:
        self.jobs.append(job)
        return Exact().sample(job)

    def counts(self, job: Job) -> dict[str, int]:
        return {}
