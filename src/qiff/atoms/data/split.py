"""Splits: which configurations are trained, validated and tested on."""

from collections.abc import Sequence
from typing import NamedTuple

import ase
import numpy as np
from jaxtyping import Int

from ..._checks import InputError
from .source import PART


class Split(NamedTuple):
    """Indices of the frames of each part."""

    train: Int[np.ndarray, " n_train"]
    valid: Int[np.ndarray, " n_valid"]
    test: Int[np.ndarray, " n_test"]


def split(frames: Sequence[ase.Atoms], train: float, valid: float, test: float, seed: int) -> Split:
    """Shuffle the indices of `frames` by `seed` and cut them into three parts.

    Frames with `part = test` in their `info` are never trained or validated on. If there are
    any, the test part is the first of them, the same for every seed.

    Args:
        frames: what to split.
        train, valid, test: sizes: below 1 a fraction of the frames that the part is taken from,
            from 1 on a whole number of frames.
        seed: of the shuffle.

    Returns:
        Indices of the frames of each part.

    Raises:
        InputError: a size is neither; the parts need more frames than there are; or training or
            validation get none.
    """
    order = np.random.default_rng(seed).permutation(len(frames))
    set_apart = np.flatnonzero([str(atoms.info.get(PART)) == "test" for atoms in frames])
    if set_apart.size:
        learn = order[~np.isin(order, set_apart)]
        first, second = _cut(
            len(learn), " outside the test part of the data", train=(train, 1), valid=(valid, 1)
        )
        (third,) = _cut(len(set_apart), " in the test part of the data", test=(test, 0))
        return Split(learn[:first], learn[first:second], set_apart[:third])
    first, second, third = _cut(len(frames), "", train=(train, 1), valid=(valid, 1), test=(test, 0))
    return Split(order[:first], order[first:second], order[second:third])


def equal_frames(frames: Sequence[ase.Atoms]) -> list[list[int]]:
    """Indices of frames with the same atoms at the same positions in the same cell, if several.

    Positions are compared in steps of 1e-6 Å.
    """
    same: dict[bytes, list[int]] = {}
    for index, atoms in enumerate(frames):
        places = np.round([*atoms.positions, *atoms.cell.array], 6) + 0.0
        content = atoms.numbers.tobytes() + atoms.pbc.tobytes() + places.tobytes()
        same.setdefault(content, []).append(index)
    return [indices for indices in same.values() if len(indices) > 1]


def _cut(n_frames: int, where: str, **parts: tuple[float, int]) -> list[int]:
    """Where parts of such sizes end; each has a size and how many frames it needs."""
    for name, (size, _) in parts.items():
        if not 0 <= size < 1 and not (size >= 1 and float(size).is_integer()):
            raise InputError(
                f"`{name}` must be a fraction below 1 or a whole number of frames, but is {size}."
            )
    ends = np.cumsum([size * n_frames if size < 1 else size for size, _ in parts.values()])
    ends = [round(end, 6) for end in ends]  # 0.7 + 0.1 + 0.2 is one, whatever the last bit says
    cuts = [int(end + 0.5) for end in ends]
    counts = np.diff(cuts, prepend=0)
    needed = [least for _, least in parts.values()]
    if ends[-1] > n_frames or np.any(counts < needed):
        names = ", ".join(f"`{name}`" for name in parts)
        raise InputError(
            f"{names} must be at least {', '.join(map(str, needed))} frames and together at most "
            f"{n_frames}{where}, but are {', '.join(map(str, counts))}."
        )
    return cuts
