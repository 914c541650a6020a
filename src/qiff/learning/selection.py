"""Which sampled frames are labelled: by uncertainty and difference, or at random.

A new way to select is one function in `SELECTIONS`.
"""

from collections.abc import Callable, Sequence

import ase
import numpy as np
from ase.data import chemical_symbols, covalent_radii
from jaxtyping import Float

from ..atoms.graph import cell_of
from ..atoms.neighbours import Pairs, pairs_within

CUTOFF = 5.0  # Å, of the distances that a descriptor counts
WIDTH = 0.1  # Å, of a Gaussian for each distance
LONG_BOND = 1.5  # of the sum of covalent radii: below it two atoms are connected
COLLISION = 0.6  # of the same: below it two atoms have collided


def descriptors(frames: Sequence[ase.Atoms]) -> Float[np.ndarray, "n_frames n_features"]:
    r"""Distributions of distances between elements, to tell how different frames are.

    For each pair of elements $\frac{1}{\sqrt{N}} \sum_{i<j} f(r_{ij}) e^{-(r-r_{ij})^2/2w^2}$ on a
    grid of $r$, with $f$ falling to zero at 5 Å: invariant under rotations, translations and the
    exchange of atoms of one element, and of one length for systems of any size.

    Args:
        frames: configurations.
    """
    elements = sorted({int(z) for atoms in frames for z in atoms.numbers})
    kinds = {pair: n for n, pair in enumerate(_pairs(elements))}
    grid = np.arange(0.5, CUTOFF, WIDTH)
    found = np.zeros((len(frames), len(kinds), len(grid)))
    for atoms, rows in zip(frames, found, strict=True):
        near = pairs_within(CUTOFF, atoms.positions, cell_of(atoms), atoms.pbc)
        of_pair = np.sort(atoms.numbers[np.stack([near.first, near.second])], axis=0)
        weight = (np.cos(np.pi * near.distances / CUTOFF) + 1) / np.sqrt(len(atoms))
        shapes = np.exp(-((grid - near.distances[:, None]) ** 2) / (2 * WIDTH**2))
        for pair, n in kinds.items():
            same = np.all(pair == of_pair.T, axis=1)
            rows[n] = weight[same] @ shapes[same]
    return found.reshape(len(frames), -1)


def _pairs(elements: Sequence[int]) -> list[tuple[int, int]]:
    return [(a, b) for n, a in enumerate(elements) for b in elements[n:]]


def farthest(
    candidates: Float[np.ndarray, "n_candidates n_features"],
    known: Float[np.ndarray, "n_known n_features"],
    n_chosen: int,
) -> list[int]:
    """Indices of candidates, each the farthest from those before it and from what is known.

    Farthest-point sampling; with nothing known it begins with the first candidate.

    Args:
        candidates, known: descriptors.
        n_chosen: how many; fewer if all others are equal to what was chosen.
    """
    distance = np.full(len(candidates), np.inf)
    for row in known:
        distance = np.minimum(distance, np.linalg.norm(candidates - row, axis=1))
    chosen: list[int] = []
    while len(chosen) < min(n_chosen, len(candidates)):
        index = int(distance.argmax())
        if distance[index] == 0:
            break
        chosen.append(index)
        distance = np.minimum(distance, np.linalg.norm(candidates - candidates[index], axis=1))
    return chosen


Select = Callable[
    [Sequence[ase.Atoms], Float[np.ndarray, " n"], Sequence[ase.Atoms], float, int, int], list[int]
]
"""From candidates, their uncertainties (eV/Å), frames that are known, a threshold (eV/Å), a number
and a seed to the indices of the candidates to label."""


def _uncertain(candidates, uncertainties, known, threshold, n_frames, seed) -> list[int]:
    """The most different ones of those above the threshold, or, if these are fewer than are asked
    for, of twice as many of the most uncertain ones."""
    order = np.argsort(-uncertainties, kind="stable")
    n_above = int(np.sum(uncertainties > threshold))
    pool = np.sort(order[: n_above if n_above >= n_frames else 2 * n_frames])
    if len(pool) == 0:
        return []
    both = descriptors([*(candidates[i] for i in pool), *known])
    return pool[farthest(both[: len(pool)], both[len(pool) :], n_frames)].tolist()


def _random(candidates, uncertainties, known, threshold, n_frames, seed) -> list[int]:
    """Any."""
    order = np.random.default_rng(seed).permutation(len(candidates))
    return sorted(order[:n_frames].tolist())


SELECTIONS: dict[str, Select] = {"uncertain": _uncertain, "random": _random}


def broken(atoms: ase.Atoms, start: ase.Atoms) -> str:
    """Why a frame of dynamics is not one to learn from; empty if nothing is wrong.

    Two atoms have collided, or there are more fragments than at the start.

    Args:
        atoms: the frame.
        start: where the dynamics began.
    """
    near, ratio = _in_bond_lengths(atoms)
    if np.any(ratio < COLLISION):
        worst = int(ratio.argmin())
        one, other = (chemical_symbols[atoms.numbers[of[worst]]] for of in near[:2])
        return f"{one} and {other} are {near.distances[worst]:.2f} Å apart"
    if (found := n_fragments(atoms)) > (before := n_fragments(start)):
        return f"{found} fragments, not {before}"
    return ""


def n_fragments(atoms: ase.Atoms) -> int:
    """The number of parts that are not connected by pairs of atoms nearer than a long bond."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    near, ratio = _in_bond_lengths(atoms)
    bonded = ratio < LONG_BOND
    links = (np.ones(bonded.sum()), (near.first[bonded], near.second[bonded]))
    n_parts, _ = connected_components(coo_array(links, shape=(len(atoms), len(atoms))))
    return int(n_parts)


def _in_bond_lengths(atoms: ase.Atoms) -> tuple[Pairs, Float[np.ndarray, " n_pairs"]]:
    """Pairs of atoms, and their distances as multiples of the sum of their covalent radii."""
    near, radii = pairs_within(CUTOFF, atoms.positions, cell_of(atoms), atoms.pbc), covalent_radii
    return near, near.distances / (
        radii[atoms.numbers[near.first]] + radii[atoms.numbers[near.second]]
    )
