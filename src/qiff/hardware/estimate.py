"""Energy and forces of a geometry from an executor, with standard errors."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import ase
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._checks import InputError
from ..model.directions import conserves_rotations
from ..model.plan import Answer, Known, Response, guessed, plan
from ..model.potential import AbstractPotential
from ..model.predict import check_atoms, precision
from ..quantum import noise
from ..quantum.shots import Estimate, allocate
from .executor import AbstractExecutor, Exact
from .group import CircuitGroup, circuit_group
from .measure import Laboratory, Protocol

FED = 6.0
"""Factor of the importance of circuits that feed others.

Second derivatives of circuits are not measured. They are needed for the errors that forces have
because results of earlier stages enter angles; with this factor the errors are small.
"""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Energy and forces of one configuration from circuits, with their errors and their cost.

    Args:
        energy: in eV.
        forces: in eV/Å.
        energy_error: standard error of the energy in eV.
        covariance: of the errors of all force components, in (eV/Å)².
        n_circuits: circuits that were sent.
        n_shots: shots of all circuits.
    """

    energy: float
    forces: Float[np.ndarray, "n_atoms 3"]
    energy_error: float
    covariance: Float[np.ndarray, "3*n_atoms 3*n_atoms"]
    n_circuits: int
    n_shots: int

    @property
    def forces_error(self) -> Float[np.ndarray, "n_atoms 3"]:
        """Standard error of each force component."""
        return np.sqrt(np.diagonal(self.covariance)).reshape(-1, 3)


def estimate(
    potential: AbstractPotential,
    atoms: ase.Atoms,
    executor: AbstractExecutor,
    protocol: Protocol | None = None,
    after_job: Callable[[int], None] = lambda n_circuits: None,
) -> Measurement:
    """Energy and forces of one configuration from measured circuits.

    The energy needs the circuits of the model, the forces two more for each angle that depends on
    the positions (`quantum.shift`). All are sent together, but for those whose angles depend on the
    results of others: they are sent stage by stage. Everything else is computed classically.

    Args:
        potential: any potential; it is measured in float64.
        atoms: one configuration.
        executor: carries out circuits.
        protocol: how to measure; default `Protocol()`.
        after_job: called with the number of circuits carried out so far.

    Returns:
        Energy and forces with their standard errors, and the circuits and shots that they took.

    Raises:
        InputError: the potential cannot describe the atoms, or its circuits cannot be sent.
        RunError: a job was lost in every attempt.
    """
    laboratory = Laboratory(executor, protocol or Protocol(), after_job)
    return measure(laboratory, potential, atoms)


def measure(laboratory: Laboratory, potential: AbstractPotential, atoms: ase.Atoms) -> Measurement:
    """`estimate` for several configurations in turn: the readout is calibrated once."""
    before = laboratory.n_circuits, laboratory.n_shots
    turns = noise.turns(laboratory.protocol.mitigation.turns)
    with ExitStack() as stack:
        geometries = []
        for turn in turns:
            turned = atoms.copy()
            turned.positions = atoms.positions @ turn.T
            geometries.append(stack.enter_context(_in_float64(potential, turned)))
        if len(turns) > 1:
            geometries[0].check_invariance()
        measured = measured_stages(laboratory, geometries, len(geometries[0].plan.stages))
        found = [one.results(of) for one, of in zip(geometries, measured, strict=True)]
    results, covariance = _mean(found, turns)
    return Measurement(
        energy=geometries[0].reference_energy + float(results[0]),
        forces=results[1:].reshape(-1, 3),
        energy_error=float(np.sqrt(covariance[0, 0])),
        covariance=covariance[1:, 1:],
        n_circuits=laboratory.n_circuits - before[0],
        n_shots=laboratory.n_shots - before[1],
    )


def _mean(found: "Sequence[Results]", turns: Float[np.ndarray, "n_turns 3 3"]) -> "Results":
    """The mean of results of turned atoms, whose forces are turned back."""
    from scipy.linalg import block_diag

    n, n_atoms = len(found), len(found[0].values) // 3
    back = [block_diag(1, *[turn.T] * n_atoms) for turn in turns]
    pairs = list(zip(found, back, strict=True))
    return Results(
        np.mean([b @ one.values for one, b in pairs], axis=0),
        np.sum([b @ one.covariance @ b.T for one, b in pairs], axis=0) / n**2,
    )


def circuits(potential: AbstractPotential, atoms: ase.Atoms) -> tuple[CircuitGroup, ...]:
    """All circuits of the energy and forces of one configuration, a group for each gate list.

    Angles that depend on the results of other circuits follow from their exact results.

    Args:
        potential: any potential.
        atoms: one configuration.

    Returns:
        The groups, each with its gate list and the angles of all its circuits.

    Raises:
        InputError: the potential cannot describe the atoms, or its circuits cannot be sent.
    """
    with _in_float64(potential, atoms) as geometry:
        return geometry.circuits


def energy_offset(potential: AbstractPotential, atoms: ase.Atoms) -> float | None:
    """See `Geometry.offset`.

    Raises:
        InputError: as `circuits`.
    """
    with _in_float64(potential, atoms) as geometry:
        return geometry.offset()


