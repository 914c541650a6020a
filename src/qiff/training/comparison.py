"""Predictions beside the labels of the same configurations, property by property."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import ase
import numpy as np

from ..atoms.properties import PROPERTIES, labels
from ..model.predict import Prediction


class Compared(NamedTuple):
    """Values of one property, one entry for each configuration, in the unit of the property."""

    predicted: Sequence[Any]
    labelled: Sequence[Any]

    @property
    def errors(self) -> list[np.ndarray]:
        """Predicted minus labelled values of each configuration."""
        return [np.asarray(a - b) for a, b in zip(self.predicted, self.labelled, strict=True)]


def compared(predictions: Sequence[Prediction], frames: Sequence[ase.Atoms]) -> dict[str, Compared]:
    """By key of `PROPERTIES`: those that all frames have a label of and all predictions a value.

    Args:
        predictions: of the frames, in their order.
        frames: labelled configurations; without any, nothing is compared.
    """
    found = [prediction.results() for prediction in predictions]
    wanted = [labels(atoms) for atoms in frames]
    return {
        key: Compared([one[key] for one in found], [one[key] for one in wanted])
        for key in PROPERTIES
        if frames and all(key in one for one in (*found, *wanted))
    }


def has_free_constant(key: str) -> bool:
    """Whether a property is defined up to a constant: the energy is, its derivatives are not."""
    return PROPERTIES[key].length_power == 0
