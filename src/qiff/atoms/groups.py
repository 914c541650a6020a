"""Groups of configurations of similar size: what is computed together is padded to the largest."""

import numpy as np
from jaxtyping import Int

MOST, _SAVED = 5, 0.1
"""Groups at most, and the share of the work that another one saves."""
_OF_ATOM = 16  # neighbours whose work is that of the circuits of an atom


def similar(
    n_atoms: Int[np.ndarray, " n_frames"],
    n_neighbours: Int[np.ndarray, " n_frames"],
    fewest: int = 1,
    worth: int = 0,
) -> list[Int[np.ndarray, " _"]]:
    """Configurations in as few groups as leave little padding; all in one if they are alike.

    The work of a configuration grows as $n(m + c)$ with the atoms $n$ and neighbours $m$ that it
    has room for. A group is divided where that saves most, as long as it saves a tenth of all.

    Args:
        n_atoms: of each configuration.
        n_neighbours: of the atom with most of them; zero where unknown.
        fewest: configurations of a group.
        worth: atoms without neighbours whose work a further group has to save at least.

    Returns:
        The indices of the configurations of each group, in increasing order.
    """
    order = np.argsort(_work(n_atoms, n_neighbours), kind="stable")
    found = [order]
    while len(found) < MOST:
        divisions = [_division(n_atoms[own], n_neighbours[own], fewest) for own in found]
        largest = max(range(len(found)), key=lambda number: divisions[number][0])
        saved, place = divisions[largest]
        total = sum(_padded(n_atoms[own], n_neighbours[own]) for own in found)
        if saved < max(_SAVED * total, _OF_ATOM * worth, 1):
            break
        own = found[largest]
        found[largest : largest + 1] = [own[:place], own[place:]]
    return [np.sort(own) for own in found]


def _work(n_atoms: np.ndarray, n_neighbours: np.ndarray) -> np.ndarray:
    return n_atoms * (n_neighbours + _OF_ATOM)


def _padded(n_atoms: np.ndarray, n_neighbours: np.ndarray) -> int:
    """Work of all configurations of a group."""
    return int(len(n_atoms) * _work(n_atoms.max(), n_neighbours.max()))


def _division(n_atoms: np.ndarray, n_neighbours: np.ndarray, fewest: int) -> tuple[int, int]:
    """Where to divide a group that is sorted by work, and what that saves."""
    n = len(n_atoms)
    places = np.arange(fewest, n - fewest + 1)
    if not len(places):
        return 0, 0
    largest = np.maximum.accumulate
    below = _work(largest(n_atoms), largest(n_neighbours))[places - 1]
    above = _work(largest(n_atoms[::-1]), largest(n_neighbours[::-1]))[::-1][places]
    saved = _padded(n_atoms, n_neighbours) - places * below - (n - places) * above
    best = int(saved.argmax())
    return int(saved[best]), int(places[best])
