"""Small folders in the layouts of revised MD17; every molecule is water in disguise."""

from pathlib import Path

import numpy as np

from qiff.atoms.data.rmd17 import MOLECULES

KCAL = 0.0433641  # eV
N_FRAMES = 60
TRAIN = np.arange(0, 60, 2)[::-1]
TEST = np.arange(1, 60, 6)


def arrays(n_frames: int = N_FRAMES) -> dict[str, np.ndarray]:
    """Frame i has the energy -100 - i kcal/mol."""
    rng = np.random.default_rng(0)
    water = np.array([[0, 0, 0], [0.96, 0.1, 0], [-0.2, 0.94, 0]])
    energies = -100.0 - np.arange(n_frames)
    return {
        "nuclear_charges": np.array([8, 1, 1], np.uint8),
        "coords": water + 0.02 * rng.normal(size=(n_frames, 3, 3)),
        "energies": energies,
        "forces": np.ones((n_frames, 3, 3)) * energies[:, None, None],
        "old_energies": 2 * energies,
    }


def write_archive(root: Path, molecules=MOLECULES) -> Path:
    """The layout of the official archive."""
    (root / "rmd17" / "npz_data").mkdir(parents=True)
    (root / "rmd17" / "splits").mkdir()
    for molecule in molecules:
        np.savez(
            root / "rmd17" / "npz_data" / f"rmd17_{molecule}.npz", allow_pickle=False, **arrays()
        )
    for part, rows in (("train", TRAIN), ("test", TEST)):
        np.savetxt(root / "rmd17" / "splits" / f"index_{part}_01.csv", rows, fmt="%d")
    return root


def write_parts(root: Path, molecules=MOLECULES) -> Path:
    """The layout of one file for each part."""
    (root / "rmd17").mkdir(parents=True)
    for molecule in molecules:
        for part, rows in (("train", TRAIN), ("test", TEST)):
            chosen = {k: a if k == "nuclear_charges" else a[rows] for k, a in arrays().items()}
            np.savez(
                root / "rmd17" / f"rmd17_{molecule}_{part}_01.npz", allow_pickle=False, **chosen
            )
    return root
