"""Labelled frames of molecular dynamics at a level of theory, to test models that never saw them.

    python runs/learn/trajectory.py smiles:CCO 400 OUT.xyz [PICOSECONDS [FRAMES [LEVEL [SEED]]]]

Langevin dynamics with a step of 0.5 fs and a time constant of 100 fs from the relaxed structure;
the first picosecond is left out, and frames are kept at equal times.
"""

import sys
from pathlib import Path

import ase.units
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevinbaoab import LangevinBAOAB

import qiff
from qiff.atoms.data.dataset import write
from qiff.labelling.level import Level
from qiff.labelling.levels import find_level
from qiff.labelling.samplers import LabelCalculator
from qiff.labelling.sampling import relax

TIMESTEP = 0.5  # fs
SKIPPED = 1.0  # ps


def trajectory(
    start: ase.Atoms, level: Level, temperature: float, picoseconds: float, n_frames: int, seed: int
) -> list[ase.Atoms]:
    """Labelled frames at equal times, after the first picosecond."""
    rng = np.random.default_rng(seed)
    atoms = relax(start, level.label, 0.01)
    spread = np.sqrt(atoms.get_masses() * ase.units.kB * temperature)
    atoms.set_momenta(rng.standard_normal((len(atoms), 3)) * spread[:, None])
    atoms.calc = LabelCalculator(level.label)
    dynamics = LangevinBAOAB(
        atoms,
        TIMESTEP * ase.units.fs,
        temperature_K=temperature,
        T_tau=100 * ase.units.fs,
        rng=rng,
    )
    dynamics.run(int(1000 * SKIPPED / TIMESTEP))
    frames = []
    for _ in range(n_frames):
        dynamics.run(int(1000 * picoseconds / TIMESTEP / n_frames))
        atoms.get_potential_energy()
        frame = atoms.copy()
        frame.arrays.pop("momenta")
        frame.calc = SinglePointCalculator(frame, **atoms.calc.results)
        frames.append(frame)
    return frames


if __name__ == "__main__":
    source, temperature, out, *rest = sys.argv[1:]
    defaults = ("10", "500", "gfn2", "0")
    picoseconds, n_frames, level, seed = [*rest, *defaults[len(rest) :]]
    (start,) = qiff.read(qiff.Source(source))
    numbers = float(temperature), float(picoseconds), int(n_frames), int(seed)
    write(Path(out), trajectory(start, find_level(level), *numbers))
