"""More molecules to train on, for the test part of `organic.toml`.

    qiff data make organic --n-frames 50000 --seed 1 --out more.xyz
    python runs/organic/join.py organic.xyz more.xyz OUT

OUT/test.xyz is the test part of `organic.toml`, and OUT/train.xyz all other frames of the
files, of which there can be more. No molecule is in both.
"""

import sys
from pathlib import Path

import qiff
from qiff.atoms.data.dataset import write

SEED = 0  # of `organic.toml`

if __name__ == "__main__":
    first, *more, out = sys.argv[1:]
    frames = qiff.read(qiff.Source(first))
    parts = qiff.split(frames, 0.8, 0.05, 0.15, SEED, "smiles")
    test = [frames[i] for i in sorted(parts.test)]
    tested = {atoms.info["smiles"] for atoms in test}
    all_frames = [*frames, *(atoms for path in more for atoms in qiff.read(qiff.Source(path)))]
    train = [atoms for atoms in all_frames if atoms.info["smiles"] not in tested]
    for name, chosen in (("train", train), ("test", test)):
        path = Path(out) / f"{name}.xyz"
        write(path, chosen)
        molecules = {atoms.info["smiles"] for atoms in chosen}
        print(f"{path}: {len(chosen)} frames of {len(molecules)} molecules")
