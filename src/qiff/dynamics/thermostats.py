"""Thermostats: what happens in the middle of a time step, and the statistical ensembles by name.

To add one, write a function like `langevin` and one line in `ENSEMBLES`. What keeps the pressure
constant is in `barostats`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import ase.units
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .state import MDState


class HeatBath(eqx.Module):
    r"""Constants of a heat bath for one time step $\Delta t$.

    Args:
        damping: $c = e^{-\gamma \Delta t}$ with the friction $\gamma$, a factor of the momenta.
        width: $\sqrt{m k_B T}$, the standard deviation of the momenta of each atom.
        key: of the random forces.
    """

    damping: Float[Array, ""]
    width: Float[Array, "n_atoms 1"]
    key: PRNGKeyArray


def heat_bath(
    masses: Float[Array, "n_atoms 1"],
    temperature: float,
    friction: float,
    timestep: float,
    seed: int,
) -> HeatBath:
    """The heat bath of these atoms.

    Args:
        masses: u.
        temperature: K.
        friction: 1/fs.
        timestep: fs.
        seed: of the random forces.
    """
    return HeatBath(
        jnp.exp(-friction * timestep),
        jnp.sqrt(masses * ase.units.kB * temperature),
        jax.random.key(seed),
    )


Thermostat = Callable[[MDState, HeatBath], MDState]
"""The state in the middle of a time step, before and after contact with the heat bath.

Positions and momenta are those at half of the step, energy and forces those at its start.
"""


def no_thermostat(state: MDState, bath: HeatBath) -> MDState:
    """Leave the state as it is."""
    return state


def langevin(state: MDState, bath: HeatBath) -> MDState:
    r"""Friction and random forces: $p \to c\,p + \sqrt{1-c^2}\,\sqrt{m k_B T}\,\xi$.

    $\xi$ are standard normal numbers that depend on the key and the step alone.
    """
    key = jax.random.fold_in(bath.key, state.step)
    noise = jax.random.normal(key, state.momenta.shape, state.momenta.dtype)
    momenta = bath.damping * state.momenta + jnp.sqrt(1 - bath.damping**2) * bath.width * noise
    return eqx.tree_at(lambda s: s.momenta, state, momenta)


@dataclass(frozen=True)
class StatisticalEnsemble:
    """What is kept constant.

    Args:
        thermostat: applied in the middle of every time step.
        isolated: whether energy and total momentum are conserved; such a molecule starts without
            translation and rotation, a periodic system without translation.
        constant_pressure: whether a barostat changes the cell, see `BAROSTATS`.
    """

    thermostat: Thermostat
    isolated: bool
    constant_pressure: bool = False


ENSEMBLES: dict[str, StatisticalEnsemble] = {
    "nve": StatisticalEnsemble(no_thermostat, isolated=True),
    "nvt": StatisticalEnsemble(langevin, isolated=False),
    "npt": StatisticalEnsemble(langevin, isolated=False, constant_pressure=True),
}
