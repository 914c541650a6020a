"""Splits: which configurations are trained, validated and tested on."""

from collections.abc import Sequence
from itertools import combinations
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


def split(
    frames: Sequence[ase.Atoms],
    train: float,
    valid: float,
    test: float,
    seed: int,
    group_by: str = "",
) -> Split:
    """Shuffle the indices of `frames` by `seed` and cut them into three parts.

    Frames with `part = test` in their `info` are never trained or validated on. If there are
    any, the test part is the first of them, the same for every seed. Frames with `part = valid`
    are the validation part in the same way.

    With `group_by`, frames of one group are in one part: groups follow each other in the order of
    their first frames in the shuffle, so that large ones are rather trained on, and each part ends
    between two groups, as near to its size as possible but after one at least.

    Args:
        frames: what to split.
        train, valid, test: sizes: below 1 a fraction of the frames that the part is taken from,
            from 1 on a whole number of frames.
        seed: of the shuffle.
        group_by: key in `info` whose value names the group of a frame, such as `smiles`; if empty
            every frame is a group.

    Returns:
        Indices of the frames of each part.

    Raises:
        InputError: a size is neither; the parts need more frames than there are; training or
            validation get none; a frame has no group; or marked frames have a group in two parts.
    """
    sizes = {"train": (train, 1), "valid": (valid, 1), "test": (test, 0)}
    marks = np.array([str(atoms.info.get(PART)) for atoms in frames])
    apart = {name: np.flatnonzero(marks == name) for name in ("valid", "test")}
    apart = {name: indices for name, indices in apart.items() if indices.size}
    order = np.random.default_rng(seed).permutation(len(frames))
    others = order[~np.isin(marks[order], list(apart))]
    where = f" outside the {' and '.join(apart)} part of the data" if apart else ""
    drawn = {name: size for name, size in sizes.items() if name not in apart}
    groups = _groups(frames, group_by)
    others, ends = _together(groups, others, _cut(len(others), where, **drawn))
    found = {
        name: others[begin:end] for name, begin, end in zip(drawn, [0, *ends], ends, strict=False)
    }
    for name, indices in apart.items():
        (end,) = _cut(len(indices), f" in the {name} part of the data", **{name: sizes[name]})
        found[name] = indices[:end]
    for one, other in combinations(found, 2):
        if crossing := set(groups[found[one]]) & set(groups[found[other]]):
            raise InputError(
                f"`group_by` {group_by}: {min(crossing)} has frames in the {one} and in the "
                f"{other} part, since the data set some apart; set all of them apart or none."
            )
    return Split(**found)


def _groups(frames: Sequence[ase.Atoms], key: str) -> np.ndarray:
    """The group of each frame; one of its own without a key."""
    if not key:
        return np.arange(len(frames))
    for index, atoms in enumerate(frames):
        if key not in atoms.info:
            found = ", ".join(sorted(atoms.info)) or "none"
            raise InputError(
                f"frame {index}: has no `{key}` to be grouped by (`group_by`); keys found: {found}."
            )
    return np.array([str(atoms.info[key]) for atoms in frames])


def _together(
    groups: np.ndarray, order: np.ndarray, ends: Sequence[int]
) -> tuple[np.ndarray, list[int]]:
    """Frames in order of the first of their group, and where parts then end between groups."""
    _, first, group = np.unique(groups[order], return_index=True, return_inverse=True)
    again = np.argsort(first[group], kind="stable")
    borders = np.append(np.flatnonzero(np.diff(first[group][again], prepend=-1)), len(order))
    moved = [0]
    for begin, end in zip([0, *ends], ends, strict=False):
        possible = borders[borders >= moved[-1] + (end > begin)]
        if not possible.size:
            raise InputError(
                f"`group_by`: {len(first)} groups of frames are too few for the parts; ask for "
                "less, or group the frames in another way."
            )
        moved.append(int(possible[np.argmin(np.abs(possible - end))]))
    return order[again], moved[1:]


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
