"""Molecular dynamics with any potential in one compiled loop, and what is reported of it."""

import csv
import errno
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import ase
import ase.units
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from jaxtyping import Array, Bool, Float, Int

from .._checks import RunError, check_at_least, check_known, check_positive, check_seed
from .._files import atomic_write
from .._types import Energy, Forces, Numbers, Positions
from ..atoms.graph import Graph
from ..atoms.neighbours import VerletList
from ..atoms.rigid import n_rigid
from ..model.derivatives import energy_and_forces
from ..model.potential import AbstractPotential
from ..model.predict import check_atoms, dtype, enable_x64

HOT = 20.0
"""Dynamics count as exploded above this multiple of the temperature plus `HOT_FLOOR`."""
HOT_FLOOR = 5000.0  # K
_STEPS_AT_ONCE = 2000  # between two looks at the clock and the keyboard
_SKIN = 1.0  # Å beyond the cutoff up to which neighbours are listed


@dataclass(frozen=True)
class Dynamics:
    """What is simulated.

    Args:
        ensemble: a key of `ENSEMBLES`.
        temperature: K; the velocities at the start are drawn from it.
        timestep: fs.
        steps: number of time steps.
        interval: steps between recorded frames.
        friction: of the thermostat, 1/fs.
        seed: of the velocities and the thermostat.
    """

    ensemble: str = "nve"
    temperature: float = 300.0
    timestep: float = 0.5
    steps: int = 4000
    interval: int = 10
    friction: float = 0.01
    seed: int = 0

    def __post_init__(self):
        check_known("StatisticalEnsemble", self.ensemble, ENSEMBLES)
        check_at_least("temperature", self.temperature, 0)
        check_positive("timestep", self.timestep)
        check_at_least("steps", self.steps, 1)
        check_at_least("interval", self.interval, 1)
        check_positive("friction", self.friction)
        check_seed(self.seed)

    @property
    def recorded(self) -> Int[np.ndarray, " n_frames"]:
        """Steps after which a frame is recorded, the first and last among them."""
        return np.array([*range(0, self.steps, self.interval), self.steps])


Momenta = Float[Array, "n_atoms 3"]
"""In ASE units, as positions in Å, energies in eV and masses in u make them."""


class Bath(NamedTuple):
    r"""A thermostat: momenta $p \to c\,p + \sqrt{1-c^2}\,\sqrt{m k_B T}\,\xi$ in one time step."""

    keep: Float[Array, ""]
    width: Float[Array, "n_atoms 1"]
    key: Array


def _isolate(momenta: Momenta, bath: Bath, step: Int[Array, ""]) -> Momenta:
    return momenta


def _exchange_heat(momenta: Momenta, bath: Bath, step: Int[Array, ""]) -> Momenta:
    key = jax.random.fold_in(bath.key, step)
    noise = jax.random.normal(key, momenta.shape, momenta.dtype)
    return bath.keep * momenta + jnp.sqrt(1 - bath.keep**2) * bath.width * noise


@dataclass(frozen=True)
class StatisticalEnsemble:
    """What happens to the momenta in the middle of a time step, and whether that is nothing.

    An isolated molecule conserves energy and momentum, and starts without translation and rotation.
    """

    thermostat: Callable[[Momenta, Bath, Int[Array, ""]], Momenta]
    isolated: bool


ENSEMBLES: dict[str, StatisticalEnsemble] = {
    "nve": StatisticalEnsemble(_isolate, isolated=True),
    "nvt": StatisticalEnsemble(_exchange_heat, isolated=False),
}


class Sample(NamedTuple):
    """A recorded frame: time in fs, energies in eV, temperature in K."""

    time: float
    potential: float
    kinetic: float
    temperature: float

    @property
    def total(self) -> float:
        return self.potential + self.kinetic


@dataclass(frozen=True)
class Report:
    """What a trajectory was like.

    `drift` is the slope of a straight line through the total energy, in meV/atom/ps, and
    `spread` the standard deviation around that line, in meV/atom; `momentum_change` is the
    largest change of a component of the total momentum, in ASE units. All three are None unless
    the ensemble conserves energy and momentum.
    """

    n_atoms: int
    n_steps: int
    picoseconds: float
    mean_temperature: float
    drift: float | None = None
    spread: float | None = None
    momentum_change: float | None = None