def n_stages(potential: AbstractPotential, atoms: ase.Atoms) -> int:
    """How often results are awaited for one configuration: 1 if no circuit depends on others.

    Raises:
        InputError: as `circuits`.
    """
    with _in_float64(potential, atoms) as geometry:
        return len(geometry.plan.stages)


@contextmanager
def _in_float64(potential: AbstractPotential, atoms: ase.Atoms) -> "Iterator[Geometry]":
    check_atoms(potential, atoms, "atoms")
    potential = jax.tree.map(lambda leaf: np.asarray(leaf, "float64"), potential)
    with precision(potential):
        yield Geometry(potential, atoms)


class Results(NamedTuple):
    """Energy beyond that of the isolated atoms in eV and forces in eV/Å; and their covariance."""

    values: Float[np.ndarray, " n_results"]
    covariance: Float[np.ndarray, "n_results n_results"]


class Measured(NamedTuple):
    """The circuits of a gate list, and their expectation values."""

    group: CircuitGroup
    found: Estimate


class Forecast(NamedTuple):
    """What shots are shared by, before anything is measured: see `plan.guessed`.

    Args:
        gains: see `CircuitGroup`, by the number of the gate list; FED times as large where other
            circuits depend on the results.
        shares: of the shots, for each stage.
    """

    gains: dict[int, Float[np.ndarray, " n_circuits"]]
    shares: Float[np.ndarray, " n_stages"]


class Geometry:
    """Everything that is measured for one configuration.

    Args:
        potential: in float64.
        atoms: one configuration.
    """

    def __init__(self, potential: AbstractPotential, atoms: ase.Atoms):
        self.plan = plan(potential, atoms.numbers)
        self.reference_energy = potential.reference_energy(atoms.numbers)
        self.given = jax.tree.leaves(potential), jnp.asarray(atoms.positions)

    @property
    def circuits(self) -> tuple[CircuitGroup, ...]:
        """All circuits; angles of later stages follow from exact results of earlier ones."""
        last = len(self.plan.stages) - 1
        (measured,) = measured_stages(Laboratory(Exact(), Protocol()), [self], last)
        groups = {number: one.group for number, one in measured.items()}
        groups |= self._stage(last, self._known(measured))
        return tuple(groups[number] for number in sorted(groups))

    def offset(self) -> float | None:
        r"""$E_0$ in eV of $E = E_0 + \sum_k w_k \cdot \langle O \rangle_k$ with the weights in
        `CircuitGroup.readout`; None if the energy is no linear function of expectation values.
        """
        rng, groups = np.random.default_rng(0), self.circuits
        some = [rng.uniform(-1, 1, c.readout.shape) for c in groups]

        def energy(values: Sequence[np.ndarray]) -> float:
            parts = zip(values, groups, strict=True)
            given = ((jnp.asarray(v), (*v.shape, c.program.n_slots)) for v, c in parts)
            known = [Response(v, jnp.zeros(shape)) for v, shape in given]
            return self.reference_energy + float(self.plan.answer(*self.given, known).result[0])

        offset = energy([0 * values for values in some])
        linear = sum(float(np.sum(c.readout * v)) for c, v in zip(groups, some, strict=True))
        tolerance = 1e-9 * max(1.0, abs(offset), abs(linear))
        return offset if abs(energy(some) - offset - linear) < tolerance else None

    def check_invariance(self) -> None:
        """Raise InputError if rotations change the circuits."""
        if not all(conserves_rotations(program) for program in self.plan.programs):
            raise InputError(
                "Circuits that rotations change cannot be measured in several orientations: leave "
                "out the mitigation `turn`."
            )

    def results(self, measured: "Mapping[int, Measured]") -> "Results":
        """What follows from all circuits, by the number of their gate list."""
        answer: Any = self.plan.answer(*self.given, self._known(measured))
        answer = jax.tree.map(np.asarray, answer)
        return Results(answer.result, _covariance([measured[n] for n in sorted(measured)], answer))

    def groups(self, stage: int, measured: "Mapping[int, Measured]") -> dict[int, CircuitGroup]:
        """The circuits of a stage after those of earlier ones, by the number of the gate list."""
        groups = self._stage(stage, self._known(measured))
        return {n: c._replace(gains=self.forecast.gains[n]) for n, c in groups.items()}

    @cached_property
    def _first(self) -> dict[int, CircuitGroup]:
        return self._after(0, (None,) * len(self.plan.programs))

    def _stage(self, stage: int, known: Known) -> dict[int, CircuitGroup]:
        """The circuits of a stage, by the number of their gate list; the first knows no results."""
        return self._after(stage, known) if stage else self._first

    def _after(self, stage: int, known: Known) -> dict[int, CircuitGroup]:
        weights, positions = self.given
        request: Any = self.plan.request(weights, positions, stage, known)
        request, at = jax.tree.map(np.asarray, (request, positions))
        found = {}
        for number, *of_list in zip(self.plan.stages[stage], *request, strict=True):
            program, (angles, slopes, readout, fed) = self.plan.programs[number], of_list
            found[number] = circuit_group(program, stage, angles, slopes, readout, fed, at)
        return found

    def _known(self, measured: Mapping[int, Measured]) -> Known:
        """What circuits are in the plan, after those that were measured."""
        numbers = range(len(self.plan.programs))
        found = {number: of.group.response(of.found.values) for number, of in measured.items()}
        return tuple(found.get(number) for number in numbers)

    @cached_property
    def forecast(self) -> "Forecast":
        """What shots are shared by."""
        known: Any = (None,) * len(self.plan.programs)
        groups: dict[int, CircuitGroup] = {}
        for stage in range(len(self.plan.stages)):
            groups |= self._stage(stage, known)
            found = {n: guessed(n, c.program, jnp.asarray(c.angles)) for n, c in groups.items()}
            known = tuple(found.get(number) for number in range(len(known)))
        answer = self.plan.answer(*self.given, known)
        gains, totals = {}, np.zeros(len(self.plan.stages))
        for number, c in groups.items():
            gains[number] = np.linalg.norm(np.asarray(answer.sensitivities[number]), axis=(0, 2))
            gains[number] *= 1 if c.stage == len(totals) - 1 else FED
            totals[c.stage] += c._replace(gains=gains[number]).importance.sum()
        return Forecast(gains, totals / totals.sum())


