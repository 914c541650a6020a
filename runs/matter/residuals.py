"""Liquid silicon: how much of the errors of a model frames close in time have in common.

    QIFF_DATA=FOLDER python runs/matter/residuals.py MODEL

Training and test frames are of one trajectory, in random order. Their order in time is found from
their distances; then the errors of each test frame are predicted from those of the training frames
that come shortly before and after it, by a linear fit to training frames.
"""

import sys

import numpy as np
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

import qiff

N_AROUND = 6  # frames before, and as many after


def in_time(frames: list) -> np.ndarray:
    """Indices of the frames in the order of the trajectory: along the tree of least distances."""
    positions, lengths = np.array([a.positions for a in frames]), frames[0].cell.lengths()
    distances = np.zeros((len(frames), len(frames)))
    for row, at in zip(distances, positions, strict=True):
        apart = positions - at
        apart -= lengths * np.round(apart / lengths)
        row[:] = np.sqrt((apart**2).sum(-1).mean(-1))
    tree = minimum_spanning_tree(distances)
    tree = tree + tree.T
    end = np.flatnonzero((tree > 0).sum(1) == 1)[0]
    return breadth_first_order(tree, end, directed=False)[0]


def predicted(errors: np.ndarray, tested: np.ndarray) -> tuple[float, float]:
    """Root mean square of the errors of test frames, and of what their neighbours do not tell."""
    lags = [lag for lag in range(-N_AROUND, N_AROUND + 1) if lag]
    inner = np.arange(N_AROUND, len(errors) - N_AROUND)
    around = np.stack([errors[inner + lag] for lag in lags], axis=-1)
    learned, asked = ~tested[inner], tested[inner]
    wanted = errors[inner]
    weights, *_ = np.linalg.lstsq(
        around[learned].reshape(-1, len(lags)), wanted[learned].ravel(), rcond=None
    )
    left = wanted[asked] - around[asked] @ weights
    return float(np.sqrt((wanted[asked] ** 2).mean())), float(np.sqrt((left**2).mean()))


def main(model: str) -> None:
    """Print the root mean square errors with and without the neighbours in time."""
    parts = [qiff.read(qiff.Source(f"si64/{name}.xyz")) for name in ("train", "val")]
    frames = [*parts[0], *parts[1]]
    tested = np.arange(len(frames)) >= len(parts[0])
    found, order = qiff.predict(qiff.load(model), frames), in_time(frames)
    forces = np.array([a.get_forces() - p.forces for a, p in zip(frames, found, strict=True)])
    energies = np.array(
        [a.get_potential_energy() - p.energy for a, p in zip(frames, found, strict=True)]
    )
    for name, errors, unit in (("forces", forces, "eV/Å"), ("energy", energies, "eV per cell")):
        ordered = errors[order].reshape(len(frames), -1)
        same = float((ordered[1:] * ordered[:-1]).mean() / (ordered**2).mean())
        before, after = predicted(ordered, tested[order])
        print(
            f"{name}: correlation of successive frames {same:.2f}; test RMSE {before:.4f} {unit},"
        )
        print(f"    {after:.4f} with the errors of {2 * N_AROUND} frames around")


if __name__ == "__main__":
    main(*sys.argv[1:])
