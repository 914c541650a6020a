"""What a measurement will take, before anything is sent."""

import ase
import numpy as np

from ..model.potential import AbstractPotential
from ..quantum.shots import settings
from .estimate import estimate
from .executor import AbstractExecutor, Exact, Job
from .measure import Protocol

SECONDS_PER_SHOT = 250e-6
"""What devices with superconducting qubits take, mostly to cool a qubit down again."""
SECONDS_PER_CIRCUIT = 0.02
"""To load a circuit."""


def resources(
    potential: AbstractPotential,
    atoms: ase.Atoms,
    executor: AbstractExecutor,
    protocol: Protocol,
) -> dict[str, object]:
    """What the energy and forces of a configuration take with an executor; nothing is sent.

    Standard errors are those of perfect circuits with these shots, by exact simulation; what
    noise adds is not in them.

    Args:
        potential: any potential.
        atoms: one configuration.
        executor: for a back end of Qiskit its compiled circuits are counted.
        protocol: how to measure.

    Raises:
        InputError: the potential cannot describe the atoms or be sent.
    """
    ledger = Ledger()
    found = estimate(potential, atoms, ledger, protocol)
    n_circuits = sum(len(job) for job in ledger.jobs)
    example = max(ledger.jobs, key=len)
    seconds = found.n_shots * SECONDS_PER_SHOT + n_circuits * SECONDS_PER_CIRCUIT
    return {
        "qubits": max(job.program.n_qubits for job in ledger.jobs),
        "gate lists": len({job.program for job in ledger.jobs}),
        "settings": len(settings(example.program.observables, protocol.method)),
        "circuits": n_circuits,
        "gates": len(list(example.program.gates())),
        **executor.counts(example),
        "shots": found.n_shots,
        "error of energy (meV)": 1000 * found.energy_error,
        "error of forces (meV/Å)": 1000 * float(np.sqrt(np.mean(found.forces_error**2))),
        "seconds on a device": seconds,
    }


class Ledger(AbstractExecutor):
    """Exact results with the errors of the shots asked for; keeps every job."""

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
