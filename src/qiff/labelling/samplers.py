"""How the frames of a computed data set are drawn and labelled."""

import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import cast

import ase
import ase.units
import numpy as np
from ase.calculators.calculator import Calculator, all_changes, all_properties
from ase.calculators.singlepoint import SinglePointCalculator

from .._checks import check_at_least, check_positive, check_seed
from .._workers import Map
from ..atoms.properties import labels
from .journal import Outcome
from .level import Labeller, label_one
from .sampling import relax


@dataclass(frozen=True)
class Sampling:
    """How geometries are drawn.

    Args:
        n_frames: number of frames that are drawn; 0 means the number of the recipe.
        temperature: K.
        seed: of the geometries.
        n_heavy: atoms that are not hydrogen in a random molecule, at most; 0 means the number of
            the recipe.
        n_each: frames of each random molecule; 0 means the number of the recipe.
    """

    n_frames: int = 0
    temperature: float = 300.0
    seed: int = 0
    n_heavy: int = 0
    n_each: int = 0

    def __post_init__(self):
        for name in ("n_frames", "n_heavy", "n_each"):
            check_at_least(name, getattr(self, name), 0)
        check_seed(self.seed)
        check_positive("temperature", self.temperature)


class AbstractSampler(abc.ABC):
    """Draws the frames of a data set and labels them; an interrupted computation resumes."""

    @abc.abstractmethod
    def start(self, sampling: Sampling, label: Labeller) -> list[ase.Atoms]:
        """Structures that are computed once, before the first frame."""

    @abc.abstractmethod
    def frames(
        self,
        sampling: Sampling,
        label: Labeller,
        start: Sequence[ase.Atoms],
        done: Mapping[int, Outcome],
        map: Map,
    ) -> Iterator[tuple[int, Outcome]]:
        """Label the frames that are not done.

        Args:
            sampling: how frames are drawn.
            label: the level of theory.
            start: what the method `start` gave.
            done: outcomes by index.
            map: applies a function to frames that do not depend on each other.

        Returns:
            Indices and labelled frames, or why they are left out, in any order.
        """


@dataclass(frozen=True)
class Listed(AbstractSampler):
    """Structures drawn beforehand, labelled independently of each other."""

    geometries: Callable[[Sampling], list[ase.Atoms]]

    def start(self, sampling: Sampling, label: Labeller) -> list[ase.Atoms]:
        return self.geometries(sampling)

    def frames(
        self,
        sampling: Sampling,
        label: Labeller,
        start: Sequence[ase.Atoms],
        done: Mapping[int, Outcome],
        map: Map,
    ) -> Iterator[tuple[int, ase.Atoms]]:
        missing = [(index, atoms) for index, atoms in enumerate(start) if index not in done]
        yield from map(partial(label_one, label), missing)


@dataclass(frozen=True)
class Trajectory(AbstractSampler):
    """Ab initio molecular dynamics with a Langevin thermostat from a relaxed structure.

    Frames follow from each other and are labelled one by one. Random numbers depend on seed and
    frame alone, so that a trajectory can be resumed.

    Args:
        structure: the initial structure; it is relaxed first.
        timestep: fs.
        interval: steps from frame to frame.
        equilibration: steps before the first frame.
        friction_time: time constant of the thermostat in fs.
    """

    structure: Callable[[], ase.Atoms]
    timestep: float
    interval: int
    equilibration: int
    friction_time: float

    def start(self, sampling: Sampling, label: Labeller) -> list[ase.Atoms]:
        return [relax(self.structure(), label)]

    def frames(
        self,
        sampling: Sampling,
        label: Labeller,
        start: Sequence[ase.Atoms],
        done: Mapping[int, Outcome],
        map: Map,
    ) -> Iterator[tuple[int, ase.Atoms]]:
        from ase.md.langevinbaoab import LangevinBAOAB

        random = [np.random.default_rng([sampling.seed, n]) for n in range(sampling.n_frames + 1)]
        first = next(n for n in count() if n not in done)
        last = cast(ase.Atoms, done[first - 1]) if first else start[0]
        atoms, calculator = last.copy(), LabelCalculator(label)
        if first:  # its results are known
            calculator.atoms, calculator.results = last.copy(), dict(labels(last))
        else:  # velocities of Maxwell and Boltzmann
            spread = np.sqrt(atoms.get_masses() * ase.units.kB * sampling.temperature)
            atoms.set_momenta(random[-1].standard_normal((len(atoms), 3)) * spread[:, None])
        atoms.calc = calculator
        dynamics = LangevinBAOAB(
            atoms,
            self.timestep * ase.units.fs,
            temperature_K=sampling.temperature,
            T_tau=self.friction_time * ase.units.fs,
            rng=random[0],
        )
        for index in range(first, sampling.n_frames):
            dynamics.rng = random[index]
            dynamics.run(self.interval if index else self.equilibration)
            atoms.get_potential_energy()
            found = atoms.copy()
            found.calc = SinglePointCalculator(found, **calculator.results)
            yield index, found


class LabelCalculator(Calculator):
    """A level of theory as a calculator of ASE, which computes all its results at once."""

    implemented_properties = all_properties

    def __init__(self, label: Labeller):
        super().__init__()
        self._label = label

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = dict(self._label(self.atoms))  # pyright: ignore[reportArgumentType]
