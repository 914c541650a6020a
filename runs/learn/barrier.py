"""Frames of malonaldehyde on the way of its proton from one oxygen atom to the other.

    python runs/learn/barrier.py START.xyz OUT.xyz [FRAMES]

The coordinate is $d = r(O_1H) - r(O_2H)$. Langevin dynamics at 300 K with the harmonic bias
$k(d - d_0)^2/2$ for several $d_0$; frames are labelled without the bias.
"""

import sys
from pathlib import Path

import ase
import ase.units
import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevinbaoab import LangevinBAOAB

from qiff.atoms.data.dataset import read, write
from qiff.atoms.data.source import Source
from qiff.labelling.level import Level
from qiff.labelling.levels import find_level

STIFFNESS = 20.0  # eV/Å²
CENTRES = (-0.3, -0.15, 0.0, 0.15, 0.3)  # Å


def proton(atoms: ase.Atoms) -> tuple[int, int, int]:
    """Indices of the two oxygen atoms and of the hydrogen atom nearest to both."""
    one, other = np.flatnonzero(atoms.numbers == 8)
    hydrogens = np.flatnonzero(atoms.numbers == 1)
    distances = atoms.get_all_distances()
    between = distances[one, hydrogens] + distances[other, hydrogens]
    return int(one), int(other), int(hydrogens[between.argmin()])


def coordinate(atoms: ase.Atoms) -> float:
    """The difference of the distances of the proton from both oxygen atoms in Å."""
    one, other, moved = proton(atoms)
    return float(atoms.get_distance(one, moved) - atoms.get_distance(other, moved))


class Biased(Calculator):
    """A level of theory and a harmonic bias on the coordinate."""

    implemented_properties = ("energy", "forces")  # pyright: ignore[reportAssignmentType]

    def __init__(self, level: Level, centre: float):
        super().__init__()
        self.level, self.centre = level, centre

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        here = self.atoms
        assert here is not None
        found = self.level.label(here)
        one, other, moved = proton(here)
        forces, off = np.array(found["forces"]), coordinate(here) - self.centre
        for oxygen, sign in ((one, 1), (other, -1)):
            step = here.positions[moved] - here.positions[oxygen]
            pull = -STIFFNESS * off * sign * step / np.linalg.norm(step)
            forces[moved] += pull
            forces[oxygen] -= pull
        energy = found["energy"] + STIFFNESS * off**2 / 2
        self.results = {"energy": energy, "forces": forces}


def frames(start: ase.Atoms, n_frames: int) -> list[ase.Atoms]:
    """Labelled frames, as many around each centre."""
    level, found = find_level("gfn2"), []
    for number, centre in enumerate(CENTRES):
        atoms, rng = start.copy(), np.random.default_rng(number)
        atoms.calc = Biased(level, centre)
        dynamics = LangevinBAOAB(
            atoms, 0.5 * ase.units.fs, temperature_K=300, T_tau=50 * ase.units.fs, rng=rng
        )
        dynamics.run(1000)
        for _ in range(n_frames // len(CENTRES)):
            dynamics.run(40)
            found.append(atoms.copy())
            found[-1].arrays.pop("momenta")
            found[-1].calc = SinglePointCalculator(found[-1], **level.label(found[-1]))
    return found


if __name__ == "__main__":
    (start,) = read(Source(f"{sys.argv[1]}@0"))
    write(Path(sys.argv[2]), frames(start, int([*sys.argv[3:], "200"][0])))
