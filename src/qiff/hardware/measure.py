"""Expectation values from an executor: measurement settings, jobs and error mitigation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from .._checks import InputError, check_at_least, check_known, check_seed
from .._types import Qubits
from ..quantum import noise
from ..quantum.program import Program
from ..quantum.shots import (
    SETTINGS,
    Estimate,
    Setting,
    conserved_axis,
    read_outcomes,
    settings,
    spinless,
    turn_to_z,
)
from .executor import AbstractExecutor, Job

CALIBRATION_SHOTS = 20_000
"""Smallest number of shots of a readout calibration, which has a hundredth of the protocol's."""


@dataclass(frozen=True)
class Mitigation:
    """Methods of error mitigation.

    Args:
        readout: errors of the readout are calibrated and corrected.
        twirl: random qubits are flipped before the readout and flipped back in the outcomes; with
            `readout`, the errors to correct are then the same for 0 and 1.
        symmetry: outcomes that are impossible because a circuit conserves the total spin along
            an axis are discarded; circuits without this symmetry are measured without the check.
        folds: multiples of the gate noise from which values are extrapolated to zero noise, see
            `quantum.noise.extrapolated`; (1,) extrapolates nothing.
        spread: extrapolated values are corrected for different rates of decay, see
            `quantum.noise.spread`.
        turns: a key of `quantum.noise.TURNS`: in how many orientations the atoms are measured,
            which share the shots. Circuits of all of them have the same exact results, but errors
            in other directions; only for circuits that rotations leave unchanged.
    """

    readout: bool = False
    twirl: bool = False
    symmetry: bool = False
    folds: tuple[int, ...] = (1,)
    spread: bool = False
    turns: int = 1

    def __post_init__(self):
        noise.extrapolation(self.folds)
        check_known("Number of orientations", str(self.turns), [str(n) for n in noise.TURNS])


MITIGATIONS: dict[str, dict[str, Any]] = {
    "readout": {"readout": True},
    "twirl": {"readout": True, "twirl": True},
    "symmetry": {"symmetry": True},
    "zne": {"folds": (1, 3)},
    "spread": {"folds": (1, 3), "spread": True},
    "turn": {"turns": 12},
}
"""Names for the command line."""


def mitigation(names: Sequence[str]) -> Mitigation:
    """The mitigation with all methods that are named, see `MITIGATIONS`.

    Raises:
        InputError: a name is unknown.
    """
    for name in names:
        check_known("Mitigation", name, MITIGATIONS)
    return Mitigation(**{key: value for name in names for key, value in MITIGATIONS[name].items()})


@dataclass(frozen=True)
class Protocol:
    """How expectation values are measured.

    Args:
        shots: of all circuits that are measured together, for instance those of a geometry.
        method: a key of `SETTINGS`: which Pauli words are measured together.
        mitigation: see `Mitigation`.
        pilot: share of the shots that is spent first, to estimate the variance of every setting of
            every circuit; the rest is allocated by these, and alone counts for the results.
        seed: of the random flips of `twirl`, and on the command line of simulated outcomes.

    Raises:
        InputError: the method is unknown or a number out of its range.
    """

    shots: int = 100_000
    method: str = "auto"
    mitigation: Mitigation = field(default_factory=Mitigation)
    pilot: float = 0.0
    seed: int = 0

    def __post_init__(self):
        check_at_least("shots", self.shots, 1)
        check_known("Method of measurement", self.method, SETTINGS)
        if not 0 <= self.pilot < 1:
            raise InputError(f"`pilot` must be at least 0 and below 1, but is {self.pilot}.")
        check_seed(self.seed)


Axes = Sequence[tuple[float, ...]]
"""For each circuit the rotation that turns its conserved axis to z; empty for none."""


