"""Predictions beside labels, kept in the run folder so that a report need not compute them."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import numpy as np
from jaxtyping import Float, Int

from .._checks import InputError
from .._files import atomic_write
from ..atoms.properties import PROPERTIES, labels
from ..model.ensemble import Uncertainty
from ..model.predict import Prediction
from ..training.comparison import has_free_constant

FILE = "predictions.npz"
"""Its name in a run folder."""


@dataclass(frozen=True)
class Predictions:
    """Labelled configurations of one part of the data and what is predicted of them.

    Args:
        part: `test`, `valid` or `train`.
        indices: of the configurations in the data.
        n_atoms: of each configuration; what is of atoms holds one configuration after the other.
        numbers, positions: of all atoms, in Å.
        cells: in Å; zero along directions that are not periodic.
        labelled, predicted: by property, a row for each configuration or each atom; NaN without a
            label.
        expected: standard deviations by property, of one component; empty unless predicted by an
            ensemble.
    """

    part: str
    indices: Int[np.ndarray, " n_frames"]
    n_atoms: Int[np.ndarray, " n_frames"]
    numbers: Int[np.ndarray, " n_all"]
    positions: Float[np.ndarray, "n_all 3"]
    cells: Float[np.ndarray, "n_frames 3 3"]
    labelled: Mapping[str, np.ndarray]
    predicted: Mapping[str, np.ndarray]
    expected: Mapping[str, np.ndarray]

    @property
    def frame_of_atom(self) -> Int[np.ndarray, " n_all"]:
        return np.repeat(np.arange(len(self.n_atoms)), self.n_atoms)

    def errors(self, key: str) -> np.ndarray:
        """Predicted minus labelled values of a property, in double precision."""
        return self.predicted[key].astype(float) - self.labelled[key]

    def save(self, path: Path) -> None:
        """Write the file, atomically."""
        content = io.BytesIO()
        arrays: dict[str, Any] = {}
        for name, value in vars(self).items():
            nested = value if isinstance(value, Mapping) else {"": value}
            arrays |= {f"{name}.{key}".rstrip("."): np.asarray(v) for key, v in nested.items()}
        np.savez_compressed(content, **arrays)
        atomic_write(path, content.getvalue())


def gathered(
    part: str,
    indices: Sequence[int],
    frames: Sequence[ase.Atoms],
    predictions: Sequence[Prediction],
    uncertainties: Sequence[Uncertainty] = (),
) -> Predictions:
    """The record of some configurations, from their predictions.

    Args:
        part: which part of the data they are.
        indices: of the configurations in the data.
        frames: the configurations, at least one.
        predictions: one of each.
        uncertainties: one of each, or none.
    """
    found = [prediction.results() for prediction in predictions]
    known = [labels(atoms) for atoms in frames]
    keys = [key for key in PROPERTIES if any(key in one for one in known)]
    return Predictions(
        part=part,
        indices=np.asarray(indices, int),
        n_atoms=np.array([len(atoms) for atoms in frames]),
        numbers=np.concatenate([atoms.numbers for atoms in frames]),
        positions=np.concatenate([atoms.positions for atoms in frames]).astype(np.float32),
        cells=np.array([atoms.cell.array * atoms.pbc[:, None] for atoms in frames]),
        labelled={key: _rows(key, frames, known) for key in keys},
        predicted={key: _rows(key, frames, found) for key in keys},
        expected={key: _spreads(key, uncertainties) for key in keys if uncertainties},
    )


def _rows(
    key: str, frames: Sequence[ase.Atoms], values: Sequence[Mapping[str, Any]]
) -> Float[np.ndarray, "n ..."]:
    """A row for each configuration, or each atom, of a property; NaN where it is absent."""
    shapes = [PROPERTIES[key].full_shape(len(atoms)) for atoms in frames]
    full = [
        np.asarray(one.get(key, np.full(shape, np.nan)), float)
        for one, shape in zip(values, shapes, strict=True)
    ]
    joined = np.concatenate(full) if PROPERTIES[key].per_atom else np.stack(full)
    return joined if has_free_constant(key) else _single(joined)


def _single(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """In single precision; what is too large for it is the largest number there is."""
    largest = np.finfo(np.float32).max
    return np.clip(values, -largest, largest).astype(np.float32)


def _spreads(key: str, uncertainties: Sequence[Uncertainty]) -> Float[np.ndarray, " n"]:
    spreads = [np.atleast_1d(one.results().get(key, np.nan)) for one in uncertainties]
    return _single(np.concatenate(spreads))


def load_predictions(path: Path) -> Predictions | None:
    """What `Predictions.save` wrote; None if there is no such file.

    Raises:
        InputError: the file is corrupt.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        fields: dict[str, Any] = {"labelled": {}, "predicted": {}, "expected": {}}
        for name, value in arrays.items():
            field, _, key = name.partition(".")
            if key:
                fields[field][key] = value
            else:
                fields[field] = str(value) if field == "part" else value
        return Predictions(**fields)
    except Exception as error:  # zipfile, zlib and numpy raise many kinds
        raise InputError(
            f"{path}: is not a file of qiff; delete it for a report without structures, or train "
            "again."
        ) from error