def simulate(
    potential: AbstractPotential,
    atoms: ase.Atoms,
    dynamics: Dynamics,
    path: Path,
    after_frame: Callable[[int], None] = lambda steps: None,
    motion: "Integrator | None" = None,
) -> tuple[list[Sample], Report]:
    """Run dynamics and record frames in the extxyz file `path`.

    Args:
        potential: any potential.
        atoms: the start; velocities are drawn anew.
        dynamics: what to simulate.
        path: the trajectory, replaced if it exists.
        after_frame: called with the number of steps done at every recorded frame.
        motion: how positions and momenta move; default `compiled`, with exact forces.

    Returns:
        The recorded frames, the first and last step among them, and a report.

    Raises:
        InputError: the potential cannot describe the atoms.
        RunError: the dynamics exploded; the frames so far are in `path`.
    """
    ensemble = ENSEMBLES[dynamics.ensemble]
    check_atoms(potential, atoms, "atoms")
    atoms = atoms.copy()
    atoms.set_constraint()
    n_free = _thermalise(atoms, dynamics, ensemble.isolated)
    limit = n_free * ase.units.kB * (HOT * dynamics.temperature + HOT_FLOOR) / 2
    samples: list[Sample] = []
    start, momentum_change = atoms.get_momenta().sum(0), 0.0
    points = (motion or compiled)(potential, atoms, dynamics, limit)
    atomic_write(path, "")
    with io.FileIO(path, "a") as trajectory:
        for done, point in points:
            atoms.positions, forces = point.positions, np.asarray(point.forces)
            atoms.set_momenta(point.momenta)
            sample = _sample(atoms, done * dynamics.timestep, float(point.energy), n_free)
            if not point.stable:
                raise RunError(
                    f"the dynamics exploded at {sample.time:g} fs ({sample.temperature:.3g} K): "
                    f"use a smaller timestep or check the model; the frames before are in {path}."
                )
            atoms.calc = SinglePointCalculator(atoms, energy=sample.potential, forces=forces)
            _append(trajectory, atoms)
            samples.append(sample)
            moved = np.abs(atoms.get_momenta().sum(0) - start).max()
            momentum_change = max(momentum_change, float(moved))
            after_frame(done)
    conserved = _conservation(samples, len(atoms), momentum_change) if ensemble.isolated else {}
    return samples, Report(
        n_atoms=len(atoms),
        n_steps=dynamics.steps,
        picoseconds=samples[-1].time / 1000,
        mean_temperature=float(np.mean([sample.temperature for sample in samples])),
        **conserved,
    )


class MDState(eqx.Module):
    """Where the dynamics are; `stable` as long as the kinetic energy has not run away."""

    positions: Positions
    momenta: Momenta
    energy: Energy
    forces: Forces
    step: Int[Array, ""]
    stable: Bool[Array, ""]


Integrator = Callable[
    [AbstractPotential, ase.Atoms, Dynamics, float], Iterator[tuple[int, MDState]]
]
"""Steps done and the point reached at every recorded frame, up to a kinetic energy in eV."""


