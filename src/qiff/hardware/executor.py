"""Executors carry out circuits: one interface, from exact simulation to a real device."""

import abc
import hashlib
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from .._checks import RunError, check_seed
from .._types import Qubits
from ..quantum.program import Program
from ..quantum.shots import Setting, probabilities


@dataclass(frozen=True, eq=False)
class Job:
    """Circuits with one gate list that are measured in one setting and sent together.

    Args:
        program: the gates.
        setting: the bases in which the qubits are measured.
        angles: one row for each circuit, in radians.
        shots: of each circuit.
        open_slots: angles that differ between circuits of the program.
        fold: odd number of times the gates are run, alternately forwards and backwards; it
            multiplies their noise.
    """

    program: Program
    setting: Setting
    angles: Float[np.ndarray, "n_rows n_slots"]
    shots: Int[np.ndarray, " n_rows"]
    open_slots: Qubits
    fold: int = 1

    def __len__(self) -> int:
        return len(self.angles)

    def part(self, rows: np.ndarray | slice) -> "Job":
        """The job with some of its circuits."""
        return replace(self, angles=self.angles[rows], shots=self.shots[rows])

    def digests(self) -> list[str]:
        """A hash of each circuit with its setting and its shots.

        Angles are rounded to twelve decimals: the functions that compute them may be compiled
        again with other rounding errors.
        """
        common = repr((self.program, self.setting.gates(), self.fold)).encode()
        rows = np.round(self.angles, 12) + 0.0  # no negative zeros
        return [
            hashlib.sha256(common + row.tobytes() + int(shots).to_bytes(8, "big")).hexdigest()
            for row, shots in zip(rows, self.shots, strict=True)
        ]


class LostJobError(RunError):
    """A job failed and may be sent again."""


class AbstractExecutor(abc.ABC):
    """Carries out circuits."""

    batch: int = 300
    """Largest number of circuits in a job."""
    sampled: bool = True
    """Whether results come from a finite number of shots."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Everything that decides the results, as text: part of the key of stored results."""

    @abc.abstractmethod
    def counts(self, job: Job) -> dict[str, int]:
        """Depth and number of gates of a compiled circuit of a job; empty without a compiler."""

    @abc.abstractmethod
    def sample(self, job: Job) -> Float[np.ndarray, "n_rows dim"]:
        """Relative frequency of each outcome; qubit 0 is the most significant bit.

        Raises:
            LostJobError: the job failed and may be sent again.
        """


@dataclass(frozen=True)
class Exact(AbstractExecutor):
    """Exact probabilities, the limit of infinitely many shots.

    Args:
        sampled: False, since there are no shots; see `AbstractExecutor`.
    """

    sampled: bool = False

    @property
    def name(self) -> str:
        return "exact"

    def counts(self, job: Job) -> dict[str, int]:
        return {}

    def sample(self, job: Job) -> Float[np.ndarray, "n_rows dim"]:
        return probabilities(job.program, job.angles, job.setting)


@dataclass(frozen=True)
class Shots(AbstractExecutor):
    """A finite number of shots of circuits without noise.

    Args:
        seed: of the outcomes, which depend on it and on the job alone.
    """

    seed: int = 0

    def __post_init__(self):
        check_seed(self.seed)

    @property
    def name(self) -> str:
        return f"shots, seed {self.seed}"

    def counts(self, job: Job) -> dict[str, int]:
        return {}

    def sample(self, job: Job) -> Float[np.ndarray, "n_rows dim"]:
        exact = probabilities(job.program, job.angles, job.setting)
        exact /= exact.sum(1, keepdims=True)
        counts = random(self.seed, job).multinomial(job.shots, exact)
        return counts / job.shots[:, None]


def random(seed: int, job: Job) -> np.random.Generator:
    """Random numbers that depend on a seed and a job alone."""
    content = hashlib.sha256("".join(job.digests()).encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(content, np.uint32)])
