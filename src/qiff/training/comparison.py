"""Predictions beside the labels of the same configurations, property by property."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import ase
import numpy as np

from ..atoms.properties import PROPERTIES, labels
from ..model.predict import Prediction

PER_ATOM = "_per_atom"
"""Ends the names of energies divided by the number of atoms."""


class Compared(NamedTuple):
    """Values of one property in its unit, one entry for each configuration that has a label.

    Args:
        predicted, labelled: the values.
        indices: of these configurations among all.
    """

    predicted: Sequence[Any]
    labelled: Sequence[Any]
    indices: Sequence[int]

    @property
    def errors(self) -> list[np.ndarray]:
        """Predicted minus labelled values of each configuration."""
        return [np.asarray(a - b) for a, b in zip(self.predicted, self.labelled, strict=True)]


def compared(predictions: Sequence[Prediction], frames: Sequence[ase.Atoms]) -> dict[str, Compared]:
    """By key of `PROPERTIES`: the frames that have a label of it and a prediction.

    Args:
        predictions: of the frames, in their order.
        frames: labelled configurations; without any, nothing is compared.
    """
    pairs = [(p.results(), labels(atoms)) for p, atoms in zip(predictions, frames, strict=True)]
    found = {}
    for key in PROPERTIES:
        indices = [i for i, pair in enumerate(pairs) if all(key in values for values in pair)]
        if indices:
            predicted, labelled = ([pairs[i][side][key] for i in indices] for side in (0, 1))
            found[key] = Compared(predicted, labelled, indices)
    return found


def has_free_constant(key: str) -> bool:
    """Whether a property is defined up to a constant: the energy is, its derivatives are not."""
    return PROPERTIES[key].length_power == 0