def compiled(
    potential: AbstractPotential, atoms: ase.Atoms, dynamics: Dynamics, limit: float
) -> Iterator[tuple[int, MDState]]:
    """See `Integrator`; in numpy.

    Positions and momenta are float64 whatever the precision of the potential. The loop stops
    before a step that takes an atom further than neighbours are listed for, and lists them anew.
    """
    ends = dynamics.recorded
    size, skin = max(1, min(len(ends), _STEPS_AT_ONCE // dynamics.interval)), _SKIN
    thermostat = ENSEMBLES[dynamics.ensemble].thermostat
    with enable_x64(True):
        masses = jnp.asarray(atoms.get_masses()[:, None])
        timestep = jnp.asarray(dynamics.timestep * ase.units.fs)
        bath = Bath(
            jnp.exp(-dynamics.friction * dynamics.timestep),
            jnp.sqrt(masses * ase.units.kB * dynamics.temperature),
            jax.random.key(dynamics.seed),
        )
        course = _Course(masses, timestep, jnp.asarray(limit), bath)
        numbers = jnp.asarray(atoms.numbers.astype("int32"))
        offset = jnp.asarray(potential.reference_energy(atoms.numbers))
        near = VerletList.of(atoms.positions, potential.cutoff, skin)
        surface = _Surface(potential, offset, numbers, near)
        point = _first_point(
            surface, jnp.asarray(atoms.positions), jnp.asarray(atoms.get_momenta())
        )
    while len(ends):
        chunk, before = ends[:size], int(point.step)
        with enable_x64(True):
            padded = np.pad(chunk, (0, size - len(chunk)), mode="edge")
            point, points = _run(surface, point, padded, course, thermostat)
            frames = jax.tree.map(np.asarray, points)
        n_done = np.count_nonzero(((frames.step == padded) | ~frames.stable)[: len(chunk)])
        for k in range(n_done):
            frame = jax.tree.map(lambda values, k=k: values[k], frames)
            yield int(frame.step), frame
        ends = ends[n_done:]
        if n_done < len(chunk):
            skin *= 2 if int(point.step) == before else 1  # a single step was too long for it
            near = VerletList.of(np.asarray(point.positions), potential.cutoff, skin)
            surface = eqx.tree_at(lambda s: s.near, surface, near)


class _Course(eqx.Module):
    """What stays the same in all steps; `limit` is the kinetic energy of an explosion."""

    masses: Float[Array, "n_atoms 1"]
    timestep: Float[Array, ""]
    limit: Energy
    bath: Bath


class _Surface(eqx.Module):
    """A potential energy surface: energy and forces of these atoms, as far as `near` holds."""

    potential: AbstractPotential
    offset: Energy
    numbers: Numbers
    near: VerletList

    def __call__(self, positions: Positions) -> tuple[Energy, Forces]:
        at, near = positions.astype(dtype(self.potential)), self.near.table
        graph = Graph(positions=at, numbers=self.numbers, **near._asdict())
        energy, forces = energy_and_forces(self.potential, graph)
        return self.offset + energy.astype(positions.dtype), forces.astype(positions.dtype)


@eqx.filter_jit
def _first_point(surface: _Surface, positions: Positions, momenta: Momenta) -> MDState:
    return MDState(positions, momenta, *surface(positions), jnp.zeros((), int), jnp.array(True))


@eqx.filter_jit
def _run(
    surface: _Surface,
    point: MDState,
    ends: Int[np.ndarray, " n_frames"],
    course: _Course,
    thermostat: Callable[[Momenta, Bath, Int[Array, ""]], Momenta],
) -> tuple[MDState, MDState]:
    """The last point, and those after so many steps in all.

    An explosion stops all steps, and so does one after which `surface.near` would not hold: it is
    not made.

    A time step is half a kick, half a drift, the thermostat, and the same backwards: velocity
    Verlet for an isolated molecule, else Langevin dynamics in the BAOAB splitting (Leimkuhler and
    Matthews, Appl. Math. Res. Express 2013, 34).
    """

    def step(point: MDState, _: Array) -> tuple[MDState, Array]:
        half, drift = course.timestep / 2, course.timestep / 2 / course.masses
        momenta = point.momenta + half * point.forces
        positions = point.positions + drift * momenta
        momenta = thermostat(momenta, course.bath, point.step)
        positions = positions + drift * momenta
        energy, forces = surface(positions)
        momenta = momenta + half * forces
        stable = jnp.sum(momenta**2 / course.masses) / 2 < course.limit
        after = MDState(positions, momenta, energy, forces, point.step + 1, stable)
        holds = surface.near.is_complete(positions)
        return jax.tree.map(lambda new, old: jnp.where(holds, new, old), after, point), holds

    def frame(state: tuple[MDState, Array], end: Int[Array, ""]) -> tuple[Any, MDState]:
        goes_on = lambda point, holds: point.stable & holds & (point.step < end)
        state = jax.lax.while_loop(lambda s: goes_on(*s), lambda s: step(*s), state)
        return state, state[0]

    (point, _), points = jax.lax.scan(frame, (point, jnp.array(True)), jnp.asarray(ends))
    return point, points


def samples_csv(samples: Sequence[Sample]) -> str:
    """The samples as a table with units in its header."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["time_fs", "potential_eV", "kinetic_eV", "total_eV", "temperature_K"])
    table.writerows((s.time, s.potential, s.kinetic, s.total, s.temperature) for s in samples)
    return text.getvalue()


def _thermalise(atoms: ase.Atoms, dynamics: Dynamics, isolated: bool) -> int:
    """Draw Maxwell–Boltzmann velocities, scaled to the temperature exactly.

    Returns:
        The number of degrees of freedom that have the temperature.
    """
    from ase.md.velocitydistribution import Stationary, ZeroRotation

    n_free, rng = 3 * len(atoms), np.random.default_rng(dynamics.seed)
    width = np.sqrt(atoms.get_masses() * ase.units.kB * dynamics.temperature)[:, None]
    atoms.set_momenta(width * rng.normal(size=(len(atoms), 3)))
    if isolated:
        Stationary(atoms, preserve_temperature=False)
        with np.errstate(invalid="ignore", divide="ignore"):  # the axis of a linear molecule
            ZeroRotation(atoms, preserve_temperature=False)
        n_free -= n_rigid(atoms)
    now = _temperature(atoms, n_free)
    if now > 0:
        atoms.set_momenta(atoms.get_momenta() * np.sqrt(dynamics.temperature / now))
    return n_free


def _temperature(atoms: ase.Atoms, n_free: int) -> float:
    return float(2 * atoms.get_kinetic_energy() / (n_free * ase.units.kB)) if n_free else 0.0


def _sample(atoms: ase.Atoms, time: float, energy: float, n_free: int) -> Sample:
    return Sample(time, energy, float(atoms.get_kinetic_energy()), _temperature(atoms, n_free))


def _append(trajectory: io.FileIO, atoms: ase.Atoms) -> None:
    """Write one whole frame with energy, forces and momenta, or nothing of it."""
    import ase.io

    text = io.StringIO()
    ase.io.write(text, atoms, format="extxyz")
    frame = text.getvalue().encode()
    start = trajectory.tell()
    if trajectory.write(frame) < len(frame):
        trajectory.truncate(start)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _conservation(samples: list[Sample], n_atoms: int, momentum_change: float) -> dict[str, float]:
    """Drift, spread and change of momentum, as in `Report`."""
    time = np.array([sample.time for sample in samples]) / 1000  # ps
    total = np.array([sample.total for sample in samples]) * 1000 / n_atoms  # meV/atom
    change = total - total[0]
    slope, offset = np.polyfit(time, change, 1)
    spread = np.std(change - slope * time - offset)
    return {"drift": float(slope), "spread": float(spread), "momentum_change": momentum_change}
