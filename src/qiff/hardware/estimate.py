"""Energy and forces of a geometry from an executor, with standard errors."""

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import ase
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from .._types import Qubits
from ..model.potential import AbstractPotential
from ..model.predict import check_atoms, precision
from ..quantum.program import Program
from ..quantum.shift import shifts
from ..quantum.shots import allocate
from .executor import AbstractExecutor
from .measure import Laboratory, Protocol
from .plan import Plan

NEGLIGIBLE = 1e-12
"""Circuits whose weight in every force is below this share of the largest are not sent."""


class Measured(NamedTuple):
    """Energy in eV and forces in eV/Å with standard errors, and what they took.

    `covariance` is that of the errors of all force components, in (eV/Å)².
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
) -> Measured:
    """Energy and forces of one configuration, from circuits alone.

    The energy needs the circuits of the model, the forces two more for each angle that depends on
    the positions (`quantum.shift`); all are sent together and the rest is classical.

    Args:
        potential: any potential; it is measured in float64.
        atoms: one configuration.
        executor: carries out circuits.
        protocol: how to measure; default `Protocol()`.
        after_job: called with the number of circuits carried out so far.

    Raises:
        InputError: the potential cannot describe the atoms or be sent.
        RunError: the executor gave up.
    """
    return estimator(potential, atoms, executor, protocol, after_job)(atoms.positions)


def estimator(
    potential: AbstractPotential,
    atoms: ase.Atoms,
    executor: AbstractExecutor,
    protocol: Protocol | None = None,
    after_job: Callable[[int], None] = lambda n_circuits: None,
) -> Callable[[Float[np.ndarray, "n_atoms 3"]], Measured]:
    """`estimate` as a function of the positions of these atoms, for many calls."""
    check_atoms(potential, atoms, "atoms")
    potential = jax.tree.map(lambda leaf: np.asarray(leaf, "float64"), potential)
    laboratory = Laboratory(executor, protocol or Protocol(), after_job)
    with precision(potential):
        plan = Plan(potential, atoms.numbers)

    def measure(positions: Float[np.ndarray, "n_atoms 3"]) -> Measured:
        before = laboratory.n_circuits, laboratory.n_shots
        with precision(potential):
            geometry = Geometry(plan, positions)
            energy, forces, energy_error, covariance = geometry.measure(laboratory)
        used = laboratory.n_circuits - before[0], laboratory.n_shots - before[1]
        return Measured(energy, forces, energy_error, covariance, *used)

    return measure


def circuits(potential: AbstractPotential, atoms: ase.Atoms) -> "tuple[Circuits, ...]":
    """All circuits of energy and forces of one configuration, by gate list.

    Raises:
        InputError: the potential cannot describe the atoms or be sent.
    """
    check_atoms(potential, atoms, "atoms")
    potential = jax.tree.map(lambda leaf: np.asarray(leaf, "float64"), potential)
    with precision(potential):
        return Geometry(Plan(potential, atoms.numbers), atoms.positions).circuits


class Circuits(NamedTuple):
    r"""Circuits of one gate list for a geometry: those of the energy, and shifted ones.

    Args:
        program: the gates.
        angles: of the circuits of the energy.
        open_slots: angles that depend on the positions.
        shifted: angles of the shifted circuits, and to which circuit each belongs.
        weights: $do_k/dR = \sum_r$ `weights[r]` $o_r$ over the shifted circuits $r$ of circuit $k$.
    """

    program: Program
    angles: Float[np.ndarray, "n_circuits n_slots"]
    open_slots: Qubits
    shifted: Float[np.ndarray, "n_shifted n_slots"]
    owners: Int[np.ndarray, " n_shifted"]
    weights: Float[np.ndarray, "n_shifted 3*n_atoms"]


class Geometry:
    """Everything that is sent for one configuration.

    Args:
        plan: the circuits of the potential.
        positions: in Å.
    """

    def __init__(self, plan: Plan, positions: Float[np.ndarray, "n_atoms 3"]):
        self.plan, self.positions = plan, jnp.asarray(positions, "float64")
        angles, slopes = plan.angles(self.positions), plan.slopes(self.positions)
        self.circuits = tuple(
            _circuits(program, np.asarray(at), np.asarray(slope))
            for program, at, slope in zip(plan.programs, angles, slopes, strict=True)
        )

    @cached_property
    def importance(self) -> list[Float[np.ndarray, " n_rows"]]:
        """For each gate list how much each circuit matters for energy (eV) and forces (eV/Å).

        Taken where all expectation values are 0, for read-outs that are not linear in them.
        """
        zeros = tuple(jnp.zeros((len(c.angles), len(c.program.observables))) for c in self.circuits)
        found = []
        for c, weights in zip(self.circuits, self.plan.weights(self.positions, zeros), strict=True):
            size = np.linalg.norm(weights, axis=1)
            found.append(np.concatenate([size, size[c.owners] * np.linalg.norm(c.weights, axis=1)]))
        return found

    def measure(self, laboratory: Laboratory) -> tuple[float, np.ndarray, float, np.ndarray]:
        """Energy, forces, the standard error of the energy and the covariance of the forces."""
        sizes = [len(importance) for importance in self.importance]
        shots = allocate(np.concatenate(self.importance), laboratory.protocol.shots)
        values, errors, slopes, spreads = [], [], [], []
        for c, own in zip(self.circuits, np.split(shots, np.cumsum(sizes)[:-1]), strict=True):
            rows = np.concatenate([c.angles, c.shifted])
            found = laboratory.measure(c.program, rows, own, c.open_slots)
            n = len(c.angles)
            values.append(found.values[:n])
            errors.append(found.covariance[:n])
            of_circuit = np.eye(n)[c.owners]
            slopes.append(
                np.einsum("rk,ro,ri->koi", of_circuit, found.values[n:], c.weights, optimize=True)
            )
            spreads.append((found.covariance[n:], c))
        given = self.positions, tuple(map(jnp.asarray, values)), tuple(map(jnp.asarray, slopes))
        result = np.asarray(self.plan.energy_and_forces(*given))
        covariance = np.zeros((len(result), len(result)))
        for sensitivity, error in zip(self.plan.sensitivities(*given), errors, strict=True):
            covariance += np.einsum(
                "iko,kop,jkp->ij", sensitivity, error, sensitivity, optimize=True
            )
        for weight, (spread, c) in zip(self.plan.weights(*given[:2]), spreads, strict=True):
            own = np.asarray(weight)[c.owners]
            variances = np.einsum("ro,rop,rp->r", own, spread, own)
            covariance[1:, 1:] += c.weights.T @ (variances[:, None] * c.weights)
        forces = result[1:].reshape(-1, 3)
        return float(result[0]), forces, float(np.sqrt(covariance[0, 0])), covariance[1:, 1:]


def _circuits(program: Program, angles: np.ndarray, slopes: np.ndarray) -> Circuits:
    """The circuits of one gate list, without shifted ones that do not matter."""
    slopes = slopes.reshape(*angles.shape, -1)
    open_slots = tuple(int(slot) for slot in np.flatnonzero(np.any(slopes != 0, axis=(0, 2))))
    found = shifts(program, angles, open_slots)
    weights = np.einsum("ksi,ksr->kri", slopes, found.weights, optimize=True)
    largest = np.abs(weights).max(-1)
    matter = largest > NEGLIGIBLE * largest.max(initial=0)
    return Circuits(
        program, angles, open_slots, found.angles[matter], np.nonzero(matter)[0], weights[matter]
    )
