"""The circuits of one gate list that are measured for a configuration: as they are, and shifted."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from .._types import Qubits
from ..model.directions import along_rotations, bases, conserves_rotations, follows
from ..model.plan import Response
from ..quantum.insertion import insertion
from ..quantum.program import Program
from ..quantum.shift import rule_of

NEGLIGIBLE = 1e-12
"""Shifted circuits whose weight in every force is below this share of the largest are not sent."""


class CircuitGroup(NamedTuple):
    r"""The circuits of a configuration with one gate list: those of the energy, and shifted ones.

    Args:
        program: the gates.
        stage: how many times results must be awaited before the angles are known.
        angles: of the circuits of the energy.
        open_slots: angles that differ between circuits.
        shifted: angles of the shifted circuits.
        owners: for each shifted circuit the circuit of the energy that it belongs to.
        coefficients: $do_k/da = \sum_r$ `coefficients[r]` $o_r$ over the shifted circuits $r$ of
            circuit $k$, in the directions that are needed.
        weights: the same for $do_k/dR$.
        readout: derivative of the energy in eV with respect to the expectation values of the
            circuits of the energy, where those are 0, see `Request`.
        gains: how strongly energy (eV) and forces (eV/Å) are expected to depend on the expectation
            values of each circuit of the energy.
    """

    program: Program
    stage: int
    angles: Float[np.ndarray, "n_circuits n_slots"]
    open_slots: Qubits
    shifted: Float[np.ndarray, "n_shifted n_slots"]
    owners: Int[np.ndarray, " n_shifted"]
    coefficients: Float[np.ndarray, "n_shifted n_slots"]
    weights: Float[np.ndarray, "n_shifted n_components"]
    readout: Float[np.ndarray, "n_circuits n_observables"]
    gains: Float[np.ndarray, " n_circuits"]

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
        norms = np.linalg.norm(self.readout, axis=1)
        own = np.divide(self.gains, norms, out=np.ones(len(norms)), where=norms > 0)
        return np.concatenate([own, np.linalg.norm(self.weights, axis=1)])

    @property
    def importance(self) -> Float[np.ndarray, " n_all"]:
        """How strongly energy (eV) and forces (eV/Å) depend on each circuit; it is taken at
        expectation values of 0 for a readout that is not linear in them."""
        return self.sizes * np.linalg.norm(self.all_readouts, axis=1)

    def response(self, values: Float[np.ndarray, "n_all n_observables"]) -> Response:
        """Expectation values and their derivatives from those of all circuits."""
        own, of_shifted = np.split(values, [len(self.angles)])
        by_owner = [self.owners == number for number in range(len(own))]
        slopes = [of_shifted[rows].T @ self.coefficients[rows] for rows in by_owner]
        return Response(jnp.asarray(own), jnp.asarray(np.stack(slopes)))


def circuit_group(
    program: Program,
    stage: int,
    angles: Float[np.ndarray, "n_circuits n_slots"],
    slopes: Float[np.ndarray, "n_circuits n_slots n_atoms 3"],
    readout: Float[np.ndarray, "n_circuits n_observables"],
    fed: Bool[np.ndarray, "n_circuits n_slots"],
    positions: Float[np.ndarray, "n_atoms 3"],
) -> CircuitGroup:
    """The circuits of one gate list, without shifted ones of negligible weight.

    Args:
        program, stage, angles, readout: see `CircuitGroup`.
        slopes, fed: see `Request`.
        positions: in Å.
    """
    slopes = slopes.reshape(*angles.shape, -1)
    moving = np.flatnonzero(np.any(slopes != 0, axis=(0, 2)) | fed.any(0))
    open_slots = tuple(sorted({int(slot) for slot in moving} & set(program.read_slots())))
    found = [
        _shifted(program, open_slots, *own, positions)
        for own in zip(angles, slopes, fed, strict=True)
    ]
    shifted, coefficients, weights, needed = map(np.stack, zip(*found, strict=True))
    largest = np.abs(weights).max(-1)
    kept = needed | (largest > NEGLIGIBLE * largest.max(initial=0))
    owners = np.nonzero(kept)[0]
    of_shifted = shifted[kept], owners, coefficients[kept], weights[kept]
    gains = np.linalg.norm(readout, axis=1)
    return CircuitGroup(program, stage, angles, open_slots, *of_shifted, readout, gains)


def _shifted(
    program: Program,
    open_slots: Qubits,
    angles: np.ndarray,
    slopes: np.ndarray,
    fed: np.ndarray,
    positions: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of the shifted circuits of one circuit the angles; weights in derivatives with respect to
    angles and to positions; and whether they are needed for errors, whatever their weights."""
    gates, n_slots = insertion(program, open_slots).gates, len(angles)
    by_angle = [np.zeros((*of.slots.shape, n_slots)) for of in gates]
    for rows, of in zip(by_angle, gates, strict=True):
        rule = np.swapaxes(rule_of(of.name).coefficients(angles[of.slots]), 1, 2)
        np.put_along_axis(rows, np.repeat(of.slots[:, None], rule.shape[1], axis=1), rule, axis=2)
    own = [rows @ slopes for rows in by_angle]
    if gates and conserves_rotations(program) and follows(gates, angles, slopes, positions):
        away = along_rotations(gates, own, positions)
        by_angle = [
            rows - m @ (away @ np.linalg.pinv(slopes, 1e-9))
            for rows, m in zip(by_angle, own, strict=True)
        ]
        own = [m - m @ away for m in own]
    empty = np.zeros((0, n_slots))
    found = [(empty, empty, np.zeros((0, slopes.shape[-1])), np.zeros(0, bool))]
    for of, rows, m in zip(gates, by_angle, own, strict=True):
        rule, basis = rule_of(of.name), bases(of, m)
        where = np.repeat(of.slots, basis.shape[1], axis=0)
        needed = np.repeat(fed[of.slots].any(1), basis.shape[1])
        own_coefficients, own_weights = (
            (basis @ part).reshape(len(where), -1) for part in (rows, m)
        )
        for sign in (1, -1):
            turns = sign * basis @ rule.directions
            moved = rule.sandwich(angles[of.slots][:, None], turns).reshape(len(where), -1)
            row = np.repeat(angles[None], len(moved), axis=0)
            np.put_along_axis(row, where, moved, axis=1)
            found.append((row, sign * own_coefficients, sign * own_weights, needed))
    rows, coefficients, weights, needed = map(np.concatenate, zip(*found, strict=True))
    return rows, coefficients, weights, needed
