"""Errors of a model by the number of carbon atoms, as a Markdown table.

    python runs/organic/sizes.py MODEL alkanes.xyz

Of the test part alone, if the data have one. Energies are compared up to a constant for each size.
"""

import sys
from collections import defaultdict

import numpy as np

import qiff

if __name__ == "__main__":
    model, path = sys.argv[1:]
    potential, sizes = qiff.load(model), defaultdict(list)
    frames = qiff.read(qiff.Source(path), need_energy=True, need_forces=True)
    for atoms in [a for a in frames if a.info.get("part") == "test"] or frames:
        sizes[atoms.numbers.tolist().count(6)].append(atoms)
    print("| carbon atoms | frames | forces MAE (meV/Å) | energy MAE (meV/atom) |")
    print("|---|---|---|---|")
    for size, same in sorted(sizes.items()):
        found = qiff.predict(potential, same)
        pairs = list(zip(found, same, strict=True))
        wrong = np.array([(f.energy - a.get_potential_energy()) / len(a) for f, a in pairs])
        forces = [np.abs(f.forces - a.get_forces()).mean() for f, a in pairs]
        mean = 1000 * np.mean(np.abs(wrong - wrong.mean()))
        print(f"| {size} | {len(same)} | {1000 * np.mean(forces):.1f} | {mean:.2f} |", flush=True)
