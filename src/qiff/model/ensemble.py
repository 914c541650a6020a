"""Ensembles: potentials of one structure side by side; their spread says how sure they are."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, overload

import ase
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._checks import InputError, check_known, check_positive, typed
from .._types import Energies
from ..atoms.graph import Graph
from .potential import AbstractPotential
from .predict import Prediction, precision, predict

UNCALIBRATED = MappingProxyType({"energy": 1.0, "forces": 1.0})


class Ensemble(AbstractPotential):
    r"""$E = \frac1K \sum_k E_k$: the mean of potentials that differ in nothing but their weights.

    All weights carry a leading axis of members, so that all are computed, and trained, at once:
    the arrays of an ensemble are those of its members, stacked.
    """

    stacked: AbstractPotential
    factors: tuple[tuple[str, float], ...] = eqx.field(static=True)

    def __init__(
        self,
        potentials: Sequence[AbstractPotential],
        calibration: Mapping[str, float] = UNCALIBRATED,
    ):
        """
        Args:
            potentials: the members; of one structure, at least two.
            calibration: for `energy` and `forces` what the spread of the members is multiplied
                by to be a standard deviation, see `calibrated`.

        Raises:
            InputError: there are too few members, or they differ in more than weights; a factor
                is unknown or not positive.
        """
        if len(potentials) < 2:
            raise InputError(f"`potentials` must be at least two, but are {len(potentials)}.")
        first, *rest = (potential.config() for potential in potentials)
        if any(config != first for config in rest):
            raise InputError("`potentials` must differ in their weights alone.")
        for label, factor in calibration.items():
            check_known("Calibration of", label, UNCALIBRATED)
            check_positive(f"calibration.{label}", typed(f"calibration.{label}", factor, float))
        with precision(potentials[0]):
            self.stacked = jax.tree.map(lambda *weights: jnp.stack(weights), *potentials)
        self.factors = tuple({**UNCALIBRATED, **calibration}.items())

    def __call__(self, graph: Graph) -> Energies:
        return jax.vmap(lambda member: member(graph))(self.stacked).mean(0)

    def reference_energy(self, numbers: np.ndarray) -> float:
        return self.stacked.reference_energy(numbers)

    @property
    def cutoff(self) -> float:
        return self.stacked.cutoff

    @property
    def members(self) -> tuple[AbstractPotential, ...]:
        leaves, structure = jax.tree.flatten(self.stacked)
        with precision(self):
            return tuple(structure.unflatten(weights) for weights in zip(*leaves, strict=True))

    @property
    def calibration(self) -> Mapping[str, float]:
        return dict(self.factors)

    def config(self) -> dict[str, Any]:
        return {
            "kind": "ensemble",
            "potentials": [member.config() for member in self.members],
            "calibration": dict(self.factors),
        }

    def check(self, numbers: np.ndarray) -> None:
        self.stacked.check(numbers)


class Uncertainty(NamedTuple):
    """Standard deviations: of the energy in eV, of a force component of each atom in eV/Å."""

    energy: float
    forces: Float[np.ndarray, " n_atoms"]


@overload
def uncertainty(potential: AbstractPotential, atoms: ase.Atoms) -> Uncertainty: ...
@overload
def uncertainty(potential: AbstractPotential, atoms: Sequence[ase.Atoms]) -> list[Uncertainty]: ...
def uncertainty(
    potential: AbstractPotential, atoms: ase.Atoms | Sequence[ase.Atoms]
) -> Uncertainty | list[Uncertainty]:
    r"""How uncertain an ensemble is: the spread of its members times its calibration factor $c$.

    $$ \sigma_E^2 = \frac{c_E^2}{K-1} \sum_k (E_k - \bar E)^2, \qquad
       \sigma_i^2 = \frac{c_F^2}{3(K-1)} \sum_k |F_{ki} - \bar F_i|^2 $$

    Neither changes when the configuration is turned.

    Args:
        potential: an ensemble.
        atoms: one configuration, or several.

    Raises:
        InputError: the potential is no ensemble; or as `predict`.
    """
    if not potential.calibration:
        raise InputError("`potential` must be an ensemble: train one with `members` of 2 or more.")
    if isinstance(atoms, ase.Atoms):
        return uncertainty(potential, [atoms])[0]
    factors = potential.calibration
    by_member = [predict(member, atoms) for member in potential.members]
    return [
        Uncertainty(factors["energy"] * spread.energy, factors["forces"] * spread.forces)
        for spread in map(_spread, zip(*by_member, strict=True))
    ]


def _spread(members: Sequence[Prediction]) -> Uncertainty:
    """Standard deviations over the members."""
    forces = np.array([member.forces for member in members])
    square = ((forces - forces.mean(0)) ** 2).sum((0, 2)) / (3 * (len(members) - 1))
    return Uncertainty(float(np.std([m.energy for m in members], ddof=1)), np.sqrt(square))
