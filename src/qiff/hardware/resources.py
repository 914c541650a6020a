"""What a measurement will cost in circuits, shots and time, before anything is sent."""

from collections.abc import Mapping

import ase
import numpy as np

from ..model.potential import AbstractPotential
from ..model.shot_cost import GOAL
from ..quantum.shots import settings
from .estimate import estimate, n_stages
from .executor import AbstractExecutor, Exact, Job, Limits
from .measure import Protocol

SECONDS_PER_SHOT = 350e-6
"""Where the device is not known: superconducting qubits, mostly the time to reset them."""
SECONDS_PER_JOB = 2.0
"""To load a job; both numbers are from
https://quantum.cloud.ibm.com/docs/guides/estimate-job-run-time."""


SHOT = "seconds for a shot"
UNLIMITED = Limits(circuits=10**9)


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
        are awaited), circuits, jobs, gates, shots, standard errors, seconds of quantum time.

    Raises:
        InputError: the potential cannot describe the atoms, or its circuits cannot be sent.
    """
    dry_run = DryRun(executor.limits)
    found = estimate(potential, atoms, dry_run, protocol)
    n_circuits = sum(len(job) for job in dry_run.jobs)
    example = max(dry_run.jobs, key=len)
    error = float(np.sqrt(np.mean(found.forces_error**2)))
    counts = [executor.counts(job) for job in dry_run.jobs]
    per_shot = [float(of.get(SHOT, SECONDS_PER_SHOT)) for of in counts]
    seconds = SECONDS_PER_JOB * len(counts) + sum(
        job.shots.sum() * time for job, time in zip(dry_run.jobs, per_shot, strict=True)
    )
    return {
        "qubits": max(job.program.n_qubits for job in dry_run.jobs),
        "gate lists": len({job.program for job in dry_run.jobs}),
        "stages": n_stages(potential, atoms),
        "settings": len(settings(example.program.observables, protocol.method)),
        "circuits": n_circuits,
        "jobs": len(dry_run.jobs),
        "gates": len(list(example.program.gates())),
        **executor.counts(example),
        "shots": found.n_shots,
        "error of energy (meV)": 1000 * found.energy_error,
        "error of forces (meV/Å)": 1000 * error,
        "shots for 10 meV/Å": found.n_shots * (error / GOAL) ** 2,
        "seconds on a device": float(seconds),
    }


class DryRun(AbstractExecutor):
    """Gives exact results with the errors of a finite number of shots, and keeps every job."""

    def __init__(self, limits: Limits = UNLIMITED):
        self.limits, self.jobs = limits, list[Job]()

    @property
    def name(self) -> str:
        return "dry run"

    def sample(self, job: Job) -> np.ndarray:
        self.jobs.append(job)
        return Exact().sample(job)

    def counts(self, job: Job) -> Mapping[str, int | float]:
        return {}
