"""Recipes of the data sets that can be computed: a level of theory, and how frames are drawn.

A new data set is one `Recipe` in `RECIPES`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import ase
import numpy as np

from .engines.fci import FCI, diatomic
from .engines.pyscf import Molecular, program
from .level import Level
from .samplers import AbstractSampler, Listed, Sampling, Trajectory
from .sampling import normal_mode_displacements, relax, turned


@dataclass(frozen=True)
class Recipe:
    """A data set to compute.

    Args:
        level: the level of theory.
        description: how the frames are drawn, in words; part of the provenance.
        n_frames: number of frames unless another is asked for.
        uses: the fields of `Sampling` that change the frames.
        sampler: draws the frames.
    """

    level: Level
    description: str
    n_frames: int
    uses: tuple[str, ...]
    sampler: AbstractSampler


# --- levels of theory ------------------------------------------------------------------------

_PBE0 = Molecular("pbe0", "def2-tzvp")
PBE0 = Level("PBE0/def2-TZVP (RKS); analytic forces with grid response", _PBE0, program)
_MP2 = Molecular("mp2", "def2-svp")
MP2 = Level("MP2/def2-SVP, frozen core; analytic forces", _MP2, program)


# --- geometries -----------------------------------------------------------------------------


def _lih(sampling: Sampling) -> list[ase.Atoms]:
    return [diatomic("LiH", length) for length in np.linspace(0.9, 4.5, sampling.n_frames)]


def _harmonic(name: str) -> Callable[[Sampling], list[ase.Atoms]]:
    """The relaxed molecule, then Wigner samples of its normal modes in random orientation."""

    def geometries(sampling: Sampling) -> list[ase.Atoms]:
        from ase.build import molecule

        relaxed = relax(molecule(name), PBE0.label)
        hessian = _PBE0.hessian(relaxed)
        rng = np.random.default_rng(sampling.seed)
        n = sampling.n_frames - 1
        steps = normal_mode_displacements(relaxed, hessian, sampling.temperature, n, rng)
        drawn = []
        for step in steps:
            moved = relaxed.copy()
            moved.positions += step
            drawn.append(turned(moved, rng))
        return [relaxed, *drawn]

    return geometries


def _dimer() -> ase.Atoms:
    """Two water molecules, the first one's second hydrogen towards the second one's oxygen."""
    return ase.Atoms(
        "OHHOHH",
        positions=[
            [-1.55, -0.11, 0.0],
            [-1.93, 0.76, 0.0],
            [-0.60, 0.04, 0.0],
            [1.35, 0.11, 0.0],
            [1.68, -0.37, -0.76],
            [1.68, -0.37, 0.76],
        ],
    )


def _dimer_cut(sampling: Sampling) -> list[ase.Atoms]:
    """The relaxed dimer, its bridging hydrogen moved along its bond."""
    relaxed = relax(_dimer(), MP2.label)
    bond = relaxed.positions[2] - relaxed.positions[0]
    frames = []
    for shift in np.linspace(-0.2, 0.5, sampling.n_frames):
        moved = relaxed.copy()
        moved.positions[2] += shift * bond / np.linalg.norm(bond)
        frames.append(moved)
    return frames


_HARMONIC = (
    "frame 0 the relaxed molecule; then harmonic Wigner samples (zero-point motion included) of "
    "its normal modes at `temperature` K, each in a random orientation"
)

RECIPES: dict[str, Recipe] = {
    "lih": Recipe(
        level=FCI,
        description="bond lengths on an even grid from 0.9 to 4.5 Å",
        n_frames=181,
        uses=("n_frames",),
        sampler=Listed(_lih),
    ),
    "water": Recipe(
        level=PBE0,
        description=_HARMONIC,
        n_frames=1001,
        uses=("n_frames", "temperature", "seed"),
        sampler=Listed(_harmonic("H2O")),
    ),
    "ammonia": Recipe(
        level=PBE0,
        description=_HARMONIC,
        n_frames=501,
        uses=("n_frames", "temperature", "seed"),
        sampler=Listed(_harmonic("NH3")),
    ),
    "water-dimer": Recipe(
        level=MP2,
        description="ab initio molecular dynamics from the relaxed dimer: BAOAB Langevin "
        "thermostat at `temperature` K with time constant 100 fs, timestep 1 fs, a frame every "
        "3 fs after the first 150 fs; atoms in the order O, H, H of each molecule",
        n_frames=1501,
        uses=("n_frames", "temperature", "seed"),
        sampler=Trajectory(
            _dimer, timestep=1.0, interval=3, equilibration=150, friction_time=100.0
        ),
    ),
    "water-dimer-cut": Recipe(
        level=MP2,
        description="the relaxed dimer, its bridging hydrogen moved along its O-H bond by -0.2 to "
        "0.5 Å on an even grid, all else fixed",
        n_frames=141,
        uses=("n_frames",),
        sampler=Listed(_dimer_cut),
    ),
}
