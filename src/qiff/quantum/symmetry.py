r"""Symmetry groups: one element, two actions — on the vectors of the data and on the qubits.

A new group is a new `AbstractGroup` in this file: a random element (`sample`), elements whose
weighted mean is the mean over the group (`average`), and the permutations of vectors that
generate it (`generators`). Weight sharing (`orbits`), `twirl`ing and the law tests follow.

Qubit `q` encodes vector `q % n_vectors`; qubits beyond the last whole copy of the vectors are
ancillas, on which rotations and permutations do not act.
"""

import abc
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import product

import equinox as eqx
import numpy as np
from jaxtyping import Complex, Float

from .._checks import InputError
from .._types import Permutation, Qubits
from .gate import PAULIS

MIRROR = np.diag([1.0, -1.0, 1.0])
"""The reflection from which rotations make every other."""


@dataclass(frozen=True)
class Element:
    r"""A group element: a permutation of vectors, then `MIRROR` if `mirrored`, then a rotation.

    The rotation is given as a unitary $u$ in SU(2). On the qubits the reflection is $Y$ on every
    data qubit times $Z$ on every ancilla.
    """

    permutation: Permutation
    unitary: Complex[np.ndarray, "2 2"] = field(default_factory=lambda: np.eye(2, dtype=complex))
    mirrored: bool = False

    @property
    def rotation(self) -> Float[np.ndarray, "3 3"]:
        r"""$O_{ab} = \tfrac12 \mathrm{tr}(\sigma_a\, u\, \sigma_b\, u^\dagger)$."""
        u = self.unitary
        return 0.5 * np.einsum("aij,jk,bkl,il->ab", PAULIS, u, PAULIS, u.conj()).real

    @property
    def matrix(self) -> Float[np.ndarray, "3 3"]:
        """Matrix on each vector: the rotation after the reflection."""
        return self.rotation @ MIRROR if self.mirrored else self.rotation

    def on_vectors(self, vectors: np.ndarray) -> np.ndarray:
        """Vector `i` moves to place `permutation[i]` and is turned."""
        return vectors[np.argsort(self.permutation)] @ self.matrix.T

    def on_state(self, state: np.ndarray) -> np.ndarray:
        """The same element on a state vector of qubits."""
        n_qubits = state.size.bit_length() - 1
        tensor = state.reshape((2,) * n_qubits)
        tensor = tensor.transpose(np.argsort(lift(self.permutation, n_qubits)))
        n_data = count_data_qubits(n_qubits, len(self.permutation))
        on_data = self.unitary @ PAULIS[1] if self.mirrored else self.unitary
        on_ancilla = PAULIS[2] if self.mirrored else np.eye(2)
        for qubit in range(n_qubits):
            gate = on_data if qubit < n_data else on_ancilla
            tensor = np.moveaxis(np.tensordot(gate, tensor, (1, qubit)), 0, qubit)
        return tensor.reshape(-1)

    def operator(self, n_qubits: int) -> Complex[np.ndarray, "dim dim"]:
        """The matrix of `on_state`."""
        return np.array([self.on_state(column) for column in np.eye(2**n_qubits, dtype=complex)]).T

    def __matmul__(self, other: "Element") -> "Element":
        """First `other`, then this element; up to a sign on the qubits."""
        permutation = tuple(self.permutation[i] for i in other.permutation)
        y = PAULIS[1]  # the reflection is moved past the other rotation
        turned = y @ other.unitary @ y if self.mirrored else other.unitary
        return Element(permutation, self.unitary @ turned, self.mirrored != other.mirrored)


class AbstractGroup(eqx.Module):
    """A symmetry of `n_vectors` vectors."""

    n_vectors: eqx.AbstractVar[int]

    @abc.abstractmethod
    def sample(self, rng: np.random.Generator) -> Element:
        """A random element, for the law tests."""

    @abc.abstractmethod
    def average(self, n_qubits: int) -> tuple[tuple[float, Element], ...]:
        r"""Elements with weights of sum 1, whose mean of $U_g A U_g^\dagger$ is exact.

        It equals the mean over the whole group for every operator $A$ on `n_qubits` qubits.
        """

    @abc.abstractmethod
    def generators(self) -> tuple[Permutation, ...]:
        """Permutations of vectors that generate those of the group; empty if there are none."""


