"""Frames by ωB97X/6-31G(d) of many molecules, to fine-tune on; energies of one program alone.

    python runs/organic/dft_data.py FOLDER OUT

FOLDER has `train.xyz`, `val.xyz`, `test.xyz` and `test_s66x8.xyz`, whose frames have `group` in
`info`. Energies of the group `t1x_orca` lie some 0.1 eV from those of the others, by another amount
in each molecule: its frames keep their forces alone.
"""

import sys
from pathlib import Path

import ase
from ase.calculators.singlepoint import SinglePointCalculator

import qiff
from qiff.atoms.data.dataset import write

OF_ANOTHER = "t1x_orca"


def kept(atoms: ase.Atoms) -> ase.Atoms:
    """The frame, without its energy if that is of another program."""
    if atoms.info["group"] == OF_ANOTHER:
        atoms.calc = SinglePointCalculator(atoms, forces=atoms.get_forces())
    return atoms


if __name__ == "__main__":
    source, out = map(Path, sys.argv[1:])
    for name, parts in (
        ("train", ("train", "val")), ("test", ("test",)), ("s66x8", ("test_s66x8",)),
    ):  # fmt: skip
        frames = [a for part in parts for a in qiff.read(qiff.Source(str(source / f"{part}.xyz")))]
        write(out / f"{name}.xyz", [kept(atoms) for atoms in frames])
        print(f"{out / name}.xyz: {len(frames)} frames")
