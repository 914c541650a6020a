"""Energy and forces of a geometry from an executor, with standard errors."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import ase
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from .._checks import InputError
from .._types import Qubits
from ..model.directions import along_rotations, bases, conserves_rotations, follows
from ..model.plan import Answer, plan
from ..model.potential import AbstractPotential
from ..model.predict import check_atoms, precision
from ..quantum import noise
from ..quantum.insertion import insertion
from ..quantum.program import Program
from ..quantum.shift import rule_of
from ..quantum.shots import Estimate, allocate
from .executor import AbstractExecutor
from .measure import Laboratory, Protocol

NEGLIGIBLE = 1e-12
"""Shifted circuits whose weight in every force is below this share of the largest are not sent."""


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
    the positions (`quantum.shift`). All are sent together; everything else is computed classically.

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
        values = _together(laboratory, geometries)
        found = [one.measurement(of) for one, of in zip(geometries, values, strict=True)]
    return replace(
        _mean(found, turns),
        n_circuits=laboratory.n_circuits - before[0],
        n_shots=laboratory.n_shots - before[1],
    )


def _together(
    laboratory: Laboratory, geometries: "Sequence[Geometry]"
) -> list[tuple[Estimate, ...]]:
    """Values of the circuits of every geometry; circuits with one gate list are sent together."""
    shots = [geometry.shots(laboratory) for geometry in geometries]
    found = []
    for number, groups in enumerate(zip(*(one.circuits for one in geometries), strict=True)):
        all_of = laboratory.measure(
            groups[0].program,
            np.concatenate([c.all_angles for c in groups]),
            np.concatenate([of[number] for of in shots]),
            tuple(sorted({slot for c in groups for slot in c.open_slots})),
        )
        ends = np.cumsum([len(c.all_angles) for c in groups])[:-1]
        parts = np.split(all_of.values, ends), np.split(all_of.covariance, ends)
        found.append([Estimate(*part) for part in zip(*parts, strict=True)])
    return list(zip(*found, strict=True))


def _mean(found: "Sequence[Measurement]", turns: Float[np.ndarray, "n_turns 3 3"]) -> "Measurement":
    """The mean of measurements of turned atoms, whose forces are turned back."""
    n, n_atoms = len(found), len(found[0].forces)
    back = [np.kron(np.eye(n_atoms), turn.T) for turn in turns]
    pairs = list(zip(found, back, strict=True))
    return replace(
        found[0],
        energy=float(np.mean([one.energy for one in found])),
        forces=np.mean([(b @ one.forces.ravel()).reshape(-1, 3) for one, b in pairs], axis=0),
        energy_error=float(np.sqrt(np.sum([one.energy_error**2 for one in found])) / n),
        covariance=np.sum([b @ one.covariance @ b.T for one, b in pairs], axis=0) / n**2,
    )


def circuits(potential: AbstractPotential, atoms: ase.Atoms) -> "tuple[CircuitGroup, ...]":
    """All circuits of the energy and forces of one configuration, a group for each gate list.

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


@contextmanager
def _in_float64(potential: AbstractPotential, atoms: ase.Atoms) -> "Iterator[Geometry]":
    check_atoms(potential, atoms, "atoms")
    potential = jax.tree.map(lambda leaf: np.asarray(leaf, "float64"), potential)
    with precision(potential):
        yield Geometry(potential, atoms)


