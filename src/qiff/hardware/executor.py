"""Executors: what carries out circuits. One interface, from exact simulation to a real device."""

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
    """Circuits of one gate list that are read alike: what is sent in one go.

    Args:
        program: the gates.
        setting: how qubits are read.
        angles: one row for each circuit, in radians.
        shots: of each circuit.
        open_slots: angles that differ between circuits of the program.
        fold: odd number of times the gates are run, forwards and backwards; multiplies noise.
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
        """The same with some of the circuits."""
        return replace(self, angles=self.angles[rows], shots=self.shots[rows])

    def digests(self) -> list[str]:
        """A hash of each circuit, how it is read and its shots.

        Angles count to twelve digits after the point: what they are made of may be compiled anew.
        """
        common = repr((self.program, self.setting.gates(), self.fold)).encode()
        rows = np.round(self.angles, 12) + 0.0  # no negative zeros
        return [
            hashlib.sha256(common + row.tobytes() + int(shots).to_bytes(8, "big")).hexdigest()
            for row, shots in zip(rows, self.shots, strict=True)
        ]


class LostJobError(RunError):
    """A job did not come back; the next one may."""


class AbstractExecutor(abc.ABC):
    """Carries out circuits."""

    batch: int = 300
    """Most circuits in a job."""
    sampled: bool = True
    """Whether results come from finite shots."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What decides the results, in words: part of the key under which they are kept."""

    @abc.abstractmethod
    def counts(self, job: Job) -> dict[str, int]:
        """Depth and gates of a circuit of a job as compiled; empty where nothing is compiled."""

    @abc.abstractmethod
    def sample(self, job: Job) -> Float[np.ndarray, "n_rows dim"]:
        """The share of each outcome, qubit 0 the most significant bit.

        Raises:
            LostJobError: the job failed and may be sent again.
        """


@dataclass(frozen=True)
class Exact(AbstractExecutor):
    """Exact probabilities, as from infinitely many shots."""

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
    """Finite shots of perfect circuits.

    Args:
        seed: of the outcomes, which are a function of it and the job.
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
    """Random numbers that are a function of a seed and a job."""
    content = hashlib.sha256("".join(job.digests()).encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(content, np.uint32)])