class Laboratory:
    """Measures with one executor and one protocol, and counts circuits and shots.

    Args:
        executor: carries out circuits.
        protocol: how to measure.
        after_job: called after every job with the number of circuits carried out so far.
    """

    def __init__(
        self,
        executor: AbstractExecutor,
        protocol: Protocol,
        after_job: Callable[[int], None] = lambda n_circuits: None,
    ):
        self.executor, self.protocol, self.after_job = executor, protocol, after_job
        self.n_circuits = self.n_shots = 0
        self._inverses: dict[tuple[Program, Setting], np.ndarray] = {}

    @property
    def shots(self) -> int:
        """Of all circuits of an orientation."""
        return max(1, self.protocol.shots // self.protocol.mitigation.turns)

    def measure(
        self,
        program: Program,
        angles: Float[np.ndarray, "n_rows n_slots"],
        shots: Float[np.ndarray, "n_rows n_settings"],
        open_slots: Qubits,
    ) -> Estimate:
        """Expectation values of circuits of one gate list.

        Args:
            program: the gates and observables.
            angles: one row for each circuit.
            shots: of each setting of each circuit, shared by its folds; see `shared`.
            open_slots: angles that differ between circuits.
        """
        folds = self.protocol.mitigation.folds
        axes = self._axes(program, angles)
        parts = [
            reduce(add, self._read(program, angles, shots / len(folds), open_slots, fold, axes))
            for fold in folds
        ]
        if len(folds) == 1:
            return parts[0]
        mixed, with_spread = self._mixed(program, axes), self.protocol.mitigation.spread
        return noise.extrapolated(parts, folds, mixed, with_spread=with_spread)

    def deviations(
        self,
        program: Program,
        angles: Float[np.ndarray, "n_rows n_slots"],
        shots: Float[np.ndarray, "n_rows n_settings"],
        open_slots: Qubits,
        readout: Float[np.ndarray, "n_rows n_observables"],
    ) -> Float[np.ndarray, "n_rows n_settings"]:
        """Estimated standard deviations of one shot of what every setting reads.

        Args:
            program, angles, shots, open_slots: see `measure`.
            readout: weights of the observables of each circuit.
        """
        axes = self._axes(program, angles)
        found = self._read(program, angles, shots, open_slots, 1, axes)
        parts = [np.einsum("ro,rop,rp->r", readout, one.covariance, readout) for one in found]
        return np.sqrt(np.stack(parts, axis=1) * np.maximum(2, shots.astype(np.int64)))

    def shared(
        self, program: Program, shots: Int[np.ndarray, " n_rows"]
    ) -> Float[np.ndarray, "n_rows n_settings"]:
        """Shots of circuits, shared by their settings as the coefficients of what they read."""
        readings = settings(program.observables, self.protocol.method)
        sizes = np.array([sum(abs(c) for c, _, _ in reading.terms) for reading in readings])
        return shots[:, None] * sizes / sizes.sum()

    def _read(
        self,
        program: Program,
        angles: Float[np.ndarray, "n_rows n_slots"],
        shots: Float[np.ndarray, "n_rows n_settings"],
        open_slots: Qubits,
        fold: int,
        axes: Axes,
    ) -> list[Estimate]:
        """The contributions of all settings to the expectation values."""
        n, contributions = len(program.observables), []
        for number, reading in enumerate(settings(program.observables, self.protocol.method)):
            found = Estimate(np.zeros((len(angles), n)), np.zeros((len(angles), n, n)))
            for axis in dict.fromkeys(axes):
                rows = np.array([other == axis for other in axes])
                own = np.maximum(2, shots[rows, number].astype(np.int64))
                setting = replace(reading, axis=axis)
                job = Job(program, setting, angles[rows], own, open_slots, fold)
                part = self._estimate(job, keep_spinless=bool(axis))
                found.values[rows], found.covariance[rows] = part.values, part.covariance
            contributions.append(found)
        return contributions

    def _mixed(self, program: Program, axes: Axes) -> Float[np.ndarray, "n_rows n_observables"]:
        """Expectation values of the maximally mixed state."""
        found, n = {}, len(program.observables)
        for axis in dict.fromkeys(axes):
            found[axis] = np.zeros(n)
            for reading in settings(program.observables, self.protocol.method):
                kept = spinless(reading) if axis else np.ones(2**program.n_qubits)
                found[axis] += reading.values(n) @ kept / kept.sum()
        return np.array([found[axis] for axis in axes])

    def _axes(self, program: Program, angles: np.ndarray) -> Axes:
        """See `Axes`; all are empty without the check of the symmetry."""
        if not (
            self.protocol.mitigation.symmetry and all(o.is_isotropic for o in program.observables)
        ):
            return [()] * len(angles)
        axes = [conserved_axis(program, row) for row in angles]
        return [() if a is None else turn_to_z(a) for a in axes]

    def _estimate(self, job: Job, *, keep_spinless: bool) -> Estimate:
        mitigation = self.protocol.mitigation
        kept = spinless(job.setting) if keep_spinless else None
        inverse = self._inverse(job) if mitigation.readout else None
        frequencies = self._twirled(job) if mitigation.twirl else self._sent(job)
        shots = job.shots if self.executor.sampled else None
        values = job.setting.values(len(job.program.observables))
        return read_outcomes(frequencies, shots, values, kept, inverse)

    def _twirled(self, job: Job) -> Float[np.ndarray, "n_rows dim"]:
        """The mean over random flips of the qubits."""
        masks = noise.twirls(job.program.n_qubits, self.protocol.seed)
        shots = np.maximum(1, job.shots // len(masks))
        results = [
            self._sent(replace(job, setting=replace(job.setting, flips=mask), shots=shots))
            for mask in masks
        ]
        return sum(results, start=np.zeros_like(results[0])) / len(masks)

    def _inverse(self, job: Job) -> Float[np.ndarray, "dim dim"]:
        """Corrects the readout of the qubits of a job; calibrated once for each setting."""
        key = job.program, replace(job.setting, flips=0)
        if key not in self._inverses:
            shots = np.array([max(CALIBRATION_SHOTS, self.protocol.shots // 100)])
            nothing = noise.nothing(job.program.n_qubits)
            zeros, ones = (
                self._sent(Job(nothing, setting, np.zeros((1, 0)), shots, (), placed_as=job))[0]
                for setting in noise.calibrations(job.program.n_qubits)
            )
            confusion = noise.confusion(zeros, ones[::-1])
            twirl = self.protocol.mitigation.twirl
            self._inverses[key] = noise.unread(noise.twirled(confusion) if twirl else confusion)
        return self._inverses[key]

    def _sent(self, job: Job) -> Float[np.ndarray, "n_rows dim"]:
        """Frequencies of a job, sent in parts, with its flips undone."""
        frequencies = np.zeros((len(job), 2**job.program.n_qubits))
        for rows, part in job.split(self.executor.limits):
            shares = (part.shots / job.shots[rows])[:, None]
            np.add.at(frequencies, rows, shares * self.executor.sample(part))
            self.n_circuits += len(part)
            self.n_shots += int(part.shots.sum()) if self.executor.sampled else 0
            self.after_job(self.n_circuits)
        return frequencies[:, np.arange(frequencies.shape[1]) ^ job.setting.flips]
