r"""Barostats: what changes the cell in the middle of a time step, by name.

Stochastic cell rescaling lets the logarithm of the volume, $\epsilon = \ln V$, relax towards the
pressure $P_0$ and adds the noise that belongs to it:

$$ d\epsilon = -\frac{\beta}{\tau} (P_0 - P)\,dt + \sqrt{\frac{2 k_B T \beta}{V \tau}}\,dW, \qquad
   P = \frac{1}{3V} \sum_i \frac{|p_i|^2}{m_i} - \frac{1}{3} \mathrm{tr}\,\sigma, $$

with the compressibility $\beta$, the time $\tau$ and the stress $\sigma$. Cell and positions grow
by $e^{d\epsilon/3}$ and momenta shrink by it, which conserves the volume of phase space. The
stationary distribution is

$$ p(R, p, V) \propto e^{-(H + P_0 V) / k_B T}\,dR\,dp\,dV, $$

so that $N$ atoms of an ideal gas have $\langle V \rangle = (N + 1) k_B T / P_0$. The equation for
the volume itself, $dV = -\frac{\beta V}{\tau} (P_0 - P - k_B T / V)\,dt + \dots$, has a term
$k_B T / V$: it is what Itô's formula adds when $\epsilon$ is replaced by $V = e^\epsilon$. The
equation for $\epsilon$ has none; with one, $V p$ would be sampled.

The stress is that of the start of the time step, positions and momenta are those of its middle.

To add one, write a function like `isotropic` and one line in `BAROSTATS`.

References: Bernetti and Bussi, J. Chem. Phys. 153, 114107 (2020), arXiv:2006.09250; Del Tatto,
Raiteri, Bernetti and Bussi, Appl. Sci. 12, 1139 (2022), for the anisotropic one.
"""

from collections.abc import Callable

import ase.units
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .state import Cell, MDState, Momenta, Vectors

_VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])


class PressureBath(eqx.Module):
    r"""Constants of a barostat for one time step $\Delta t$.

    Args:
        masses: u.
        pressure: $P_0$ in eV/Å³.
        rate: $\beta \Delta t / \tau$ in Å³/eV.
        thermal_energy: $k_B T$ in eV.
        key: of the random strain.
    """

    masses: Float[Array, "n_atoms 1"]
    pressure: Float[Array, ""]
    rate: Float[Array, ""]
    thermal_energy: Float[Array, ""]
    key: PRNGKeyArray


def pressure_bath(
    masses: Float[Array, "n_atoms 1"],
    temperature: float,
    pressure: float,
    compressibility: float,
    barostat_time: float,
    timestep: float,
    seed: int,
) -> PressureBath:
    """The pressure bath of these atoms.

    Args:
        masses: u.
        temperature: K.
        pressure: GPa.
        compressibility: 1/GPa.
        barostat_time: fs.
        timestep: fs.
        seed: of the random strain.
    """
    rate = compressibility * timestep / barostat_time / ase.units.GPa
    _, key = jax.random.split(jax.random.key(seed))  # not that of the thermostat
    return PressureBath(
        masses,
        jnp.asarray(pressure * ase.units.GPa),
        jnp.asarray(rate),
        jnp.asarray(ase.units.kB * temperature),
        key,
    )


Barostat = Callable[[MDState, PressureBath], MDState]
"""The state in the middle of a time step, before and after a change of the cell.

Positions, momenta and cell are those at half of the step, energy, forces and stress those at its
start.
"""


def no_barostat(state: MDState, bath: PressureBath) -> MDState:
    """Leave the state as it is."""
    return state


def isotropic(state: MDState, bath: PressureBath) -> MDState:
    """One scale for all directions: see the equations above."""
    cell, pressure = _cell_and_pressure(state, bath)
    noise = jax.random.normal(jax.random.fold_in(bath.key, state.step), (), cell.dtype)
    width = jnp.sqrt(2 * bath.thermal_energy * bath.rate / jnp.abs(jnp.linalg.det(cell)))
    strain = -bath.rate * (bath.pressure - jnp.trace(pressure) / 3) + width * noise
    scale = jnp.exp(strain / 3)
    return _with(state, state.positions * scale, state.momenta / scale, cell * scale)


def anisotropic(state: MDState, bath: PressureBath) -> MDState:
    r"""Lengths and angles of the cell change on their own.

    $$ h \to h\,e^{\eta}, \quad r \to r\,e^{\eta}, \quad p \to p\,e^{-\eta}, \qquad
       d\eta = -\frac{\beta}{3\tau} (P_0 - P)\,dt + \sqrt{\frac{2 k_B T \beta}{3 V \tau}}\,dW $$

    with the tensor $P = \frac1V \sum_i p_i p_i^T / m_i - \sigma$ and a symmetric $dW$, which does
    not rotate the cell: its diagonal elements have variance $dt$, the others half of it. The trace
    of $\eta$ follows the equation of the isotropic $\epsilon$. Shapes are sampled with the
    measure $dV\,d\mu(h)$, where $\mu$ is invariant under deformations at constant volume
    ($V^{-2} dh$).
    """
    cell, pressure = _cell_and_pressure(state, bath)
    noise = jax.random.normal(jax.random.fold_in(bath.key, state.step), (3, 3), cell.dtype)
    width = jnp.sqrt(2 / 3 * bath.thermal_energy * bath.rate / jnp.abs(jnp.linalg.det(cell)))
    excess = pressure - bath.pressure * jnp.eye(3, dtype=cell.dtype)
    strain = bath.rate / 3 * excess + width * (noise + noise.T) / 2
    values, vectors = jnp.linalg.eigh(strain)
    larger = (vectors * jnp.exp(values)) @ vectors.T
    smaller = (vectors * jnp.exp(-values)) @ vectors.T
    return _with(state, state.positions @ larger, state.momenta @ smaller, cell @ larger)


BAROSTATS: dict[str, Barostat] = {"isotropic": isotropic, "anisotropic": anisotropic}
"""By name, what a constant pressure changes the cell with."""


def _cell_and_pressure(
    state: MDState, bath: PressureBath
) -> tuple[Float[Array, "3 3"], Float[Array, "3 3"]]:
    """The cell in Å, and the pressure tensor of forces and motion in eV/Å³."""
    if state.cell is None or state.stress is None:
        raise TypeError("a barostat needs a state with a cell and a stress.")
    cell, momenta = jnp.asarray(state.cell), jnp.asarray(state.momenta)
    motion = momenta.T @ (momenta / bath.masses) / jnp.abs(jnp.linalg.det(cell))
    return cell, motion - jnp.asarray(state.stress)[_VOIGT]


def _with(state: MDState, positions: Vectors, momenta: Momenta, cell: Cell) -> MDState:
    of = lambda s: (s.positions, s.momenta, s.cell)
    return eqx.tree_at(of, state, (positions, momenta, cell))
