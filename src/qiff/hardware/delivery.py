"""Executors that wrap another: they send lost jobs again, or keep results in a file."""

import hashlib
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from .._checks import RunError, check_at_least
from .._files import hold
from .executor import AbstractExecutor, AbstractRemote, Job, Limits, LostJobError
from .jobs import SentJobs

log = logging.getLogger("qiff")


@dataclass(frozen=True)
class AbstractWrapper(AbstractExecutor):
    """An executor that sends its jobs to another one."""

    executor: AbstractExecutor

    @property
    def name(self) -> str:
        return self.executor.name

    @property
    def limits(self) -> Limits:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.executor.limits

    @property
    def sampled(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.executor.sampled

    @property
    def remote(self) -> AbstractRemote | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.executor.remote

    def counts(self, job: Job) -> Mapping[str, int | float]:
        return self.executor.counts(job)


@dataclass(frozen=True)
class Retrying(AbstractWrapper):
    """Sends a lost job again, up to `attempts` times in all, with waiting times that double.

    Raises:
        RunError: on sampling, when a job was lost in every attempt.
    """

    attempts: int = 5
    wait: float = 1.0

    def __post_init__(self):
        check_at_least("attempts", self.attempts, 1)
        check_at_least("wait", self.wait, 0)

    def sample(self, job: Job) -> Float[np.ndarray, "n_rows dim"]:
        reason = ""
        for attempt in range(self.attempts):
            time.sleep(self.wait * (2**attempt - 1))
            try:
                return self.executor.sample(job)
            except LostJobError as error:
                reason = str(error)
        raise RunError(
            f"a job of {len(job)} circuits was lost {self.attempts} times ({reason}); results so "
            "far are kept where there is a cache: run the same command again."
        )


@dataclass(frozen=True)
class Cached(AbstractWrapper):
    """Writes the results of every circuit to a file as soon as its job is back.

    An interrupted evaluation that is repeated asks for the same circuits in the same order and
    reads from the file what was measured before. The n-th measurement of a circuit has a key of
    its own, so that measuring twice in one process gives two independent results. Jobs of a remote
    are entered in `jobs.jsonl`, see `SentJobs`: those under way are fetched, not sent again.

    Args:
        executor: carries out the circuits without a stored result.
        folder: folder of the file `results.jsonl`, which has one line for each circuit, with the
            SHA-256 of what it holds. Lines that are damaged are left out and reported.

    Raises:
        InputError: another process uses the file.
    """

    folder: Path
    _known: dict[str, dict[int, float]] = field(default_factory=dict, repr=False)
    _asked: Counter[str] = field(default_factory=Counter, repr=False)
    _sent: SentJobs = field(init=False, repr=False)

    def __post_init__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        hold(self, self.path)
        object.__setattr__(self, "_sent", SentJobs(self.folder / "jobs.jsonl"))
        if self.path.exists():
            lines = self.path.read_bytes().split(b"\n")
            whole = b"\n".join(lines[:-1]) + b"\n" * (len(lines) > 1)
            if lines[-1]:  # cut short when the process ended
                os.truncate(self.path, len(whole))
            self._read(lines[:-1])

    def _read(self, lines: list[bytes]) -> None:
        """Keep what can be read of the lines of the file; say which cannot."""
        damaged = []
        for number, line in enumerate(lines, 1):
            try:
                key, outcomes = _stored(json.loads(line))
                self._known[key] = outcomes
            except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError):
                damaged.append(number)
        if damaged:
            log.warning(
                "%s: %d of %d lines cannot be read, the first is line %d; their circuits are "
                "carried out again",
                *(self.path, len(damaged), len(lines), damaged[0]),
            )

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / "results.jsonl"

    def sample(self, job: Job) -> Float[np.ndarray, "n_rows dim"]:
        keys, asked = self._keys(job)
        dim = 2**job.program.n_qubits
        absent = np.array([max(self._known.get(key, [dim])) >= dim for key in keys])
        if absent.any():
            if self.executor.remote:
                found = self._sent.sample(self.executor.remote, job, keys, absent)
            else:
                found = self.executor.sample(job.part(absent))
            self._keep([key for key, new in zip(keys, absent, strict=True) if new], found)
        self._asked.update(asked)
        frequencies = np.zeros((len(job), dim))
        for row, key in zip(frequencies, keys, strict=True):
            for outcome, share in self._known[key].items():
                row[outcome] = share
        return frequencies

    def _keys(self, job: Job) -> tuple[list[str], Counter[str]]:
        """Keys of the circuits of a job, and how often each circuit is in it."""
        keys, asked = [], Counter[str]()
        for digest in job.digests():
            keys.append(f"{self.name}: {digest} {self._asked[digest] + asked[digest]}")
            asked[digest] += 1
        return keys, asked

    def _keep(self, keys: list[str], frequencies: Float[np.ndarray, "n_rows dim"]) -> None:
        """Append to the file in one write: a process that is killed cuts the last line only."""
        text = []
        for key, row in zip(keys, frequencies, strict=True):
            self._known[key] = {int(k): float(row[k]) for k in np.flatnonzero(row)}
            record = {"key": key, "outcomes": self._known[key]}
            text.append(json.dumps(record | {"sha256": _digest(key, self._known[key])}) + "\n")
        with self.path.open("a") as file:
            file.write("".join(text))
            file.flush()
            os.fsync(file.fileno())


def _stored(record: Any) -> tuple[str, dict[int, float]]:
    """The key and the relative frequency of each outcome in a line of the file.

    Raises:
        KeyError, TypeError, ValueError: the line holds something else, or was changed.
    """
    key, shares = record["key"], record["outcomes"]
    outcomes = {int(outcome): float(share) for outcome, share in shares.items()}
    if not (isinstance(key, str) and outcomes and min(outcomes) >= 0):
        raise ValueError("it has no key or no outcomes")
    if not all(0 <= share <= 1 for share in outcomes.values()):
        raise ValueError("its frequencies are not between 0 and 1")
    if record.get("sha256", digest := _digest(key, outcomes)) != digest:
        raise ValueError("it was changed")
    return key, outcomes


def _digest(key: str, outcomes: Mapping[int, float]) -> str:
    return hashlib.sha256(json.dumps([key, sorted(outcomes.items())]).encode()).hexdigest()
