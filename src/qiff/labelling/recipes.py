"""Recipes of the data sets that can be computed: a level of theory, and how frames are drawn.

A new data set is one `Recipe` in `RECIPES`.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import ase
import numpy as np

from .._checks import InputError
from ..atoms.data.smiles import import_rdkit, molecule_of
from ..atoms.data.source import PART
from .engines import tblite
from .engines.fci import FCI, diatomic
from .engines.pyscf import Molecular, program
from .growth import grown, scaffold
from .level import Level
from .molecules import Molecules
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
        n_heavy, n_each: of random molecules, unless others are asked for.
    """

    level: Level
    description: str
    n_frames: int
    uses: tuple[str, ...]
    sampler: AbstractSampler
    n_heavy: int = 0
    n_each: int = 0

    def completed(self, sampling: Sampling) -> Sampling:
        """With the numbers of the recipe where none is asked for.

        Raises:
            InputError: what is asked for does not change the frames.
        """
        for field in dataclasses.fields(Sampling):
            if field.name not in self.uses and getattr(sampling, field.name) != field.default:
                used = " and ".join(f"`{name}`" for name in self.uses)
                raise InputError(
                    f"`{field.name}` does not change this data set, which depends on {used} alone."
                )
        numbers = {
            name: getattr(sampling, name) or getattr(self, name)
            for name in ("n_frames", "n_heavy", "n_each")
        }
        return dataclasses.replace(sampling, **numbers)


# --- levels of theory ------------------------------------------------------------------------

_PBE0 = Molecular("pbe0", "def2-tzvp")
PBE0 = Level("PBE0/def2-TZVP (RKS); analytic forces with grid response", _PBE0, program)
_MP2 = Molecular("mp2", "def2-svp")
MP2 = Level("MP2/def2-SVP, frozen core; analytic forces", _MP2, program)


def _with_rdkit() -> str:
    return f"{tblite.program()}, RDKit {import_rdkit().__version__}"


_GFN2 = tblite.TightBinding("GFN2-xTB", accuracy=1.0)
GFN2 = Level("GFN2-xTB, accuracy 1.0 of tblite; analytic forces", _GFN2, _with_rdkit)


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


def _grown(sampling: Sampling) -> list[ase.Atoms]:
    """A molecule of `n_heavy` heavy atoms or fewer for every `n_each` frames."""
    names = grown(-(-sampling.n_frames // sampling.n_each), sampling.seed, sampling.n_heavy)
    return [_named(smiles, scaffold=scaffold(smiles)) for smiles in names]


def _alkanes(sampling: Sampling) -> list[ase.Atoms]:
    """C4 to C8 four times to train on, and C4 to C15 once to test on."""
    trained = [_named(n * "C") for n in range(4, 9) for _ in range(4)]
    return trained + [_named(n * "C", **{PART: "test"}) for n in range(4, 16)]


def _named(smiles: str, **info: str) -> ase.Atoms:
    atoms, _ = molecule_of(smiles)
    atoms.info |= info
    return atoms


_MODES = (
    "conformers by RDKit (ETKDG, MMFF94), relaxed at the level to 0.05 eV/Å; for each in turn the "
    "relaxed structure, then classical samples of its normal modes by MMFF94 (those below 150/cm "
    "taken to be at 150/cm), each at a temperature drawn evenly from `temperature` to twice that; "
    "positions are rounded to 1e-4 Å. Left out: molecules whose bonds change as they relax, frames "
    "with other bonds than their molecule or a force above 25 eV/Å"
)
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
    "organic": Recipe(
        level=GFN2,
        description="random molecules of H, C, N, O with up to `n_heavy` heavy atoms, each in "
        "`n_each` frames; " + _MODES,
        n_frames=24000,
        uses=("n_frames", "temperature", "seed", "n_heavy", "n_each"),
        sampler=Molecules(_grown, n_of_conformer=5),
        n_heavy=12,
        n_each=10,
    ),
    "alkanes": Recipe(
        level=GFN2,
        description="n-alkanes, an eighth of the frames for each of C4 to C8 to train on, a "
        "thirty-second for each of C4 to C15 to test on (`part=test`); " + _MODES,
        n_frames=3200,
        uses=("n_frames", "temperature", "seed"),
        sampler=Molecules(_alkanes, n_of_conformer=20),
    ),
}