class CircuitGroup(NamedTuple):
    r"""The circuits of a configuration with one gate list: those of the energy, and shifted ones.

    Args:
        program: the gates.
        angles: of the circuits of the energy.
        open_slots: angles that depend on the positions.
        shifted: angles of the shifted circuits.
        owners: for each shifted circuit the circuit of the energy that it belongs to.
        weights: $do_k/dR = \sum_r$ `weights[r]` $o_r$ over the shifted circuits $r$ of circuit $k$.
        readout: derivative of the energy in eV with respect to the expectation values of the
            circuits of the energy, where those are 0.
    """

    program: Program
    angles: Float[np.ndarray, "n_circuits n_slots"]
    open_slots: Qubits
    shifted: Float[np.ndarray, "n_shifted n_slots"]
    owners: Int[np.ndarray, " n_shifted"]
    weights: Float[np.ndarray, "n_shifted n_components"]
    readout: Float[np.ndarray, "n_circuits n_observables"]

    @property
    def all_angles(self) -> Float[np.ndarray, "n_all n_slots"]:
        """Angles of all circuits, shifted ones last."""
        return np.concatenate([self.angles, self.shifted])

    @property
    def all_readouts(self) -> Float[np.ndarray, "n_all n_observables"]:
        """`readout` of all circuits: those of their owners for shifted ones."""
        return np.concatenate([self.readout, self.readout[self.owners]])

    @property
    def sizes(self) -> Float[np.ndarray, " n_all"]:
        """What `all_readouts` are multiplied by in energy and forces."""
        return np.concatenate([np.ones(len(self.angles)), np.linalg.norm(self.weights, axis=1)])

    @property
    def importance(self) -> Float[np.ndarray, " n_all"]:
        """How strongly energy (eV) and forces (eV/Å) depend on each circuit; it is taken at
        expectation values of 0 for a readout that is not linear in them."""
        return self.sizes * np.linalg.norm(self.all_readouts, axis=1)


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
        request: Any = jax.tree.map(np.asarray, self.plan.request(*self.given))
        lists = request.angles, request.slopes, request.weights
        self.circuits = tuple(
            _circuits(*of_list, atoms.positions)
            for of_list in zip(self.plan.programs, *lists, strict=True)
        )

    def offset(self) -> float | None:
        r"""$E_0$ in eV of $E = E_0 + \sum_k w_k \cdot \langle O \rangle_k$ with the weights in
        `CircuitGroup.readout`; None if the energy is no linear function of expectation values.
        """
        rng = np.random.default_rng(0)
        some = [rng.uniform(-1, 1, c.readout.shape) for c in self.circuits]
        slopes = tuple(np.zeros((*c.readout.shape, c.weights.shape[1])) for c in self.circuits)

        def energy(values: Sequence[np.ndarray]) -> float:
            given: Any = *self.given, tuple(values), slopes
            return self.reference_energy + float(self.plan.answer(*given).result[0])

        offset = energy([0 * values for values in some])
        linear = sum(float(np.sum(c.readout * v)) for c, v in zip(self.circuits, some, strict=True))
        tolerance = 1e-9 * max(1.0, abs(offset), abs(linear))
        return offset if abs(energy(some) - offset - linear) < tolerance else None

    def check_invariance(self) -> None:
        """Raise InputError if rotations change the circuits."""
        if not all(conserves_rotations(c.program) for c in self.circuits):
            raise InputError(
                "Circuits that rotations change cannot be measured in several orientations: leave "
                "out the mitigation `turn`."
            )

    def measurement(self, found: Sequence[Estimate]) -> Measurement:
        """Energy and forces with errors from the values of all circuits, of each gate list."""
        values, slopes = [], []
        for c, of_list in zip(self.circuits, found, strict=True):
            n = len(c.angles)
            values.append(of_list.values[:n])
            products = of_list.values[n:, :, None] * c.weights[:, None, :]
            slopes.append(np.zeros((n, *products.shape[1:])))
            np.add.at(slopes[-1], c.owners, products)
        given: Any = *self.given, tuple(values), tuple(slopes)
        answer: Any = jax.tree.map(np.asarray, self.plan.answer(*given))
        result, covariance = answer.result, self._covariance(found, answer)
        return Measurement(
            energy=self.reference_energy + float(result[0]),
            forces=result[1:].reshape(-1, 3),
            energy_error=float(np.sqrt(covariance[0, 0])),
            covariance=covariance[1:, 1:],
            n_circuits=0,
            n_shots=0,
        )

    def shots(self, laboratory: Laboratory) -> list[Float[np.ndarray, "n_rows n_settings"]]:
        """Shots of every setting of every circuit, after a pilot if there is one."""
        protocol = laboratory.protocol
        pilot = int(protocol.pilot * laboratory.shots) if laboratory.executor.sampled else 0
        importance = [c.importance for c in self.circuits]
        shots = _allocated(importance, pilot or laboratory.shots)
        shared = [
            laboratory.shared(c.program, n) for c, n in zip(self.circuits, shots, strict=True)
        ]
        if not pilot:
            return shared
        deviations = [
            laboratory.deviations(c.program, c.all_angles, n, c.open_slots, c.all_readouts)
            for c, n in zip(self.circuits, shared, strict=True)
        ]
        return _allocated(
            [c.sizes[:, None] * of for c, of in zip(self.circuits, deviations, strict=True)],
            laboratory.shots - pilot,
        )

    def _covariance(
        self, found: Sequence[Estimate], answer: Answer
    ) -> Float[np.ndarray, "n_results n_results"]:
        """Of energy and forces, to first order in the errors of all values."""
        covariance = np.zeros((len(answer.result),) * 2)
        parts: Any = zip(self.circuits, found, answer.sensitivities, answer.weights, strict=True)
        for c, of_list, outer, weights in parts:
            of_values, of_shifted = np.split(of_list.covariance, [len(c.angles)])
            covariance += np.einsum("iko,kop,jkp->ij", outer, of_values, outer, optimize=True)
            inner = weights[c.owners]
            variances = np.einsum("ro,rop,rp->r", inner, of_shifted, inner)
            covariance[1:, 1:] += c.weights.T @ (variances[:, None] * c.weights)
        return covariance


