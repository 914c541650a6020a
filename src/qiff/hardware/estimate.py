"""Energy and forces of a geometry from an executor, with standard errors."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import ase
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from .._types import Qubits
from ..model.plan import Answer, plan
from ..model.potential import AbstractPotential
from ..model.predict import check_atoms, precision
from ..quantum.program import Program
from ..quantum.shift import shifts
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
    with _in_float64(potential, atoms) as geometry:
        found = geometry.measure(laboratory)
    return replace(
        found,
        n_circuits=laboratory.n_circuits - before[0],
        n_shots=laboratory.n_shots - before[1],
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
        importance: how strongly energy (eV) and forces (eV/Å) depend on each circuit, shifted ones
            last; it is taken at expectation values of 0 for a readout that is not linear in them.
    """

    program: Program
    angles: Float[np.ndarray, "n_circuits n_slots"]
    open_slots: Qubits
    shifted: Float[np.ndarray, "n_shifted n_slots"]
    owners: Int[np.ndarray, " n_shifted"]
    weights: Float[np.ndarray, "n_shifted n_components"]
    readout: Float[np.ndarray, "n_circuits n_observables"]
    importance: Float[np.ndarray, " n_all"]


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
        self.circuits = tuple(map(_circuits, self.plan.programs, *request))

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

    def measure(self, laboratory: Laboratory) -> Measurement:
        """Energy and forces with errors, and the circuits and shots of the laboratory so far."""
        importance = [c.importance for c in self.circuits]
        shots = allocate(np.concatenate(importance), laboratory.protocol.shots)
        ends = np.cumsum([len(of_list) for of_list in importance])[:-1]
        found = [
            laboratory.measure(c.program, np.concatenate([c.angles, c.shifted]), own, c.open_slots)
            for c, own in zip(self.circuits, np.split(shots, ends), strict=True)
        ]
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
            n_circuits=laboratory.n_circuits,
            n_shots=laboratory.n_shots,
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
    program: Program, angles: np.ndarray, slopes: np.ndarray, energy_weights: np.ndarray
) -> CircuitGroup:
    """The circuits of one gate list, without shifted ones of negligible weight."""
    slopes = slopes.reshape(*angles.shape, -1)
    open_slots = tuple(int(slot) for slot in np.flatnonzero(np.any(slopes != 0, axis=(0, 2))))
    found = shifts(program, angles, open_slots)
    weights = np.einsum("ksi,ksr->kri", slopes, found.weights, optimize=True)
    largest = np.abs(weights).max(-1)
    kept = largest > NEGLIGIBLE * largest.max(initial=0)
    owners, sizes = np.nonzero(kept)[0], np.linalg.norm(energy_weights, axis=1)
    of_forces = sizes[owners] * np.linalg.norm(weights[kept], axis=1)
    return CircuitGroup(
        program,
        angles,
        open_slots,
        found.angles[kept],
        owners,
        weights[kept],
        energy_weights,
        np.concatenate([sizes, of_forces]),
    )
