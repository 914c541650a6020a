"""Data of the studies: frames of a data set, drawn by a seed."""

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import ase
import numpy as np

from ..._checks import InputError
from ...atoms.data.dataset import read
from ...atoms.data.source import Source

WATER_DEMO = "water-demo"
"""850 water molecules published by Le et al. 2023; see `_source`."""


class SeedData(NamedTuple):
    """Data of one seed.

    Args:
        frames: labelled frames for training and, last, for validation.
        n_valid: number of frames for validation.
        tests: labelled test frames by the name of their set.
    """

    frames: Sequence[ase.Atoms]
    n_valid: int
    tests: Mapping[str, Sequence[ase.Atoms]]


@cache
def read_frames(path: str) -> tuple[ase.Atoms, ...]:
    """Labelled frames of a named data set, or of `WATER_DEMO`.

    Raises:
        InputError: the data are not there.
    """
    return tuple(read(_source(path), need_energy=True, need_forces=True))


def _source(path: str) -> Source:
    if path != WATER_DEMO:
        return Source(path)
    folder = os.environ.get("QIFF_DATA")
    if not folder:
        raise InputError(
            "`water-demo` needs the public data set of Le et al. 2023: set QIFF_DATA to the folder "
            "that holds `water-demo`."
        )
    return Source(str(Path(folder) / WATER_DEMO), "Hartree", "Bohr", elements=("O", "H", "H"))


def shuffled(
    path: str, n_train: int, n_valid: int, seed: int, *, learned: Sequence[int] = ()
) -> SeedData:
    """Frames in random order: the first for training and validation, all others for the test.

    Args:
        path: see `read_frames`.
        n_train, n_valid: numbers of frames.
        seed: of the order.
        learned: indices of frames that are always in the training part.
    """
    frames = read_frames(path)
    first = [len(frames) + i if i < 0 else i for i in learned]
    order = np.random.default_rng(seed).permutation(len(frames))
    order = [*first, *(i for i in order if i not in first)]
    known, test = order[: n_train + n_valid], order[n_train + n_valid :]
    return SeedData([frames[i] for i in known], n_valid, {"test": [frames[i] for i in test]})
