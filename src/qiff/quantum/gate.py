r"""Gates as data: the one record that engines, exporters and counters all read.

A new gate is one function from angles to a unitary matrix plus its line in `GATES`.
Matrices act on the gate's qubits in order, the first qubit being the most significant bit.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from .._checks import InputError, check_known
from .._types import Qubits

PAULIS = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
"""X, Y and Z."""


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
    rank: int | None = None
    """Rank of the spherical tensor that the angles encode; None if they encode none."""


def spin(vector: Float[Array, "3"]) -> Complex[Array, "2 2"]:
    r"""Rotation of one qubit about a vector, $R(v) = \exp(-\tfrac{i}{2}\, v\cdot\sigma)$.

    $$ R(v) = \cos\tfrac{|v|}{2} - i\,\tfrac{\sin(|v|/2)}{|v|}\, v\cdot\sigma $$

    Both factors are entire functions of $|v|^2$, so the gate is smooth at $v = 0$.

    Args:
        vector: rotation axis times angle, in radians.

    Reference: Le et al. 2023, Eq. 8 (there without the factor ½).
    """
    cosine, ratio = _half_angle(vector @ vector)
    return cosine * jnp.eye(2, dtype=vector.dtype) - 1j * ratio * _dot_sigma(vector)


def mirror(vector: Float[Array, "3"]) -> Complex[Array, "4 4"]:
    r"""Reflection encoding on a data qubit and an ancilla.

    $$ \exp(-\tfrac{i}{2}\,(v\cdot\sigma) \otimes X)
       = \cos\tfrac{|v|}{2} - i\,\tfrac{\sin(|v|/2)}{|v|}\, (v\cdot\sigma) \otimes X $$

    Rotations act on the data qubit alone. The reflection $P = \mathrm{diag}(1, -1, 1)$ of $v$ is
    represented by $Y$ on the data qubit times $Z$ on the ancilla. At $v = 0$ it is as smooth as
    `spin`.

    Args:
        vector: rotation axis times angle, in radians.

    Reference: reconstructed from Le et al. 2023, Sec. II.6, whose circuit is not printed.
    """
    cosine, ratio = _half_angle(vector @ vector)
    return cosine * jnp.eye(4, dtype=vector.dtype) - 1j * ratio * jnp.kron(
        _dot_sigma(vector), jnp.asarray(PAULIS[0], _complex(vector))
    )


def quadrupole(entries: Float[Array, "6"]) -> Complex[Array, "4 4"]:
    r"""Coupling of two qubits by a symmetric matrix, $\exp(-i\,\sigma\cdot Q\,\sigma)$.

    $$ e^{i\,\mathrm{tr}Q}\big( |s\rangle\langle s|
       + \sum_{ij} |t_i\rangle \big(e^{2iQ - 2i\,\mathrm{tr}Q}\big)_{ij} \langle t_j| \big) $$

    with the singlet $s$ and the triplet $t_x = (-|00\rangle + |11\rangle)/\sqrt2$,
    $t_y = i (|00\rangle + |11\rangle)/\sqrt2$, $t_z = (|01\rangle + |10\rangle)/\sqrt2$. A common
    rotation of the qubits rotates $Q$; $Q = j\,1$ is `exchange`.

    Args:
        entries: $Q_{xx}, Q_{xy}, Q_{xz}, Q_{yy}, Q_{yz}, Q_{zz}$ in radians.
    """
    xx, xy, xz, yy, yz, zz = entries
    matrix = jnp.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    trace = xx + yy + zz
    triplet = jnp.exp(-1j * trace) * _exponential(2j * matrix)
    basis = jnp.asarray(_TRIPLET, _complex(entries))
    singlet = jnp.exp(1j * trace) * jnp.asarray(np.outer(_SINGLET, _SINGLET), entries.dtype)
    return singlet + basis.T @ triplet @ basis.conj()


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


def rx(angle: Float[Array, "1"]) -> Complex[Array, "2 2"]:
    r"""Rotation about x, $R_x(\theta) = \exp(-\tfrac{i}{2}\,\theta X)$, $\theta$ in radians."""
    return _axis_rotation(angle, 0)


def ry(angle: Float[Array, "1"]) -> Complex[Array, "2 2"]:
    r"""Rotation about y, $R_y(\theta) = \exp(-\tfrac{i}{2}\,\theta Y)$, $\theta$ in radians."""
    return _axis_rotation(angle, 1)


def rz(angle: Float[Array, "1"]) -> Complex[Array, "2 2"]:
    r"""Rotation about z, $R_z(\theta) = \exp(-\tfrac{i}{2}\,\theta Z)$.

    Args:
        angle: $\theta$ in radians.

    Reference: the symmetry-breaking gate of Le et al. 2023, Eq. 15.
    """
    return _axis_rotation(angle, 2)


def cz(angles: Float[Array, "0"]) -> Complex[Array, "4 4"]:
    """Controlled Z: the sign changes where both qubits are 1."""
    return jnp.diag(jnp.array([1, 1, 1, -1], _complex(angles)))


def cnot(angles: Float[Array, "0"]) -> Complex[Array, "4 4"]:
    """Controlled NOT: the second qubit flips where the first is 1."""
    return jnp.eye(4, dtype=_complex(angles))[np.array([0, 1, 3, 2])]


GATES: dict[str, GateKind] = {
    "spin": GateKind(n_qubits=1, n_angles=3, matrix=spin, rank=1),
    "mirror": GateKind(n_qubits=2, n_angles=3, matrix=mirror, rank=1),
    "quadrupole": GateKind(n_qubits=2, n_angles=6, matrix=quadrupole, rank=2),
    "exchange": GateKind(n_qubits=2, n_angles=1, matrix=exchange, rank=0),
    "rx": GateKind(n_qubits=1, n_angles=1, matrix=rx),
    "ry": GateKind(n_qubits=1, n_angles=1, matrix=ry),
    "rz": GateKind(n_qubits=1, n_angles=1, matrix=rz),
    "cz": GateKind(n_qubits=2, n_angles=0, matrix=cz),
    "cnot": GateKind(n_qubits=2, n_angles=0, matrix=cnot),
}

_SINGLET = np.array([0, 1, -1, 0]) / np.sqrt(2)
_TRIPLET = np.array([[-1, 0, 0, 1], [1j, 0, 0, 1j], [0, 1, 1, 0]]) / np.sqrt(2)


def _complex(angles: Array) -> jnp.dtype:
    return jnp.result_type(angles, jnp.complex64)


def _dot_sigma(vector: Float[Array, "3"]) -> Complex[Array, "2 2"]:
    r"""$v\cdot\sigma$."""
    return jnp.tensordot(vector, jnp.asarray(PAULIS, _complex(vector)), 1)


def _axis_rotation(angle: Float[Array, "1"], axis: int) -> Complex[Array, "2 2"]:
    half = angle[0] / 2
    sigma = jnp.asarray(PAULIS[axis], _complex(angle))
    return jnp.cos(half) * jnp.eye(2, dtype=angle.dtype) - 1j * jnp.sin(half) * sigma


_EXPONENTIAL_TERMS = 18
_MOST_SQUARINGS = 20


def _exponential(matrix: Complex[Array, "n n"]) -> Complex[Array, "n n"]:
    """Matrix exponential by scaling, power series and squaring, smooth everywhere.

    (`jax.scipy.linalg.expm` loses seven digits when it is both jitted and vmapped.)
    """
    norm = jax.lax.stop_gradient(jnp.abs(matrix).sum(1).max())
    n_squarings = jnp.ceil(jnp.log2(jnp.maximum(norm, 1)))
    small = matrix * 2.0**-n_squarings
    one = jnp.eye(len(matrix), dtype=matrix.dtype)
    series = one
    for k in range(_EXPONENTIAL_TERMS, 0, -1):
        series = one + small @ series / k

    def square(power: Array, step: Array) -> tuple[Array, None]:
        return jnp.where(step < n_squarings, power @ power, power), None

    return jax.lax.scan(square, series, jnp.arange(_MOST_SQUARINGS))[0]


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
