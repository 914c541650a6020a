"""Errors of a potential on labelled configurations."""

from collections.abc import Callable, Sequence

import ase
import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from ..atoms.graph import Graph, graph, has_volume
from ..atoms.properties import PROPERTIES
from ..model.ensemble import uncertainty
from ..model.potential import AbstractPotential
from ..model.predict import Prediction, dtype, precision, predict
from ..model.shot_cost import ShotCost, shot_cost
from .calibration import deviations, reliability
from .comparison import PER_ATOM, compared, has_free_constant

Metrics = dict[str, float | int | None]

N_FRAMES = "_n_frames"
"""Ends the names of numbers of frames that have a label, where others have none."""

_MEASURES: dict[str, Callable[[np.ndarray], float]] = {
    "mae": lambda errors: np.abs(errors).mean(),
    "rmse": lambda errors: np.sqrt((errors**2).mean()),
}
_UP_TO_A_CONSTANT: dict[str, Callable[[np.ndarray], float]] = {
    "shifted_mae": lambda errors: np.abs(errors - errors.mean()).mean(),
}


def evaluate(potential: AbstractPotential, frames: Sequence[ase.Atoms]) -> Metrics:
    """`errors` of a potential, and the `reliability` of its standard deviations if it has any.

    Args:
        potential: any potential.
        frames: labelled configurations.

    Returns:
        Errors by name, such as `energy_mae` in eV and `forces_rmse` in eV/Å; None for a property
        without labels.

    Raises:
        InputError: as `predict`.
    """
    predictions = predict(potential, frames)
    found = errors(predictions, frames)
    if potential.calibration:
        found |= reliability(deviations(predictions, uncertainty(potential, frames), frames))
    return found


def errors(predictions: Sequence[Prediction], frames: Sequence[ase.Atoms]) -> Metrics:
    """Mean absolute and root mean square errors over all components of each property.

    `energy_mae`, `energy_rmse` in eV, `forces_mae`, `forces_rmse` in eV/Å and so on through
    `PROPERTIES`. `energy_shifted_mae` is the error of the energy after its mean is subtracted.
    An error is of the frames that have the label, None without any; `n_frames` counts all, and
    `energy_n_frames` and so on those with a label where others have none. Of frames with a cell
    there are `energy_per_atom_mae` and `energy_per_atom_rmse` in eV/atom too.
    """
    both, found = compared(predictions, frames), Metrics()
    for key in PROPERTIES:
        measures = _MEASURES | (_UP_TO_A_CONSTANT if has_free_constant(key) else {})
        off = np.concatenate([np.ravel(e) for e in both[key].errors]) if key in both else None
        for name, measure in measures.items():
            found[f"{key}_{name}"] = None if off is None else float(measure(off))
        if off is None:
            continue
        labelled = [frames[index] for index in both[key].indices]
        if has_free_constant(key) and any(map(has_volume, labelled)):
            of_each = off / np.array([len(atoms) for atoms in labelled])
            for name, measure in _MEASURES.items():
                found[f"{key}{PER_ATOM}_{name}"] = float(measure(of_each))
        if len(labelled) < len(frames):
            found[f"{key}{N_FRAMES}"] = len(labelled)
    return found | {"n_frames": len(frames)}


SHOT_FRAMES = 5
"""Configurations for which shots are predicted."""


def forces_shots(potential: AbstractPotential, frames: Sequence[ase.Atoms]) -> float:
    """Mean number of shots for 10 meV/Å, see `ShotCost.shots`, of the first `SHOT_FRAMES` frames.

    Members of an ensemble are measured one by one, each with so many shots.

    Raises:
        InputError: the circuits of the potential cannot be sent.
    """
    found = []
    with precision(potential):
        for member in potential.members:
            for atoms in frames[:SHOT_FRAMES]:
                seen = graph(atoms, dtype(member), member.cutoff)
                found.append(float(_shots(shot_cost(member, seen), member, seen)))
    return float(np.mean(found))


@eqx.filter_jit
def _shots(cost: ShotCost, potential: AbstractPotential, seen: Graph) -> Float[Array, ""]:
    return cost.shots(potential, seen)
