"""Ensembles: potentials of one structure side by side, whose spread measures their uncertainty."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, overload

import ase
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._checks import InputError, check_known, check_positive
from .._types import Energies, Numbers
from ..atoms.graph import Graph
from ..atoms.properties import PROPERTIES
from .potential import AbstractPotential, FrozenDict
from .predict import precision, predict


@dataclass(frozen=True, kw_only=True)
class EnsembleSettings:
    """Settings of `Ensemble`.

    Args:
        calibration: by property, the factor from the spread of the members to a standard
            deviation, see `calibrated`; 1 where none is given.

    Raises:
        InputError: a property is unknown, or a factor is not positive.
    """

    kind: str = "ensemble"
    calibration: Mapping[str, float] = field(default_factory=FrozenDict)

    def __post_init__(self):
        factors = FrozenDict.fromkeys(PROPERTIES, 1.0)
        for key, factor in self.calibration.items():
            check_known("Calibration of", key, PROPERTIES)
            check_positive(f"calibration.{key}", factor)
            factors[key] = float(factor)
        object.__setattr__(self, "calibration", FrozenDict(factors))


class Ensemble(AbstractPotential):
    r"""$E = \frac1K \sum_k E_k$: the mean of potentials that differ only in their weights.

    All weights of `stacked` have a leading axis of members, so that all are computed, and
    trained, at once.
    """

    Settings: ClassVar = EnsembleSettings
    stacked: AbstractPotential
    settings: EnsembleSettings = eqx.field(static=True)

    def __init__(
        self,
        potentials: Sequence[AbstractPotential],
        settings: EnsembleSettings = EnsembleSettings(),
    ):
        """
        Args:
            potentials: the members; of one structure, at least two.
            settings: the hyper-parameters.

        Raises:
            InputError: there are too few members, or they differ in more than weights.
        """
        if len(potentials) < 2:
            raise InputError(f"`potentials` must be at least two, but are {len(potentials)}.")
        first, *rest = (jax.tree.structure(potential) for potential in potentials)
        if any(structure != first for structure in rest):
            raise InputError("`potentials` must differ in their weights alone.")
        with precision(potentials[0]):
            self.stacked = jax.tree.map(lambda *weights: jnp.stack(weights), *potentials)
        self.settings = settings

    def __call__(self, graph: Graph) -> Energies:
        return jax.vmap(lambda member: member(graph))(self.stacked).mean(0)

    def reference_energy(self, numbers: Numbers) -> float:
        return self.stacked.reference_energy(numbers)

    @property
    def cutoff(self) -> float | None:
        return self.stacked.cutoff

    @property
    def interaction_range(self) -> float | None:
        return self.stacked.interaction_range

    @property
    def potentials(self) -> tuple[AbstractPotential, ...]:
        """The members, each on its own."""
        leaves, structure = jax.tree.flatten(self.stacked)
        with precision(self):
            return tuple(structure.unflatten(weights) for weights in zip(*leaves, strict=True))

    @property
    def members(self) -> tuple[AbstractPotential, ...]:
        return self.potentials

    @property
    def calibration(self) -> Mapping[str, float]:
        return self.settings.calibration

    def check(self, numbers: Numbers) -> None:
        self.stacked.check(numbers)


@dataclass(frozen=True)
class Uncertainty:
    """Standard deviations of a prediction: a field for each of `PROPERTIES`.

    Args:
        energy: in eV.
        forces: of a component of the force on each atom, in eV/Å.
        stress: of a component of the stress, in eV/Å³; None without a cell.
    """

    energy: float
    forces: Float[np.ndarray, " n_atoms"]
    stress: float | None = None

    def results(self) -> dict[str, Any]:
        """By property, those that there are."""
        return {name: value for name, value in vars(self).items() if value is not None}


@overload
def uncertainty(potential: AbstractPotential, atoms: ase.Atoms) -> Uncertainty: ...
@overload
def uncertainty(potential: AbstractPotential, atoms: Sequence[ase.Atoms]) -> list[Uncertainty]: ...
def uncertainty(
    potential: AbstractPotential, atoms: ase.Atoms | Sequence[ase.Atoms]
) -> Uncertainty | list[Uncertainty]:
    r"""How uncertain an ensemble is: the spread of its members times its calibration factor $c$.

    $$ \sigma^2 = \frac{c^2}{D\,(K-1)} \sum_k |x_k - \bar x|^2 $$

    for an energy ($D = 1$), the force on each atom ($D = 3$) or a stress ($D = 6$) as predicted
    by $K$ members. The first two are invariant under rotations.

    Args:
        potential: an ensemble.
        atoms: one configuration, or several.

    Returns:
        Standard deviations in eV, eV/Å of each atom and eV/Å³: of one configuration, or a list of
        those of several.

    Raises:
        InputError: the potential is no ensemble; or as `predict`.
    """
    if not potential.calibration:
        raise InputError("`potential` must be an ensemble: train one with `members` of 2 or more.")
    if isinstance(atoms, ase.Atoms):
        return uncertainty(potential, [atoms])[0]
    by_member = [predict(member, atoms) for member in potential.members]
    found = []
    for predictions in zip(*by_member, strict=True):
        spreads: dict[str, Any] = {
            key: potential.calibration[key]
            * _spread([p.results()[key] for p in predictions], len(PROPERTIES[key].shape))
            for key in predictions[0].results()
        }
        found.append(Uncertainty(**spreads))
    return found


def _spread(members: Sequence[float | np.ndarray], n_axes: int) -> float | np.ndarray:
    """Standard deviation over the members, root mean square over the last axes."""
    values = np.array(members)
    square = values.var(0, ddof=1)
    return np.sqrt(square.mean(tuple(range(-n_axes, 0))) if n_axes else square)[()]