def _circuits(
    program: Program,
    angles: np.ndarray,
    slopes: np.ndarray,
    energy_weights: np.ndarray,
    positions: np.ndarray,
) -> CircuitGroup:
    """The circuits of one gate list, without shifted ones of negligible weight."""
    slopes = slopes.reshape(*angles.shape, -1)
    moving = np.flatnonzero(np.any(slopes != 0, axis=(0, 2)))
    open_slots = tuple(sorted({int(slot) for slot in moving} & set(program.read_slots())))
    found = [
        _shifted(program, open_slots, *own, positions) for own in zip(angles, slopes, strict=True)
    ]
    shifted, weights = map(np.stack, zip(*found, strict=True))
    largest = np.abs(weights).max(-1)
    kept = largest > NEGLIGIBLE * largest.max(initial=0)
    owners = np.nonzero(kept)[0]
    of_shifted = shifted[kept], owners, weights[kept]
    return CircuitGroup(program, angles, open_slots, *of_shifted, energy_weights)


def _allocated(importance: Sequence[np.ndarray], total: int) -> list[np.ndarray]:
    """`allocate` for the arrays of all gate lists together."""
    shots = allocate(np.concatenate([of.ravel() for of in importance]), total)
    parts = np.split(shots, np.cumsum([of.size for of in importance])[:-1])
    return [part.reshape(of.shape) for part, of in zip(parts, importance, strict=True)]


def _shifted(
    program: Program,
    open_slots: Qubits,
    angles: np.ndarray,
    slopes: np.ndarray,
    positions: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Angles of the shifted circuits of one circuit, and their weights in its derivatives."""
    gates = insertion(program, open_slots).gates
    own = [
        np.einsum("gkj,gki->gji", rule_of(of.name).coefficients(angles[of.slots]), slopes[of.slots])
        for of in gates
    ]
    if gates and conserves_rotations(program) and follows(gates, angles, slopes, positions):
        away = along_rotations(gates, own, positions)
        own = [m - m @ away for m in own]
    rows, weights = [np.zeros((0, len(angles)))], [np.zeros((0, slopes.shape[-1]))]
    for of, m in zip(gates, own, strict=True):
        rule, basis = rule_of(of.name), bases(of, m)
        turns = basis @ rule.directions
        ahead, behind = (
            rule.sandwich(angles[of.slots][:, None], sign * turns).reshape(-1, of.slots.shape[1])
            for sign in (1, -1)
        )
        where = np.repeat(of.slots, basis.shape[1], axis=0)
        parts = (basis @ m).reshape(-1, m.shape[-1])
        for moved, part in ((ahead, parts), (behind, -parts)):
            row = np.repeat(angles[None], len(moved), axis=0)
            np.put_along_axis(row, where, moved, axis=1)
            rows.append(row)
            weights.append(part)
    return np.concatenate(rows), np.concatenate(weights)
