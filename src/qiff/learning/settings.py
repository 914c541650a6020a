"""What `qiff learn` does: frozen records, read from one TOML file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._checks import (
    InputError,
    check_at_least,
    check_known,
    check_positive,
    check_seed,
)
from ..labelling.levels import find_level
from ..run.config import DTYPES
from ..training.settings import Training
from .selection import SELECTIONS

MODEL = {"kind": "local", "n_circuits": 4, "n_interactions": 2, "n_hidden": 32}
"""The potential unless another is given."""

TRAINING = Training(
    steps=3000,
    batch_size=8,
    optimiser="muon",
    learning_rate=0.01,
    average=0.999,
    evaluate_every=500,
    forces_weight=30.0,
)
"""How it is fitted unless something else is given."""

STARTS = ("modes", "random")
"""How the frames of the first generation are displaced from the relaxed structures."""


@dataclass(frozen=True)
class Labels:
    """The level of theory, and how many of its calculations may be spent.

    Args:
        level: `gfn2`, `gfn1`, a method and a basis such as `pbe0/def2-svp`, or the import path of
            a calculator of ASE such as `ase.calculators.emt:EMT`; see `find_level`.
        settings: of the level, such as `charge`.
        budget: largest number of calculations, those of relaxations and of validation included.
    """

    level: str = "gfn2"
    settings: Mapping[str, Any] = field(default_factory=dict)
    budget: int = 1000

    def __post_init__(self):
        check_at_least("budget", self.budget, 10)
        find_level(self.level, self.settings)


@dataclass(frozen=True)
class Exploration:
    """How geometries are sampled.

    Args:
        start: how the frames of generation 0 are displaced: `modes`, by harmonic normal modes of
            each relaxed structure; or `random`, each atom by `displacement` at random, which needs
            no second derivatives.
        n_conformers: of each structure, to relax and to start dynamics from; 1 for the structure
            as it is.
        n_initial: frames of generation 0.
        displacement: standard deviation in Å of each coordinate, for `start = "random"`.
        relax: whether the structures are relaxed first, at the level of theory.
        temperatures: K, of the dynamics in generations 1, 2, …; the last one is repeated. Normal
            modes are sampled at the first.
        n_walkers: trajectories of each generation.
        picoseconds: length of each trajectory.
        timestep: fs.
        n_candidates: frames that are kept of all trajectories of a generation, at equal times.
    """

    start: str = "modes"
    n_conformers: int = 3
    n_initial: int = 100
    displacement: float = 0.05
    relax: bool = True
    temperatures: tuple[float, ...] = (300.0, 400.0, 500.0)
    n_walkers: int = 4
    picoseconds: float = 2.0
    timestep: float = 0.5
    n_candidates: int = 400

    def __post_init__(self):
        check_known("Start", self.start, STARTS)
        for name in ("n_conformers", "n_walkers"):
            check_at_least(name, getattr(self, name), 1)
        for name in ("n_initial", "n_candidates"):
            check_at_least(name, getattr(self, name), 10)
        for name in ("displacement", "picoseconds", "timestep"):
            check_positive(name, getattr(self, name))
        if not self.temperatures:
            raise InputError("`temperatures` must be at least one, but are none.")
        for temperature in self.temperatures:
            check_positive("temperatures", temperature)

    def temperature(self, generation: int) -> float:
        """Of the dynamics in a generation, from 1 on, in K."""
        return self.temperatures[min(generation, len(self.temperatures)) - 1]

    @property
    def interval(self) -> int:
        """Time steps between candidates."""
        n_steps = self.n_walkers * self.picoseconds * 1000 / self.timestep
        return max(1, int(n_steps / self.n_candidates))


@dataclass(frozen=True)
class Selection:
    """Which candidates are labelled to learn from.

    Args:
        method: `uncertain`: of those whose uncertainty is above the threshold the most different
            ones, or, if these are too few, of twice as many of the most uncertain ones; or
            `random`, for comparison.
        n_frames: at most so many in each generation.
        threshold: eV/Å, of the calibrated uncertainty of a force component on the least certain
            atom; 0 stands for three times the targeted error of the forces.
        largest_force: eV/Å; a frame with a larger one is labelled, but not learned from.
    """

    method: str = "uncertain"
    n_frames: int = 150
    threshold: float = 0.0
    largest_force: float = 30.0

    def __post_init__(self):
        check_known("Selection", self.method, SELECTIONS)
        check_at_least("n_frames", self.n_frames, 1)
        check_at_least("threshold", self.threshold, 0)
        check_positive("largest_force", self.largest_force)


@dataclass(frozen=True)
class Targets:
    """When learning ends, unless the budget is spent first.

    Errors are mean absolute ones on frames that were drawn at random from dynamics of the model
    and labelled afterwards; they are never learned from.

    Args:
        forces: eV/Å.
        energy: eV; of periodic systems eV for each atom.
        uncertain: share of the candidates above the threshold of `Selection`.
        picoseconds: length of the dynamics of the final model.
        temperature: K, of these.
        n_checked: frames that are labelled in each generation to measure errors.
        n_validated: frames of the final dynamics that are labelled to measure errors.
        hours: after which no further generation is begun; 0 for no limit.
    """

    forces: float = 0.015
    energy: float = 0.002
    uncertain: float = 0.02
    picoseconds: float = 50.0
    temperature: float = 400.0
    n_checked: int = 30
    n_validated: int = 100
    hours: float = 0.0

    def __post_init__(self):
        for name in ("forces", "energy", "picoseconds", "temperature"):
            check_positive(name, getattr(self, name))
        check_at_least("uncertain", self.uncertain, 0)
        check_at_least("n_checked", self.n_checked, 2)
        check_at_least("n_validated", self.n_validated, 2)
        check_at_least("hours", self.hours, 0)


@dataclass(frozen=True)
class Learn:
    """Everything that decides what `qiff learn` does.

    Args:
        structures: where to begin: files, or SMILES as `smiles:CCO`.
        label: the level of theory.
        explore: how geometries are sampled.
        select: which of them are labelled.
        model: `kind` and arguments of the potential, see `qiff.model.build`; without `kind` they
            are added to those of the default. `elements` are those of the structures unless they
            are given.
        train: how the potential is fitted in each generation, beginning with the weights of the
            generation before.
        final_steps: optimiser steps of the last fit, on everything that was labelled to learn from.
        targets: when to end.
        output: the folder.
        seed: of everything random.
        members: potentials of the ensemble whose spread is the uncertainty.
        dtype: precision of the weights.
    """

    structures: tuple[str, ...]
    label: Labels = field(default_factory=Labels)
    explore: Exploration = field(default_factory=Exploration)
    select: Selection = field(default_factory=Selection)
    model: Mapping[str, Any] = field(default_factory=lambda: dict(MODEL))
    train: Training = field(default_factory=lambda: TRAINING)
    final_steps: int = 12000
    targets: Targets = field(default_factory=Targets)
    output: str = "learned"
    seed: int = 0
    members: int = 3
    dtype: str = "float32"

    def __post_init__(self):
        if not self.structures:
            raise InputError("`structures` must name a file or a SMILES, but is empty.")
        if "kind" not in self.model:
            object.__setattr__(self, "model", {**MODEL, **self.model})
        check_at_least("members", self.members, 2)
        check_seed(self.seed)
        check_known("`dtype`", self.dtype, DTYPES)
        check_at_least("final_steps", self.final_steps, 1)

    @property
    def threshold(self) -> float:
        """Of the uncertainty, in eV/Å."""
        return self.select.threshold or 3 * self.targets.forces
