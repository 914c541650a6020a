"""How the geometries of a computed data set are drawn, and how its frames are computed."""

import abc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import ase
import ase.units
import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.singlepoint import SinglePointCalculator
from jaxtyping import Float

from .._checks import check_at_least, check_positive, check_seed
from ..atoms.rigid import n_rigid
from .level import Label


@dataclass(frozen=True)
class Sampling:
    """How geometries are drawn.

    Args:
        n_frames: number of frames; 0 means the number of the recipe.
        temperature: K.
        seed: of the geometries.
    """

    n_frames: int = 0
    temperature: float = 300.0
    seed: int = 0

    def __post_init__(self):
        check_at_least("n_frames", self.n_frames, 0)
        check_seed(self.seed)
        check_positive("temperature", self.temperature)


Labeller = Callable[[ase.Atoms], Label]


class AbstractFrames(abc.ABC):
    """How the frames of a data set come about; a computation that was cut short goes on."""

    @abc.abstractmethod
    def start(self, sampling: Sampling) -> list[ase.Atoms]:
        """What is computed once, before the first frame."""

    @abc.abstractmethod
    def frames(
        self, sampling: Sampling, start: list[ase.Atoms], done: Sequence[ase.Atoms]
    ) -> Iterator[ase.Atoms]:
        """The labelled frames after those that are done."""


@dataclass(frozen=True)
class Listed(AbstractFrames):
    """Geometries drawn beforehand, labelled one by one."""

    geometries: Callable[[Sampling], list[ase.Atoms]]
    label: Labeller

    def start(self, sampling: Sampling) -> list[ase.Atoms]:
        return self.geometries(sampling)

    def frames(
        self, sampling: Sampling, start: list[ase.Atoms], done: Sequence[ase.Atoms]
    ) -> Iterator[ase.Atoms]:
        for atoms in start[len(done) :]:
            energy, forces = self.label(atoms)
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
            yield atoms


@dataclass(frozen=True)
class Trajectory(AbstractFrames):
    """Ab initio molecular dynamics with a Langevin thermostat from a relaxed structure.

    Random numbers depend on seed and frame alone, so that a trajectory can be resumed.

    Args:
        structure: where to begin; it is relaxed first.
        label: the level of theory.
        timestep: fs.
        interval: steps from frame to frame.
        equilibration: steps before the first frame.
        friction_time: time constant of the thermostat in fs.
    """

    structure: Callable[[], ase.Atoms]
    label: Labeller
    timestep: float
    interval: int
    equilibration: int
    friction_time: float

    def start(self, sampling: Sampling) -> list[ase.Atoms]:
        return [relax(self.structure(), self.label)]

    def frames(
        self, sampling: Sampling, start: list[ase.Atoms], done: Sequence[ase.Atoms]
    ) -> Iterator[ase.Atoms]:
        from ase.md.langevinbaoab import LangevinBAOAB

        random = [np.random.default_rng([sampling.seed, n]) for n in range(sampling.n_frames + 1)]
        atoms = (done[-1] if done else start[0]).copy()
        if not done:  # velocities of Maxwell and Boltzmann
            spread = np.sqrt(atoms.get_masses() * ase.units.kB * sampling.temperature)
            atoms.set_momenta(random[-1].standard_normal((len(atoms), 3)) * spread[:, None])
        atoms.calc = _Labelled(self.label)
        dynamics = LangevinBAOAB(
            atoms,
            self.timestep * ase.units.fs,
            temperature_K=sampling.temperature,
            T_tau=self.friction_time * ase.units.fs,
            rng=random[0],
        )
        for frame in range(len(done), sampling.n_frames):
            dynamics.rng = random[frame]
            dynamics.run(self.interval if frame else self.equilibration)
            found = atoms.copy()
            found.calc = SinglePointCalculator(
                found, energy=atoms.get_potential_energy(), forces=atoms.get_forces()
            )
            yield found


class _Labelled(Calculator):
    """A level of theory as ASE asks for it."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, label: Labeller):
        super().__init__()
        self._label = label

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        energy, forces = self._label(self.atoms)  # pyright: ignore[reportArgumentType]
        self.results = {"energy": energy, "forces": forces}


def wigner(
    atoms: ase.Atoms,
    hessian: np.ndarray,
    temperature: float,
    n_frames: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "n_frames n_atoms 3"]:
    r"""Displacements of harmonic modes in thermal equilibrium, zero-point motion included.

    Each mass-weighted normal coordinate is normal with variance
    $\frac{\hbar}{2\omega}\coth\frac{\hbar\omega}{2k_BT}$; translations and rotations are left out.
    """
    root_mass = np.sqrt(atoms.get_masses()).repeat(3)
    squares, modes = np.linalg.eigh(hessian / np.outer(root_mass, root_mass))
    rigid = n_rigid(atoms)
    omega, modes = np.sqrt(squares[rigid:]), modes[:, rigid:]  # ASE units: 1/time with eV, Å, amu
    quantum = ase.units._hbar * ase.units.J * ase.units.s * omega  # ħω in eV
    variance = 1 / np.tanh(quantum / (2 * ase.units.kB * temperature)) / (2 * omega**2) * quantum
    normal = rng.normal(size=(n_frames, len(omega))) * np.sqrt(variance)
    return (normal @ modes.T / root_mass).reshape(n_frames, -1, 3)


def turned(atoms: ase.Atoms, rng: np.random.Generator) -> ase.Atoms:
    """A copy in a random orientation."""
    moved = atoms.copy()
    phi, theta, psi = (
        rng.uniform(0, 360),
        np.degrees(np.arccos(rng.uniform(-1, 1))),
        rng.uniform(0, 360),
    )
    moved.euler_rotate(phi, theta, psi, center="COM")  # pyright: ignore[reportArgumentType]
    return moved


def relax(atoms: ase.Atoms, label: Labeller) -> ase.Atoms:
    """Minimise the energy of `label` to forces below 1e-4 eV/Å."""
    from scipy.optimize import minimize

    def energy_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        moved = ase.Atoms(numbers=atoms.numbers, positions=flat.reshape(-1, 3))
        energy, forces = label(moved)
        return energy, -forces.ravel()

    found = minimize(energy_and_gradient, atoms.positions.ravel(), jac=True, options={"gtol": 1e-4})
    return ase.Atoms(numbers=atoms.numbers, positions=found.x.reshape(-1, 3))