def measured_stages(
    laboratory: Laboratory, geometries: Sequence[Geometry], n_stages: int
) -> list[dict[int, Measured]]:
    """What is found in the first stages for every geometry, by the number of the gate list."""
    measured: list[dict[int, Measured]] = [{} for _ in geometries]
    for stage in range(n_stages):
        groups = [one.groups(stage, of) for one, of in zip(geometries, measured, strict=True)]
        shots = []
        for one, of_stage in zip(geometries, groups, strict=True):
            budget = int(laboratory.shots * one.forecast.shares[stage])
            shots.append(
                dict(zip(of_stage, _shots(laboratory, [*of_stage.values()], budget), strict=True))
            )
        for number in groups[0]:
            several = [of_stage[number] for of_stage in groups]
            found = _together(laboratory, several, [of_stage[number] for of_stage in shots])
            for own, c, of_list in zip(measured, several, found, strict=True):
                own[number] = Measured(c, of_list)
    return measured


def _together(
    laboratory: Laboratory,
    groups: Sequence[CircuitGroup],
    shots: Sequence[Float[np.ndarray, "n_rows n_settings"]],
) -> list[Estimate]:
    """Values of circuits of several geometries with one gate list, which are sent together."""
    found = laboratory.measure(
        groups[0].program,
        np.concatenate([c.all_angles for c in groups]),
        np.concatenate(shots),
        tuple(sorted({slot for c in groups for slot in c.open_slots})),
    )
    ends = np.cumsum([len(c.all_angles) for c in groups])[:-1]
    parts = np.split(found.values, ends), np.split(found.covariance, ends)
    return [Estimate(*part) for part in zip(*parts, strict=True)]


def _shots(
    laboratory: Laboratory, groups: Sequence[CircuitGroup], total: int
) -> list[Float[np.ndarray, "n_rows n_settings"]]:
    """Shots of every setting of the circuits of a stage, after a pilot if there is one."""
    pilot = int(laboratory.protocol.pilot * total) if laboratory.executor.sampled else 0
    shots = _allocated([c.importance for c in groups], pilot or total)
    shared = [laboratory.shared(c.program, n) for c, n in zip(groups, shots, strict=True)]
    if not pilot:
        return shared
    deviations = [
        laboratory.deviations(c.program, c.all_angles, n, c.open_slots, c.all_readouts)
        for c, n in zip(groups, shared, strict=True)
    ]
    importance = [c.sizes[:, None] * of for c, of in zip(groups, deviations, strict=True)]
    return _allocated(importance, total - pilot)


def _allocated(importance: Sequence[np.ndarray], total: int) -> list[np.ndarray]:
    """`allocate` for the arrays of all gate lists together."""
    shots = allocate(np.concatenate([of.ravel() for of in importance]), total)
    parts = np.split(shots, np.cumsum([of.size for of in importance])[:-1])
    return [part.reshape(of.shape) for part, of in zip(parts, importance, strict=True)]


def _covariance(
    measured: Sequence[Measured], answer: Answer
) -> Float[np.ndarray, "n_results n_results"]:
    """Of energy and forces, to first order in the errors of all values."""
    covariance = np.zeros((len(answer.result),) * 2)
    parts = zip(measured, answer.sensitivities, answer.weights, strict=True)
    for (c, found), outer, weights in parts:
        of_values, of_shifted = np.split(found.covariance, [len(c.angles)])
        covariance += np.einsum("iko,kop,jkp->ij", outer, of_values, outer, optimize=True)
        inner = np.asarray(weights)[c.owners]
        variances = np.einsum("ro,rop,rp->r", inner, of_shifted, inner)
        covariance[1:, 1:] += c.weights.T @ (variances[:, None] * c.weights)
    return covariance
