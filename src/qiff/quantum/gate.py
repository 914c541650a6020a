r"""Gates as data: the record that engines, exporters and counters all read.

Every gate is $U(a) = \exp(-i \sum_k a_k G_k)$ of its angles $a$, or a fixed matrix. A new gate is
one function, the matrix in JAX, and one line in `GATES`. Matrices act on the gate's qubits in
order, the first qubit being the most significant bit.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Num

from .._checks import InputError, check_known
from .._types import Qubits

PAULIS = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
"""X, Y and Z."""


@dataclass(frozen=True)
class Gate:
    """A named unitary on some qubits; its angles start at `slot` of the vector of angles.

    Args:
        name: a key of `GATES`.
        qubits: that it acts on, in order; the first is the most significant bit of its matrix.
        slot: index of its first angle.

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
        """The record of its name."""
        return GATES[self.name]

    @property
    def slots(self) -> range:
        """Indices of this gate's angles in the vector of angles."""
        return range(self.slot, self.slot + self.kind.n_angles)

    def shifted(self, n_slots: int) -> "Gate":
        """The same gate reading its angles `n_slots` further on."""
        return replace(self, slot=self.slot + n_slots)


@dataclass(frozen=True, eq=False)
class GateKind:
    r"""Everything about a gate but the qubits that it acts on.

    Args:
        n_qubits: qubits that it acts on.
        n_angles: angles that it reads.
        matrix: $U(a)$ in JAX, smooth for all angles.
        rank: rank $l$ of the spherical tensor that the angles carry, None if they carry none. The
            angles are the $(l+1)(l+2)/2$ different entries of a symmetric tensor of rank $l$ (for
            $l = 2$ with its trace), and a common rotation of the qubits rotates that tensor.
        n_ancillas: qubits, the last of the gate, that such a rotation leaves alone.
        generators: $G_k$; empty for a gate without angles. Without them a gate is simulated by the
            engines that support it, but not measured, differentiated by shift rules or exported.
        fixed: the matrix of a gate without angles; see `fixed`.

    Raises:
        InputError: the number of angles is not that of a tensor of this rank.
    """

    n_qubits: int
    n_angles: int
    matrix: Callable[[Float[Array, " n_angles"]], Complex[Array, "dim dim"]]
    rank: int | None = None
    n_ancillas: int = 0
    generators: Num[np.ndarray, "n_angles dim dim"] | None = None
    fixed: Num[np.ndarray, "dim dim"] | None = None

    def __post_init__(self):
        if self.rank is not None and self.n_angles != (self.rank + 1) * (self.rank + 2) // 2:
            raise InputError(
                f"A gate of rank {self.rank} must have {(self.rank + 1) * (self.rank + 2) // 2} "
                f"angle(s), but has {self.n_angles}."
            )


def fixed(matrix: Num[np.ndarray, "dim dim"]) -> GateKind:
    """A gate without angles."""
    n_qubits = len(matrix).bit_length() - 1
    return GateKind(n_qubits, 0, lambda a: jnp.asarray(matrix, _complex(a)), fixed=matrix)


def spin(vector: Float[Array, "3"]) -> Complex[Array, "2 2"]:
    r"""Rotation of one qubit about a vector, $R(v) = \exp(-\tfrac{i}{2}\, v\cdot\sigma)$.

    $$ R(v) = \cos\tfrac{|v|}{2} - i\,\tfrac{\sin(|v|/2)}{|v|}\, v\cdot\sigma $$

    Both factors are entire functions of $|v|^2$, so the gate is smooth at $v = 0$.

    Args:
        vector: rotation axis times angle, in radians.

    Reference: Le et al. 2023, Eq. 8 (there without the factor ½).
    """
    cosine, ratio = half_angle(vector @ vector)
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
    cosine, ratio = half_angle(vector @ vector)
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
    turn = _exponential(2j * matrix)
    # squarings multiply rounding errors: one step to the nearest unitary matrix takes them away
    turn = turn @ (1.5 * jnp.eye(3, dtype=entries.dtype) - 0.5 * turn.conj().T @ turn)
    triplet = jnp.exp(-1j * trace) * turn
    basis = jnp.asarray(TRIPLET, _complex(entries))
    singlet = jnp.exp(1j * trace) * jnp.asarray(np.outer(SINGLET, SINGLET), entries.dtype)
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


_PAIRS = np.array([[np.kron(a, b) for b in PAULIS] for a in PAULIS])
_HEISENBERG = np.einsum("aaij->ij", _PAIRS)[None]
_COUPLINGS = np.array(
    [
        _PAIRS[a, a] if a == b else _PAIRS[a, b] + _PAIRS[b, a]
        for a, b in combinations_with_replacement(range(3), 2)
    ]
)
CZ = np.diag([1, 1, 1, -1]).astype(complex)
"""Controlled Z: the sign changes where both qubits are 1."""
CNOT = np.eye(4, dtype=complex)[[0, 1, 3, 2]]
"""Controlled NOT: the second qubit flips where the first is 1."""

GATES: dict[str, GateKind] = {
    "spin": GateKind(1, 3, spin, rank=1, generators=PAULIS / 2),
    "mirror": GateKind(2, 3, mirror, rank=1, n_ancillas=1, generators=_PAIRS[:, 0] / 2),
    "quadrupole": GateKind(2, 6, quadrupole, rank=2, generators=_COUPLINGS),
    "exchange": GateKind(2, 1, exchange, rank=0, generators=_HEISENBERG),
    "rx": GateKind(1, 1, rx, generators=PAULIS[:1] / 2),
    "ry": GateKind(1, 1, ry, generators=PAULIS[1:2] / 2),
    "rz": GateKind(1, 1, rz, generators=PAULIS[2:] / 2),
    "cz": fixed(CZ),
    "cnot": fixed(CNOT),
}

SINGLET = np.array([0, 1, -1, 0]) / np.sqrt(2)
TRIPLET = np.array([[-1, 0, 0, 1], [1j, 0, 0, 1j], [0, 1, 1, 0]]) / np.sqrt(2)


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


def half_angle(square: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    r"""$\cos\tfrac{t}{2}$ and $\sin(\tfrac{t}{2})/t$ of $t^2$: power series near zero.

    Below `_SERIES_BELOW` the first term left out is under 1e-20, in every derivative taken here.
    """
    small = square < _SERIES_BELOW
    length = jnp.sqrt(jnp.where(small, 1.0, square))
    even, odd = jnp.zeros_like(square), jnp.zeros_like(square)
    for k in range(_SERIES_TERMS - 1, -1, -1):
        even = 1 / math.factorial(2 * k) - even * (square / 4)
        odd = 0.5 / math.factorial(2 * k + 1) - odd * (square / 4)
    return (
        jnp.where(small, even, jnp.cos(length / 2)),
        jnp.where(small, odd, jnp.sin(length / 2) / length),
    )
