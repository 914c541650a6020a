"""Executors of PennyLane: any of its devices that returns probabilities."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from .._checks import InputError, missing_extra
from ..quantum.export import to_pennylane
from .executor import AbstractExecutor, Job, LostJobError, random


@dataclass(frozen=True, eq=False)
class OnPennyLane(AbstractExecutor):
    """Runs circuits on a device of PennyLane, which draws the outcomes.

    Args:
        device: its name, for instance `default.qubit`.
        seed: of simulated outcomes.
    """

    device: str
    seed: int = 0

    @property
    def name(self) -> str:
        return f"pennylane:{self.device}, seed {self.seed}"

    def counts(self, job: Job) -> Mapping[str, int | float]:
        return {}

    def sample(self, job: Job) -> Float[np.ndarray, "n_rows dim"]:
        import pennylane as qml

        device = make_device(self.device, job.program.n_qubits, random(self.seed, job))
        tapes = [
            _folded(to_pennylane(job.program, row, job.setting), job.fold).copy(shots=int(n))
            for row, n in zip(job.angles, job.shots, strict=True)
        ]
        try:
            return np.stack(qml.execute(tapes, device, diff_method=None))
        except Exception as error:  # every device fails in a way of its own
            raise LostJobError(f"{type(error).__name__}: {error}") from error


def _folded(tape: Any, fold: int) -> Any:
    """The gates forwards and backwards."""
    from pennylane import adjoint
    from pennylane.tape import QuantumScript

    gates = list(tape.operations)
    back = [adjoint(gate) for gate in reversed(gates)]
    for step in range(1, fold):
        gates += back if step % 2 else list(tape.operations)
    return QuantumScript(gates, tape.measurements)


def make_device(name: str, n_qubits: int, rng: np.random.Generator | None = None) -> Any:
    """A device of PennyLane, with these random numbers if it takes any.

    Raises:
        InputError: there is no such device, or PennyLane is not installed.
    """
    try:
        import pennylane as qml
    except ImportError:
        raise missing_extra("pennylane", "pennylane", "the executor `pennylane`") from None
    try:
        device = qml.device(name, wires=n_qubits)
    except qml.exceptions.DeviceError:
        raise InputError(
            f"PennyLane has no device `{name}`; for instance `default.qubit`."
        ) from None
    if rng is None or "seed" not in inspect.signature(type(device)).parameters:
        return device
    return qml.device(name, wires=n_qubits, seed=rng)


def pennylane(argument: str, seed: int) -> OnPennyLane:
    """A device of PennyLane by name; without a name `default.qubit`.

    Raises:
        InputError: as `make_device`.
    """
    name = argument or "default.qubit"
    make_device(name, 1)
    return OnPennyLane(name, seed)
