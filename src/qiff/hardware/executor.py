"""Executors carry out circuits: one interface, from exact simulation to a real device."""

import abc
import hashlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from .._checks import RunError, check_seed
from .._types import Qubits
from ..quantum.program import Program
from ..quantum.shots import Setting, probabilities


class Limits(NamedTuple):
    """The largest job that an executor takes.

    Args:
        circuits: of a job.
        shots: of a circuit.
        total: shots of all circuits of a job.
        alike: whether all circuits of a job have the same number of shots.
    """

    circuits: int = 300
    shots: int = sys.maxsize
    total: int = sys.maxsize
    alike: bool = False


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
        placed_as: a job on whose qubits of the device the circuits are carried out; None leaves
            the choice to the compiler.
    """

    program: Program
    setting: Setting
    angles: Float[np.ndarray, "n_rows n_slots"]
    shots: Int[np.ndarray, " n_rows"]
    open_slots: Qubits
    fold: int = 1
    placed_as: "Job | None" = None

    def __len__(self) -> int:
        return len(self.angles)

    def part(self, rows: np.ndarray | slice) -> "Job":
        """The job with some of its circuits."""
        return replace(self, angles=self.angles[rows], shots=self.shots[rows])

    def split(self, limits: Limits) -> "Iterator[tuple[Int[np.ndarray, ' n_sent'], Job]]":
        """Jobs within limits that together have all shots, each with its rows in this job.

        A circuit with too many shots is sent several times.
        """
        pieces = -(-self.shots // min(limits.shots, limits.total))
        rows = np.repeat(np.arange(len(self)), pieces)
        number = np.concatenate([np.arange(n) for n in pieces])
        shots = self.shots[rows] // pieces[rows] + (number < self.shots[rows] % pieces[rows])
        kinds = shots if limits.alike else np.zeros_like(shots)
        for kind in np.unique(kinds):
            left = np.flatnonzero(kinds == kind)
            while len(left):
                sums = np.cumsum(shots[left[: limits.circuits]])
                n = max(1, int(np.searchsorted(sums, limits.total, side="right")))
                own, left = left[:n], left[n:]
                yield rows[own], replace(self, angles=self.angles[rows[own]], shots=shots[own])

    def digests(self) -> list[str]:
        """A hash of each circuit with its setting and its shots.

        Angles are rounded to twelve decimals: the functions that compute them may be compiled
        again with other rounding errors.
        """
        common = repr((self.program, self.setting.gates(), self.fold)).encode()
        if self.placed_as:
            common += repr((self.placed_as.program, self.placed_as.setting.gates())).encode()
        rows = np.round(self.angles, 12) + 0.0  # no negative zeros
        return [
            hashlib.sha256(common + row.tobytes() + int(shots).to_bytes(8, "big")).hexdigest()
            for row, shots in zip(rows, self.shots, strict=True)
        ]


class LostJobError(RunError):
    """A job failed and may be sent again."""


class AbstractRemote(abc.ABC):
    """Takes jobs that are carried out elsewhere, and go on when this process ends."""

    @abc.abstractmethod
    def submit(self, job: Job, tag: str) -> str:
        """Send a job under a tag by which it can be found; returns its identifier.

        Raises:
            LostJobError: it was not taken, or whether it was is not known.
        """

    @abc.abstractmethod
    def find(self, tag: str) -> str:
        """Identifier of the job with a tag; empty if there is none.

        Raises:
            LostJobError: whether there is one is not known.
        """

    @abc.abstractmethod
    def fetch(self, identifier: str, job: Job) -> Float[np.ndarray, "n_rows dim"]:
        """Wait for the results of a job, see `AbstractExecutor.sample`.

        Raises:
            LostJobError: the job failed, or there is none.
            RunError: the results could not be fetched.
        """


class AbstractExecutor(abc.ABC):
    """Carries out circuits."""

    limits: Limits = Limits()
    """The largest job."""
    sampled: bool = True
    """Whether results come from a finite number of shots."""
    remote: AbstractRemote | None = None
    """Where jobs go on when this process ends; None where they end with it."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Everything that decides the results, as text: part of the key of stored results."""

    @abc.abstractmethod
    def counts(self, job: Job) -> Mapping[str, int | float]:
        """Depth, gates and seconds for a shot of a compiled circuit; empty if not known."""

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

    def counts(self, job: Job) -> Mapping[str, int | float]:
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

    def counts(self, job: Job) -> Mapping[str, int | float]:
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
