r"""Gates as data: the one record that engines, exporters and counters all read.

A new gate is one function from angles to a unitary matrix plus its line in `GATES`.
Matrices act on the gate's qubits in order, the first qubit being the most significant bit.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from .._checks import InputError, check_known
from .._types import Qubits


@dataclass(frozen=True)
class Gate:
    """A named unitary on some qubits; its angles start at `slot` of the vector of angles.

    Raises:
        InputError: the name is unknown, or the qubits are too few, too many or not distinct.
    """

    name: str
    qubits: Qubits
    slot: int

    def __post_init__(self):
        check_known("Gate", self.name, GATES)
        n = self.kind.n_qubits
        if len(self.qubits) != n or len(set(self.qubits)) != n:
            raise InputError(
                f"Gate `{self.name}` acts on {n} distinct qubit(s), but got {self.qubits}."
            )

    @property
    def kind(self) -> "GateKind":
        return GATES[self.name]

    @property
    def slots(self) -> range:
        """Indices of this gate's angles in the vector of angles."""
        return range(self.slot, self.slot + self.kind.n_angles)

    def shifted(self, n_slots: int) -> "Gate":
        """The same gate reading its angles `n_slots` further on."""
        return replace(self, slot=self.slot + n_slots)


@dataclass(frozen=True)
class GateKind:
    """How many qubits and angles a gate has, and its matrix as a function of the angles."""

    n_qubits: int
    n_angles: int
    matrix: Callable[[Float[Array, " n_angles"]], Complex[Array, "dim dim"]]


def spin(vector: Float[Array, "3"]) -> Complex[Array, "2 2"]:
    r"""Rotation of one qubit about a vector, $R(v) = \exp(-\tfrac{i}{2}\, v\cdot\sigma)$.

    $$ R(v) = \cos\tfrac{|v|}{2} - i\,\tfrac{\sin(|v|/2)}{|v|}\, v\cdot\sigma $$

    Both factors are entire functions of $|v|^2$, so the gate is smooth at $v = 0$.

    Args:
        vector: rotation axis times angle, in radians.

    Reference: Le et al. 2023, Eq. 8 (there without the factor ½).
    """
    cosine, ratio = _half_angle(vector @ vector)
    x, y, z = ratio * vector
    return jnp.array([[cosine - 1j * z, -y - 1j * x], [y - 1j * x, cosine + 1j * z]])


def exchange(angle: Float[Array, "1"]) -> Complex[Array, "4 4"]:
    r"""Heisenberg exchange, $\exp(-i\,j\,(XX+YY+ZZ))$.

    $XX+YY+ZZ = 2\,\mathrm{SWAP} - 1$, so the gate is $e^{ij}(\cos 2j - i \sin 2j\,\mathrm{SWAP})$:
    triplets get the phase $e^{-ij}$ and the singlet $e^{3ij}$.

    Args:
        angle: the coupling $j$ in radians.

    Reference: Le et al. 2023, Eq. 7.
    """
    (j,) = angle
    triplet, phase, zero = jnp.exp(-1j * j), jnp.exp(1j * j), jnp.zeros_like(j)
    stay, swap = phase * jnp.cos(2 * j), -1j * phase * jnp.sin(2 * j)
    return jnp.array(
        [
            [triplet, zero, zero, zero],
            [zero, stay, swap, zero],
            [zero, swap, stay, zero],
            [zero, zero, zero, triplet],
        ]
    )


def rz(angle: Float[Array, "1"]) -> Complex[Array, "2 2"]:
    r"""Rotation about z, $R_z(\theta) = \exp(-\tfrac{i}{2}\,\theta Z)$.

    Args:
        angle: $\theta$ in radians.

    Reference: the symmetry-breaking gate of Le et al. 2023, Eq. 15.
    """
    phase = jnp.exp(-0.5j * angle[0])
    zero = jnp.zeros_like(phase)
    return jnp.array([[phase, zero], [zero, phase.conj()]])


GATES: dict[str, GateKind] = {
    "spin": GateKind(n_qubits=1, n_angles=3, matrix=spin),
    "exchange": GateKind(n_qubits=2, n_angles=1, matrix=exchange),
    "rz": GateKind(n_qubits=1, n_angles=1, matrix=rz),
}

_SERIES_BELOW = 0.1
_SERIES_TERMS = 7


def _half_angle(square: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    r"""$\cos\tfrac{t}{2}$ and $\sin(\tfrac{t}{2})/t$ of $t^2$: power series near zero.

    Below `_SERIES_BELOW` the first term left out is under 1e-20, in every derivative taken here.
    """
    small = square < _SERIES_BELOW
    length = jnp.sqrt(jnp.where(small, 1.0, square))
    powers = jnp.stack([(-square / 4) ** k for k in range(_SERIES_TERMS)])
    even = jnp.array([1 / math.factorial(2 * k) for k in range(_SERIES_TERMS)], square.dtype)
    odd = jnp.array([0.5 / math.factorial(2 * k + 1) for k in range(_SERIES_TERMS)], square.dtype)
    return (
        jnp.where(small, even @ powers, jnp.cos(length / 2)),
        jnp.where(small, odd @ powers, jnp.sin(length / 2) / length),
    )