class Rotations(AbstractGroup):
    """SO(3) on every vector, SU(2) on every data qubit."""

    n_vectors: int = eqx.field(static=True)

    def sample(self, rng: np.random.Generator) -> Element:
        a, b, c, d = (q := rng.normal(size=4)) / np.linalg.norm(q)
        unitary = np.array([[a + 1j * b, c + 1j * d], [-c + 1j * d, a - 1j * b]])
        return Element(tuple(range(self.n_vectors)), unitary)

    def average(self, n_qubits: int) -> tuple[tuple[float, Element], ...]:
        r"""A quadrature over the Euler angles of $u = R_z(\alpha) R_y(\beta) R_z(\gamma)$.

        $U A U^\dagger$ holds spins up to $l = n$: `n_qubits` + 1 equally spaced $\alpha$ and
        $\gamma$, and Gauss-Legendre nodes in $\cos\beta$, integrate them exactly.
        """
        circle = 2 * np.pi * np.arange(n_qubits + 1) / (n_qubits + 1)
        nodes, weights = np.polynomial.legendre.leggauss(n_qubits // 2 + 1)
        identity = tuple(range(self.n_vectors))
        return tuple(
            (
                float(weight) / 2 / len(circle) ** 2,
                Element(identity, _turn(2, alpha) @ _turn(1, np.arccos(node)) @ _turn(2, gamma)),
            )
            for alpha, (node, weight), gamma in product(
                circle, zip(nodes, weights, strict=True), circle
            )
        )

    def generators(self) -> tuple[Permutation, ...]:
        return ()


def _turn(axis: int, angle: float) -> Complex[np.ndarray, "2 2"]:
    return np.cos(angle / 2) * np.eye(2) - 1j * np.sin(angle / 2) * PAULIS[axis]


class Reflections(AbstractGroup):
    """`MIRROR` on every vector; on the qubits $Y$ on the data and $Z$ on the ancillas.

    Reference: Le et al. 2023, Sec. II.6, with the representation reconstructed.
    """

    n_vectors: int = eqx.field(static=True)

    def sample(self, rng: np.random.Generator) -> Element:
        return Element(tuple(range(self.n_vectors)), mirrored=bool(rng.integers(2)))

    def average(self, n_qubits: int) -> tuple[tuple[float, Element], ...]:
        identity = tuple(range(self.n_vectors))
        return (0.5, Element(identity)), (0.5, Element(identity, mirrored=True))

    def generators(self) -> tuple[Permutation, ...]:
        return ()


class Permutations(AbstractGroup):
    """The finite group of permutations of vectors that `swaps` generate.

    Raises:
        InputError: one is not a permutation, or they are of different lengths.
    """

    swaps: tuple[Permutation, ...] = eqx.field(static=True)
    n_vectors: int = eqx.field(static=True)

    def __init__(self, swaps: Sequence[Permutation], n_vectors: int):
        if any(sorted(swap) != list(range(n_vectors)) for swap in swaps):
            raise InputError(f"`swaps` must permute {n_vectors} vectors, but are {swaps}.")
        self.swaps, self.n_vectors = tuple(map(tuple, swaps)), n_vectors

    def sample(self, rng: np.random.Generator) -> Element:
        elements = self.elements()
        return Element(elements[rng.integers(len(elements))])

    def elements(self) -> tuple[Permutation, ...]:
        """Every permutation of the group, the identity first."""
        found = [tuple(range(self.n_vectors))]
        known = set(found)
        for element in found:  # grows while it is read
            images = dict.fromkeys(tuple(swap[i] for i in element) for swap in self.swaps)
            found += [image for image in images if image not in known]
            known |= images.keys()
        return tuple(found)

    def average(self, n_qubits: int) -> tuple[tuple[float, Element], ...]:
        elements = self.elements()
        return tuple((1 / len(elements), Element(element)) for element in elements)

    def generators(self) -> tuple[Permutation, ...]:
        return self.swaps


def alike(labels: Sequence[str]) -> Permutations:
    """Every permutation among vectors with equal labels."""
    swaps, last_seen = [], {}
    for b, label in enumerate(labels):
        if label in last_seen:
            a = last_seen[label]
            swaps.append(tuple({a: b, b: a}.get(i, i) for i in range(len(labels))))
        last_seen[label] = b
    return Permutations(swaps, len(labels))


def cyclic(n_vectors: int) -> Permutations:
    """The cyclic permutations of `n_vectors` vectors."""
    return Permutations([(*range(1, n_vectors), 0)], n_vectors)


def cosets(group: Permutations, subgroup: Permutations) -> tuple[Permutation, ...]:
    """One permutation of each left coset of a subgroup, the identity first.

    What is invariant under the subgroup becomes invariant under the group by the mean over them.
    """
    inside, found, covered = subgroup.elements(), [], set()
    for element in group.elements():
        if element not in covered:
            found.append(element)
            covered |= {tuple(element[i] for i in other) for other in inside}
    return tuple(found)


class Product(AbstractGroup):
    """The group generated by commuting `factors` on the same vectors."""

    factors: tuple[AbstractGroup, ...]
    n_vectors: int = eqx.field(static=True)

    def __init__(self, factors: tuple[AbstractGroup, ...]):
        sizes = {factor.n_vectors for factor in factors}
        if len(sizes) != 1:
            raise InputError(
                f"`factors` must act on the same number of vectors, but act on {sorted(sizes)}."
            )
        self.factors, (self.n_vectors,) = factors, sizes

    def sample(self, rng: np.random.Generator) -> Element:
        return reduce(Element.__matmul__, (factor.sample(rng) for factor in self.factors))

    def average(self, n_qubits: int) -> tuple[tuple[float, Element], ...]:
        found = []
        for several in product(*(factor.average(n_qubits) for factor in self.factors)):
            weights, elements = zip(*several, strict=True)
            found.append((float(np.prod(weights)), reduce(Element.__matmul__, elements)))
        return tuple(found)

    def generators(self) -> tuple[Permutation, ...]:
        return tuple(g for factor in self.factors for g in factor.generators())


GROUPS: dict[str, type[AbstractGroup]] = {
    "rotations": Rotations,
    "reflections": Reflections,
    "permutations": Permutations,
    "product": Product,
}


def count_data_qubits(n_qubits: int, n_vectors: int) -> int:
    """Qubits in whole copies of the vectors; those beyond are ancillas."""
    return n_qubits - n_qubits % n_vectors


def lift(permutation: Permutation, n_qubits: int) -> Permutation:
    """The permutation of qubits that follows one of vectors; ancillas stay.

    Raises:
        InputError: there are fewer qubits than vectors.
    """
    n = len(permutation)
    if n_qubits < n:
        raise InputError(f"`n_qubits` must be at least {n}, one per vector, but is {n_qubits}.")
    n_data = count_data_qubits(n_qubits, n)
    return tuple(permutation[q % n] + n * (q // n) if q < n_data else q for q in range(n_qubits))


def orbits(
    items: Iterable[Qubits], group: AbstractGroup, n_qubits: int
) -> tuple[tuple[Qubits, ...], ...]:
    """Orbits of sets of qubits under the permutations of a group, in order of appearance.

    The orbits are complete: an image that is not among `items` still belongs to its orbit, so the
    chain (0,1), (2,3), (1,2) closes to a ring when the group swaps (0,1)(2,3).
    """
    moves = [lift(generator, n_qubits) for generator in group.generators()]
    found: list[tuple[Qubits, ...]] = []
    for item in (tuple(sorted(item)) for item in items):
        if any(item in orbit for orbit in found):
            continue
        orbit, frontier = [item], [item]
        while frontier:
            images = {
                tuple(sorted(move[q] for q in member)) for member in frontier for move in moves
            }
            frontier = sorted(images - set(orbit))
            orbit += frontier
        found.append(tuple(orbit))
    return tuple(found)
