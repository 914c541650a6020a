"""From the names of the atoms to the structure of a circuit: group, qubits, tied pairs.

A new molecule is one function in `DESIGNS`: from elements to a `Design`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .._checks import InputError
from .._types import Pair, Permutation
from ..quantum import ansatz
from ..quantum.encoding import AbstractVectorEncoding, Mirror, Spin
from ..quantum.symmetry import (
    AbstractGroup,
    Permutations,
    Product,
    Reflections,
    Rotations,
    alike,
    cosets,
    count_data_qubits,
    cyclic,
    orbits,
)
from .order import check_symbols, once_first


@dataclass(frozen=True)
class Design:
    """The circuit of a molecule before it has weights.

    Args:
        elements: chemical symbols in the order of the circuit.
        encoded: atoms that are encoded, each relative to an origin.
        origins: for each of them the atoms whose centre is its origin.
        group: the symmetry of the circuit.
        n_qubits: data qubits, in whole copies of the encoded atoms, and ancillas.
        singlets: pairs of the initial state.
        coupled: pairs with an exchange gate in each layer, completed to orbits.
        observed: groups of pairs; the mean exchange of each is measured.
        images: permutations and signs of the vectors whose mean is the model: what the circuit
            itself does not respect, the mean does.
    """

    elements: tuple[str, ...]
    encoded: tuple[int, ...]
    origins: tuple[tuple[int, ...], ...]
    group: AbstractGroup
    n_qubits: int
    singlets: tuple[Pair, ...]
    coupled: tuple[Pair, ...]
    observed: tuple[tuple[Pair, ...], ...]
    images: tuple[tuple[Permutation, int], ...]

    @property
    def placement(self) -> Float[np.ndarray, "n_encoded n_atoms"]:
        """Positions to those of the encoded atoms relative to their origins."""
        one = np.eye(len(self.elements))
        centres = [one[list(origin)].mean(0) for origin in self.origins]
        return one[list(self.encoded)] - np.array(centres)

    @property
    def n_data(self) -> int:
        """Data qubits: those that are no ancillas."""
        return count_data_qubits(self.n_qubits, len(self.encoded))

    def encoding(self) -> AbstractVectorEncoding:
        """`Mirror` if there is an ancilla, else `Spin`."""
        kind = Spin if self.n_data == self.n_qubits else Mirror
        return kind(self.group, self.n_qubits)

    def layer(self, n_repeats: int, symmetry_breaking: bool) -> ansatz.AbstractAnsatz:
        """Exchange gates, `n_repeats` times, a z rotation of the ancillas, and the breaking."""
        data, all_qubits = tuple(range(self.n_data)), tuple(range(self.n_qubits))
        parts: list[ansatz.AbstractAnsatz] = [
            ansatz.Exchange(self.group, self.n_qubits, self.coupled)
        ] * n_repeats
        for wanted, qubits in ((True, all_qubits[self.n_data :]), (symmetry_breaking, data)):
            parts += [ansatz.CommonRz(qubits)] if wanted and qubits else []
        return ansatz.Sequence(tuple(parts))


def diatomic(elements: Sequence[str]) -> Design:
    """Two atoms about their centre, each on two qubits. (Le et al. 2023, Sec. II.4.)"""
    check_symbols(elements, 2)
    return _four_qubits(tuple(elements), origin=(0, 1), encoded=(0, 1))


def triatomic(elements: Sequence[str]) -> Design:
    """Two atoms about a central one, each on two qubits. (Le et al. 2023, Sec. II.5.)

    The central atom is the first element that occurs once. Exchange of alike atoms swaps qubits
    (0,1) and (2,3), which closes the chain of pairs to a ring whose bonds (1,2) and (3,0) share
    a weight.
    """
    check_symbols(elements, 3)
    return _four_qubits(once_first(elements), origin=(0,), encoded=(1, 2))


def _four_qubits(elements: tuple[str, ...], origin: tuple[int, ...], encoded: Pair) -> Design:
    """Two vectors span a plane at most, so a reflection acts on them as a rotation."""
    labels = [elements[atom] for atom in encoded]
    return Design(
        elements=elements,
        encoded=encoded,
        origins=(origin, origin),
        group=Product((Rotations(2), alike(labels))),
        n_qubits=4,
        singlets=((0, 1), (2, 3)),
        coupled=((0, 1), (2, 3), (1, 2)),
        observed=(((0, 1),),),
        images=(((0, 1), 1),),
    )


_MOST_OUTER = 7  # atoms of `central`, whose circuit has 1440 images then


def central(elements: Sequence[str]) -> Design:
    """A central atom, the first element that occurs once, and three to seven alike atoms.

    Each outer atom is on two qubits, `i` and `i + n`. Pairs (i, i + n) and (i, i + 1 + n) make a
    ring through all qubits; their orbits under cyclic exchanges are disjoint, and the second are
    singlets at the start. The mean over the cosets of these exchanges, (n - 1)! of them, makes
    the model invariant under all; that over an inversion, which is a reflection and a rotation,
    under reflections.
    """
    elements = once_first(elements)
    n = len(elements) - 1
    if not 3 <= n <= _MOST_OUTER or len(set(elements[1:])) != 1:
        raise InputError(
            f"`elements` must be a central atom and 3 to {_MOST_OUTER} that are alike, but are "
            f"{list(elements)}."
        )
    own = tuple((i, i + n) for i in range(n))
    next_one = tuple((i, (i + 1) % n + n) for i in range(n))
    return Design(
        elements=elements,
        encoded=tuple(range(1, n + 1)),
        origins=((0,),) * n,
        group=Product((Rotations(n), cyclic(n))),
        n_qubits=2 * n,
        singlets=next_one,
        coupled=(own[0], next_one[0]),
        observed=(own, next_one),
        images=tuple((p, sign) for p in cosets(alike(elements[1:]), cyclic(n)) for sign in (1, -1)),
    )


def dimer(elements: Sequence[str]) -> Design:
    """Two triatomic molecules about the midpoint of their central atoms, and an ancilla.

    Atoms are in the order O, O, H, H, H, H whatever the order of elements in a file: the first
    two hydrogens belong to the first oxygen. Exchanged may be the hydrogens of a molecule and
    the molecules. Every gate of a layer commutes with every other.

    Each pair of qubits interacts with the rest through the ancilla alone, which knows no
    direction. So the model is invariant even under rotations of the oxygens, of the first two
    hydrogens and of the last two, each on their own: it sees no distance between an oxygen and a
    hydrogen but by symmetry breaking. `coupled_dimer` has no such limit.

    Reference: Le et al. 2023, Sec. II.6, reconstructed from its constraints.
    """
    elements = _two_and_four(elements)
    pairs = ((0, 1), (2, 3), (4, 5))
    return Design(
        elements=elements,
        encoded=tuple(range(6)),
        origins=((0, 1),) * 6,
        group=Product((Rotations(6), Reflections(6), _DIMER)),
        n_qubits=7,
        singlets=pairs,
        coupled=pairs,
        observed=(pairs,),
        images=((tuple(range(6)), 1),),
    )


def coupled_dimer(elements: Sequence[str]) -> Design:
    """As `dimer`, with exchange between all atoms and hydrogens seen from their oxygen.

    Pairs of an oxygen and a hydrogen have disjoint orbits only under the exchange of the
    molecules; the mean over four exchanges of hydrogens and over an inversion does the rest.
    """
    elements = _two_and_four(elements)
    molecules = Permutations(_DIMER.swaps[-1:], 6)
    orbits_of = ((0, 1), (2, 3), (0, 2), (0, 3), (0, 4), (0, 5), (2, 4), (3, 5), (2, 5))
    return Design(
        elements=elements,
        encoded=tuple(range(6)),
        origins=((0, 1), (0, 1), (0,), (0,), (1,), (1,)),
        group=Product((Rotations(6), molecules)),
        n_qubits=6,
        singlets=((0, 1), (2, 3), (4, 5)),
        coupled=orbits_of,
        observed=orbits(orbits_of, molecules, 6),  # pyright: ignore
        images=tuple((p, sign) for p in cosets(_DIMER, molecules) for sign in (1, -1)),
    )


_DIMER = Permutations(((0, 1, 3, 2, 4, 5), (0, 1, 2, 3, 5, 4), (1, 0, 4, 5, 2, 3)), 6)
"""Exchanges of O, O, H, H, H, H: the hydrogens of either molecule, and the molecules."""


def _two_and_four(elements: Sequence[str]) -> tuple[str, ...]:
    """Two atoms of one element, then four of the other."""
    check_symbols(elements, 6)
    kinds = sorted(set(elements), key=list(elements).count)
    if [list(elements).count(kind) for kind in kinds] != [2, 4]:
        raise InputError(
            "`elements` must be two central atoms and four that are alike, but are "
            f"{list(elements)}."
        )
    return (kinds[0],) * 2 + (kinds[1],) * 4


DESIGNS: dict[str, Callable[[Sequence[str]], Design]] = {
    "diatomic": diatomic,
    "triatomic": triatomic,
    "central": central,
    "dimer": dimer,
    "coupled_dimer": coupled_dimer,
}
