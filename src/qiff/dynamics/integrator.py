"""Integrators: what advances a simulation. The default is one compiled loop with exact forces."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import ase
import ase.units
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._precision import computing
from .._types import Energy
from ..atoms.graph import cell_of
from ..model.potential import AbstractPotential
from .barostats import BAROSTATS, Barostat, PressureBath, no_barostat, pressure_bath
from .forces import ForceEvaluator, Listing, force_evaluator
from .settings import Dynamics
from .state import MDState, Momenta, Vectors
from .thermostats import ENSEMBLES, HeatBath, Thermostat, heat_bath
from .velocities import fixed_atoms

_STEPS_PER_CALL = 2000  # of the compiled loop; interrupts are noticed in between
_ATOM_STEPS_PER_CALL = 60_000  # the same of large systems: atoms times steps
_LARGEST_SKIN = 4.0  # Å, in a cell, where no step of a simulation that is stable needs more
_SKIN = 1.0  # Å beyond the cutoff up to which neighbours are listed


@runtime_checkable
class Integrator(Protocol):
    """Yields the state at each of `dynamics.recorded`, in numpy.

    The first state that is not stable is yielded at once and is the last.
    """

    def __call__(
        self,
        potential: AbstractPotential,
        atoms: ase.Atoms,
        dynamics: Dynamics,
        largest_kinetic_energy: float,
        /,
    ) -> Iterator[MDState]:
        """Start to integrate.

        Args:
            potential: any potential that can describe the atoms.
            atoms: the start, with momenta.
            dynamics: what to simulate.
            largest_kinetic_energy: eV; a state with more is not stable.
        """
        ...


class Restart(NamedTuple):
    """From where a simulation goes on exactly as it would have done.

    Args:
        state: a recorded one.
        listing: of the neighbours that were in use.
    """

    state: MDState
    listing: Listing


@dataclass(eq=False)
class CompiledIntegrator:
    """A compiled loop over time steps: an `Integrator`.

    Positions and momenta are float64 whatever the precision of the potential. The loop stops
    before a step after which the list of neighbours would not be complete, and a new list is made.

    Args:
        restart: where to start; None for the atoms.
        last: the state that was yielded last, and its neighbours.
    """

    restart: Restart | None = None
    last: Restart | None = field(default=None, init=False)

    def __call__(
        self,
        potential: AbstractPotential,
        atoms: ase.Atoms,
        dynamics: Dynamics,
        largest_kinetic_energy: float,
        /,
    ) -> Iterator[MDState]:
        """States after that of the restart, see `Integrator`."""
        remaining, n_per_call = dynamics.recorded, _frames_per_call(len(atoms), dynamics)
        with computing("float64"):
            parts = _parts(atoms, dynamics, largest_kinetic_energy)
            if self.restart is None:
                listing = Listing(atoms.positions, cell_of(atoms), _SKIN)
                forces = force_evaluator(potential, atoms, listing)
                momenta = jnp.asarray(atoms.get_momenta())
                state = _initial_state(forces, listing, momenta, parts)
            else:
                listing = self.restart.listing
                forces = force_evaluator(potential, atoms, listing)
                state = jax.tree.map(jnp.asarray, self.restart.state)
                remaining = remaining[remaining > int(state.step)]
        while len(remaining):
            listing = listing._replace(width=forces.width)
            ends = remaining[:n_per_call]
            padded = np.pad(ends, (0, n_per_call - len(ends)), mode="edge")
            with computing("float64"):
                state, stack = _run(forces, state, jnp.asarray(padded), parts)
                stack = jax.tree.map(np.asarray, stack)
            n_done = np.count_nonzero(((stack.step == padded) | ~stack.stable)[: len(ends)])
            for k in range(n_done):
                recorded = jax.tree.map(lambda values, k=k: values[k, ...], stack)
                self.last = Restart(recorded, listing)
                yield recorded
                if not recorded.stable:
                    return
            remaining = remaining[n_done:]
            if n_done < len(ends):
                now = jax.tree.map(np.asarray, state)
                here = jax.tree.map(np.array_equal, listing[:2], (now.positions, now.cell))
                doubled = 2 if all(jax.tree.leaves(here)) else 1  # too thin for a single step
                if now.cell is not None and doubled > 1 and listing.skin >= _LARGEST_SKIN:
                    yield eqx.tree_at(lambda s: s.stable, now, np.array(False))
                    return
                listing = Listing(now.positions, now.cell, doubled * listing.skin, forces.width)
                forces = forces.with_neighbours(listing)


def compiled_integrator(
    potential: AbstractPotential,
    atoms: ase.Atoms,
    dynamics: Dynamics,
    largest_kinetic_energy: float,
    /,
) -> Iterator[MDState]:
    """See `Integrator` and `CompiledIntegrator`."""
    return CompiledIntegrator()(potential, atoms, dynamics, largest_kinetic_energy)


def _frames_per_call(n_atoms: int, dynamics: Dynamics) -> int:
    """Recorded states of one call of the compiled loop: independent of the number of steps, so
    that a longer or resumed simulation is the same program."""
    steps = min(_STEPS_PER_CALL, _ATOM_STEPS_PER_CALL // max(1, n_atoms))
    return max(1, steps // dynamics.interval)


class _Parts(eqx.Module):
    """What is the same in all time steps.

    Args:
        masses: u.
        timestep: in ASE units.
        largest_kinetic_energy: eV.
        moving: zero for atoms that are fixed and one for others; None if all move.
        heat_bath: of the thermostat.
        pressure_bath: of the barostat.
    """

    masses: Float[Array, "n_atoms 1"]
    timestep: Float[Array, ""]
    largest_kinetic_energy: Energy
    moving: Float[Array, "n_atoms 1"] | None
    heat_bath: HeatBath
    pressure_bath: PressureBath
    thermostat: Thermostat = eqx.field(static=True)
    barostat: Barostat = eqx.field(static=True)

    def held(self, vectors: Vectors) -> Vectors:
        """Forces or momenta, those of fixed atoms being zero."""
        return vectors if self.moving is None else self.moving * vectors


def _parts(atoms: ase.Atoms, dynamics: Dynamics, largest_kinetic_energy: float) -> _Parts:
    masses, fixed = jnp.asarray(atoms.get_masses()[:, None]), fixed_atoms(atoms)
    constant_pressure = dynamics.constant_pressure
    return _Parts(
        masses,
        jnp.asarray(dynamics.timestep * ase.units.fs),
        jnp.asarray(largest_kinetic_energy),
        jnp.where(jnp.asarray(fixed)[:, None], 0.0, 1.0) if fixed.any() else None,
        heat_bath(
            masses, dynamics.temperature, dynamics.friction, dynamics.timestep, dynamics.seed
        ),
        pressure_bath(
            masses,
            dynamics.temperature,
            dynamics.pressure,
            dynamics.compressibility,
            dynamics.barostat_time,
            dynamics.timestep,
            dynamics.seed,
        ),
        ENSEMBLES[dynamics.ensemble].thermostat,
        BAROSTATS[dynamics.coupling] if constant_pressure else no_barostat,
    )


@eqx.filter_jit
def _initial_state(
    forces: ForceEvaluator, listing: Listing, momenta: Momenta, parts: _Parts
) -> MDState:
    positions = jnp.asarray(listing.positions)
    cell = None if listing.cell is None else jnp.asarray(listing.cell)
    found, step = forces(positions, cell), jnp.zeros((), int)
    stable = jnp.isfinite(found.energy) & jnp.isfinite(found.forces).all()
    held = parts.held(found.forces)
    return MDState(positions, momenta, found.energy, held, step, stable, cell, found.stress)


@eqx.filter_jit
def _run(
    forces: ForceEvaluator,
    state: MDState,
    ends: Int[Array, " n_frames"],
    parts: _Parts,
) -> tuple[MDState, MDState]:
    """Integrate until the numbers of steps in `ends`.

    All steps stop at a state that is not stable, and before a step after which the list of
    neighbours would not be complete.

    Returns:
        The last state, and the stack of those at `ends`.
    """

    def step(carry: tuple[MDState, Bool[Array, ""]]) -> tuple[MDState, Bool[Array, ""]]:
        before, _ = carry
        after = _time_step(forces, before, parts)
        complete = forces.complete(after.positions, after.cell)
        if after.cell is not None:  # no cell is small enough to list what explodes
            complete |= ~after.stable
        kept = jax.tree.map(lambda new, old: jnp.where(complete, new, old), after, before)
        return kept, complete

    def until(
        carry: tuple[MDState, Bool[Array, ""]], end: Int[Array, ""]
    ) -> tuple[tuple[MDState, Bool[Array, ""]], MDState]:
        proceeds = lambda c: c[0].stable & c[1] & (c[0].step < end)
        carry = jax.lax.while_loop(proceeds, step, carry)
        return carry, carry[0]

    (state, _), stack = jax.lax.scan(until, (state, jnp.array(True)), ends)
    return state, stack


def _time_step(forces: ForceEvaluator, state: MDState, parts: _Parts) -> MDState:
    r"""One time step in the BAOAB splitting; velocity Verlet without a thermostat.

    Half a step of the momenta (B), half a step of the positions (A), the thermostat (O), and the
    barostat, A, B:

    $$ p \to p + \tfrac{\Delta t}{2} F, \quad R \to R + \tfrac{\Delta t}{2} p / m $$

    Reference: Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34.
    """
    half, per_mass = parts.timestep / 2, parts.timestep / 2 / parts.masses
    momenta = state.momenta + half * state.forces
    positions = state.positions + per_mass * momenta
    middle = eqx.tree_at(lambda s: (s.positions, s.momenta), state, (positions, momenta))
    middle = parts.barostat(parts.thermostat(middle, parts.heat_bath), parts.pressure_bath)
    middle_momenta = parts.held(middle.momenta)
    positions = middle.positions + per_mass * middle_momenta
    found = forces(positions, middle.cell)
    new_forces = parts.held(found.forces)
    momenta = middle_momenta + half * new_forces
    kinetic = jnp.sum(momenta**2 / parts.masses) / 2
    stable = kinetic <= parts.largest_kinetic_energy  # false for NaN
    return MDState(
        positions,
        momenta,
        found.energy,
        new_forces,
        state.step + 1,
        stable,
        middle.cell,
        found.stress,
    )
