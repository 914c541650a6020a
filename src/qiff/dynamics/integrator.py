"""Integrators: what advances a simulation. The default is one compiled loop with exact forces."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import ase
import ase.units
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._types import Energy
from ..model.potential import AbstractPotential
from ..model.predict import enable_x64
from .forces import ForceEvaluator, force_evaluator
from .settings import Dynamics
from .state import MDState, Momenta, Vectors
from .thermostats import ENSEMBLES, HeatBath, Thermostat, heat_bath

_STEPS_PER_CALL = 2000  # of the compiled loop; interrupts are noticed in between
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


def compiled_integrator(
    potential: AbstractPotential,
    atoms: ase.Atoms,
    dynamics: Dynamics,
    largest_kinetic_energy: float,
    /,
) -> Iterator[MDState]:
    """See `Integrator`: a compiled loop over time steps.

    Positions and momenta are float64 whatever the precision of the potential. The loop stops
    before a step that moves an atom further than its neighbours are listed, and a new list is made.
    """
    remaining, skin = dynamics.recorded, _SKIN
    n_per_call = max(1, min(len(remaining), _STEPS_PER_CALL // dynamics.interval))
    thermostat = ENSEMBLES[dynamics.ensemble].thermostat
    with enable_x64(True):
        constants = _constants(atoms, dynamics, largest_kinetic_energy)
        forces = force_evaluator(potential, atoms, skin)
        positions, momenta = jnp.asarray(atoms.positions), jnp.asarray(atoms.get_momenta())
        state = _initial_state(forces, positions, momenta)
    while len(remaining):
        ends, first = remaining[:n_per_call], int(state.step)
        padded = np.pad(ends, (0, n_per_call - len(ends)), mode="edge")
        with enable_x64(True):
            state, stack = _run(forces, state, jnp.asarray(padded), constants, thermostat)
            stack = jax.tree.map(np.asarray, stack)
        n_done = np.count_nonzero(((stack.step == padded) | ~stack.stable)[: len(ends)])
        for k in range(n_done):
            recorded = jax.tree.map(lambda values, k=k: values[k, ...], stack)
            yield recorded
            if not recorded.stable:
                return
        remaining = remaining[n_done:]
        if n_done < len(ends):
            skin *= 2 if int(state.step) == first else 1  # too thin for a single step
            forces = forces.with_new_neighbours(np.asarray(state.positions), skin)


class _Constants(eqx.Module):
    """What is the same in all time steps: masses in u, the time step in ASE units, eV."""

    masses: Float[Array, "n_atoms 1"]
    timestep: Float[Array, ""]
    largest_kinetic_energy: Energy
    bath: HeatBath


def _constants(atoms: ase.Atoms, dynamics: Dynamics, largest_kinetic_energy: float) -> _Constants:
    masses, seed = jnp.asarray(atoms.get_masses()[:, None]), dynamics.seed
    return _Constants(
        masses,
        jnp.asarray(dynamics.timestep * ase.units.fs),
        jnp.asarray(largest_kinetic_energy),
        heat_bath(masses, dynamics.temperature, dynamics.friction, dynamics.timestep, seed),
    )


@eqx.filter_jit
def _initial_state(forces: ForceEvaluator, positions: Vectors, momenta: Momenta) -> MDState:
    return MDState(positions, momenta, *forces(positions), jnp.zeros((), int), jnp.array(True))


@eqx.filter_jit
def _run(
    forces: ForceEvaluator,
    state: MDState,
    ends: Int[Array, " n_frames"],
    constants: _Constants,
    thermostat: Thermostat,
) -> tuple[MDState, MDState]:
    """Integrate until the numbers of steps in `ends`.

    All steps stop at a state that is not stable, and before a step after which the list of
    neighbours would not be complete.

    Returns:
        The last state, and the stack of those at `ends`.
    """

    def step(carry: tuple[MDState, Bool[Array, ""]]) -> tuple[MDState, Bool[Array, ""]]:
        before, _ = carry
        after = _time_step(forces, before, constants, thermostat)
        complete = forces.complete(after.positions)
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


def _time_step(
    forces: ForceEvaluator, state: MDState, constants: _Constants, thermostat: Thermostat
) -> MDState:
    r"""One time step in the BAOAB splitting; velocity Verlet without a thermostat.

    Half a step of the momenta (B), half a step of the positions (A), the thermostat (O), A, B:

    $$ p \to p + \tfrac{\Delta t}{2} F, \quad R \to R + \tfrac{\Delta t}{2} p / m $$

    Reference: Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34.
    """
    half, per_mass = constants.timestep / 2, constants.timestep / 2 / constants.masses
    momenta = state.momenta + half * state.forces
    positions = state.positions + per_mass * momenta
    middle = eqx.tree_at(lambda s: (s.positions, s.momenta), state, (positions, momenta))
    middle = thermostat(middle, constants.bath)
    positions = middle.positions + per_mass * middle.momenta
    energy, new_forces = forces(positions)
    momenta = middle.momenta + half * new_forces
    kinetic = jnp.sum(momenta**2 / constants.masses) / 2
    stable = kinetic <= constants.largest_kinetic_energy  # false for NaN
    return MDState(positions, momenta, energy, new_forces, state.step + 1, stable)
