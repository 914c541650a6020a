"""Dynamics of molecules that a model was not trained on: do bonds hold, and are the forces right?

    python runs/organic/dynamics.py MODEL more/test.xyz OUT [--n-molecules 10] [--picoseconds 100]

The frames are those of the test part, see `join.py`. Molecules are drawn from them, seed 0, and
start from their first frame, at 300 K, NVT. They are simulated together, so far apart that
they do not see each other. Bonds are those of the SMILES, as in the data. Ten frames of every
molecule are labelled with GFN2-xTB. A trajectory that is there is resumed.
"""

import argparse
import sys
from pathlib import Path

import ase
import numpy as np

import qiff
from qiff.dynamics.resume import simulated
from qiff.dynamics.trajectory import read_trajectory
from qiff.labelling.batch import label_frames
from qiff.labelling.levels import find_level
from qiff.labelling.molecules import bonded, other_bonds

TIMESTEP, INTERVAL, N_LABELLED = 0.5, 200, 10  # fs, steps
APART = 50.0  # Å; a molecule of 100 u diffuses by some 7 Å in 100 ps


def main(model: str, data: str, out: Path, n_molecules: int, picoseconds: float) -> None:
    """Print the table, row by row."""
    first = {atoms.info["smiles"]: atoms for atoms in qiff.read(qiff.Source(data))[::-1]}
    drawn = np.random.default_rng(0).permutation(sorted(first))[:n_molecules]
    together, parts = ase.Atoms(), []
    for n, smiles in enumerate(drawn):
        atoms = first[smiles].copy()
        atoms.positions += APART * np.array([n % 3, n // 3 % 3, n // 9]) - atoms.positions.mean(0)
        parts.append(slice(len(together), len(together) + len(atoms)))
        together += atoms
    potential, path = qiff.load(model), out / "together.xyz"
    steps = round(1000 * picoseconds / TIMESTEP)
    dynamics = qiff.Dynamics("nvt", 300.0, TIMESTEP, steps, INTERVAL)
    show = lambda step: print(f"{step} of {steps} steps", file=sys.stderr, end="\r")
    record = simulated(potential, together, dynamics, path, {"model": model}, show)
    print(f"{len(together)} atoms, {picoseconds:g} ps, {record['mean_temperature']:.0f} K\n")
    print("| molecule | bonds | forces, RMS (eV/Å) | forces MAE (meV/Å) |")
    print("|---|---|---|---|")
    trajectory, picosecond = read_trajectory(path), 1000 / (TIMESTEP * INTERVAL)
    for n, (smiles, part) in enumerate(zip(drawn, parts, strict=True)):
        own, bonds = [atoms[part] for atoms in trajectory], bonded(smiles)
        changes = [other_bonds(atoms, bonds) for atoms in own]
        broken = next(((i, text) for i, text in enumerate(changes) if text), None)
        held = f"{broken[1]} after {broken[0] / picosecond:g} ps" if broken else "all hold"
        some = own[:: max(1, len(own) // N_LABELLED)][1:]
        labelled = label_frames(find_level("gfn2"), some, out / f"{n}.jsonl").frames
        wanted = np.concatenate([atoms.get_forces() for atoms in labelled])
        found = np.concatenate([each.forces for each in qiff.predict(potential, labelled)])
        root, error = np.sqrt(np.mean(wanted**2)), np.abs(found - wanted).mean()
        print(f"| `{smiles}` | {held} | {root:.2f} | {1000 * error:.0f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    parser.add_argument("--n-molecules", type=int, default=10)
    parser.add_argument("--picoseconds", type=float, default=100.0)
    main(**vars(parser.parse_args()))
