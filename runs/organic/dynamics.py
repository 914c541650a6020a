"""Dynamics of molecules that a model was not trained on: do bonds hold, and are the forces right?

    python runs/organic/dynamics.py RUN organic.xyz OUT [--n-molecules 10] [--picoseconds 100]

RUN is the folder of a run on `qiff data make organic`. Molecules are drawn from its test part, seed
0; each starts from its first frame, at 300 K, NVT. Bonds are those of the SMILES, as in the data.
Ten frames of every trajectory are labelled with GFN2-xTB. Trajectories that are there are resumed.
"""

import argparse
import json
from pathlib import Path

import numpy as np

import qiff
from qiff.dynamics.resume import simulated
from qiff.dynamics.trajectory import read_trajectory
from qiff.labelling.batch import label_frames
from qiff.labelling.levels import find_level
from qiff.labelling.molecules import bonded, other_bonds

TIMESTEP, INTERVAL, N_LABELLED = 0.5, 200, 10  # fs, steps


def main(run: Path, data: str, out: Path, n_molecules: int, picoseconds: float) -> None:
    """Print the table, row by row."""
    frames = qiff.read(qiff.Source(data))
    test = json.loads((run / "split.json").read_text())["test"]
    first = {frames[i].info["smiles"]: frames[i] for i in sorted(test, reverse=True)}
    drawn = np.random.default_rng(0).permutation(sorted(first))[:n_molecules]
    potential, origin = qiff.load(run / "model.qiff"), {"model": str(run)}
    steps = round(1000 * picoseconds / TIMESTEP)
    dynamics = qiff.Dynamics("nvt", 300.0, TIMESTEP, steps, INTERVAL)
    print("| molecule | ps | temperature (K) | bonds | forces, RMS (eV/Å) | forces MAE (meV/Å) |")
    print("|---|---|---|---|---|---|")
    for n, smiles in enumerate(drawn):
        path = out / f"{n}.xyz"
        record = simulated(potential, first[smiles], dynamics, path, origin, lambda steps: None)
        trajectory = read_trajectory(path)
        changes = [other_bonds(atoms, bonded(smiles)) for atoms in trajectory]
        broken = next(((i, text) for i, text in enumerate(changes) if text), None)
        when = INTERVAL * TIMESTEP / 1000
        held = "all hold" if broken is None else f"{broken[1]} after {broken[0] * when:g} ps"
        some = trajectory[:: max(1, len(trajectory) // N_LABELLED)][1:]
        labelled = label_frames(find_level("gfn2"), some, out / f"{n}-labels.jsonl").frames
        wanted = np.concatenate([atoms.get_forces() for atoms in labelled])
        found = np.concatenate([each.forces for each in qiff.predict(potential, labelled)])
        root, error = np.sqrt(np.mean(wanted**2)), np.abs(found - wanted).mean()
        time, kelvin = (len(trajectory) - 1) * when, round(record["mean_temperature"])
        row = f"`{smiles}`", f"{time:g}", kelvin, held, f"{root:.2f}", f"{1000 * error:.0f}"
        print("|", " | ".join(map(str, row)), "|", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    parser.add_argument("--n-molecules", type=int, default=10)
    parser.add_argument("--picoseconds", type=float, default=100.0)
    main(**vars(parser.parse_args()))
