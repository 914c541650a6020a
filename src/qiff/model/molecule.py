"""One circuit for a whole molecule: the symmetry-invariant models of Le et al. 2023."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from ase.symbols import Symbols
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import InputError, check_at_least, check_known, check_positive
from .._types import Energies, Vectors
from ..atoms.graph import Graph
from ..quantum import ansatz
from ..quantum.circuit import Circuit
from ..quantum.encoding import Spin
from ..quantum.engine import AUTO, choose
from ..quantum.observable import pair_exchange
from ..quantum.state import Singlets
from ..quantum.symmetry import Permutations, Product, Rotations
from .potential import AbstractPotential


@dataclass(frozen=True)
class Layout:
    """Which atoms of a molecule define the origin (their centre) and which are encoded."""

    n_atoms: int
    origin: tuple[int, ...]
    encoded: tuple[int, ...]

    @property
    def weights(self) -> Float[np.ndarray, "n_encoded n_atoms"]:
        """Positions to positions of the encoded atoms relative to the origin."""
        one = np.eye(self.n_atoms)
        return one[list(self.encoded)] - one[list(self.origin)].mean(0)


LAYOUTS: dict[str, Layout] = {
    "diatomic": Layout(n_atoms=2, origin=(0, 1), encoded=(0, 1)),
    "triatomic": Layout(n_atoms=3, origin=(0,), encoded=(1, 2)),
}

N_QUBITS = 4
CHAIN = ((0, 1), (2, 3), (1, 2))
"""Pairs coupled in a layer. Exchange of alike atoms swaps qubits (0,1) and (2,3), whose orbits
close the chain to a ring in which (1,2) and (3,0) share one weight."""


class Molecule(AbstractPotential):
    r"""A molecule of two or three atoms as one circuit of four qubits, each vector encoded twice.

    $$ u = \tfrac12\, c\, \big(1 + \langle X_0X_1 + Y_0Y_1 + Z_0Z_1 \rangle\big) + b $$

    is dimensionless and starts in [−1, 1]; read-out $c$ and bias $b$ are weights. The circuit
    sees the encoded atoms relative to the origin of its layout, so translations leave it
    unchanged; its group is that of rotations and of exchanges of alike atoms. Two vectors span a
    plane at most, so a reflection acts on them as a rotation: it is a symmetry as well.

    Reference: Le et al. 2023, Secs. II.4 and II.5, Eqs. 10 to 15.
    """

    circuit: Circuit
    readout: Float[Array, ""]
    bias: Float[Array, ""]
    kind: str = eqx.field(static=True)
    elements: tuple[str, ...] = eqx.field(static=True)
    n_repeats: int = eqx.field(static=True)
    symmetry_breaking: bool = eqx.field(static=True)

    def __init__(
        self,
        kind: str,
        elements: Sequence[str],
        n_layers: int = 6,
        n_repeats: int = 1,
        symmetry_breaking: bool = False,
        initial_scale: float = 1.0,
        initial_spread: float = 0.1,
        engine: str = AUTO,
        *,
        key: PRNGKeyArray,
    ):
        """
        Args:
            kind: `diatomic` or `triatomic`.
            elements: chemical symbols. In a triatomic molecule the first element that occurs
                once is the origin.
            n_layers: trainable layers D; there are D + 1 encodings.
            n_repeats: repetitions B of the exchange gates within a layer.
            symmetry_breaking: end each layer with a common z rotation, one weight per layer.
            initial_scale: encoding scales at the start, radians per Å.
            initial_spread: standard deviation of the trainable angles at the start, in radians:
                small, so that the trainable layers start near the identity, where gradients do
                not vanish (after Grant et al. 2019), and not zero, where some would.
            engine: what simulates the circuit, see `qiff.quantum.engine`.
            key: of the random start.

        Raises:
            InputError: the kind is unknown, the elements do not fit it, a size is too small, or
                the engine cannot be used here.
        """
        check_known("Molecule", kind, LAYOUTS)
        check_at_least("n_layers", n_layers, 1)
        check_at_least("n_repeats", n_repeats, 1)
        check_positive("initial_scale", initial_scale)
        check_positive("initial_spread", initial_spread)
        choose(engine)
        self.kind, self.elements = kind, _origin_first(LAYOUTS[kind], elements)
        self.n_repeats, self.symmetry_breaking = n_repeats, symmetry_breaking
        labels = tuple(self.elements[i] for i in LAYOUTS[kind].encoded)
        group = Product((Rotations(len(labels)), Permutations(labels)))
        parts: tuple[ansatz.AbstractAnsatz, ...] = (ansatz.Exchange(group, N_QUBITS, CHAIN),)
        breaking = (ansatz.CommonRz(N_QUBITS),) if symmetry_breaking else ()
        layer = ansatz.Sequence(parts * n_repeats + breaking)
        encoding = Spin(group, N_QUBITS)
        self.circuit = Circuit(
            scales=initial_scale * jnp.ones((n_layers + 1, encoding.n_scales)),
            weights=initial_spread * jax.random.normal(key, (n_layers, layer.n_weights)),
            state=Singlets(N_QUBITS, ((0, 1), (2, 3))),
            encoding=encoding,
            ansatz=layer,
            observables=(pair_exchange((0, 1), N_QUBITS),),
            engine=engine,
        )
        self.readout, self.bias = jnp.ones(()), jnp.zeros(())

    def __call__(self, graph: Graph) -> Energies:
        (expectation,) = self.circuit(self.vectors(graph))
        value = self.readout * (1 + expectation) / 2 + self.bias
        n_atoms = len(self.elements)
        return jnp.full(n_atoms, value / n_atoms)

    def vectors(self, graph: Graph) -> Vectors:
        """Encoded atoms relative to the origin, in the order of `elements` whatever the graph's.

        As products and sums, without sort and gather, which would cost more than the circuit.
        """
        rank = np.zeros(len(chemical_symbols), np.int32)
        for place, symbol in reversed(list(enumerate(self.elements))):
            rank[atomic_numbers[symbol]] = len(self.elements) * place
        atoms = np.arange(len(self.elements))
        key = jnp.asarray(rank)[graph.numbers] + atoms
        place = (key < key[:, None]).sum(1)
        positions = jnp.asarray(graph.positions)
        weights = LAYOUTS[self.kind].weights.astype(positions.dtype)
        ordered = (jnp.where(place == atoms[:, None], 1, 0)[:, :, None] * positions).sum(1)
        return (weights[:, :, None] * ordered).sum(1)

    def config(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "elements": list(self.elements),
            "n_layers": len(self.circuit.weights),
            "n_repeats": self.n_repeats,
            "symmetry_breaking": self.symmetry_breaking,
            "engine": self.circuit.engine,
        }

    def check(self, numbers: np.ndarray) -> None:
        expected = [atomic_numbers[symbol] for symbol in self.elements]
        if sorted(numbers) != sorted(expected):
            raise InputError(
                f"the model describes {_formula(expected)} ({len(expected)} atoms), "
                f"but the structure is {_formula(numbers)} ({len(numbers)} atoms): "
                "use a model trained for it."
            )


def _formula(numbers: Sequence[int] | np.ndarray) -> str:
    return Symbols(numbers).get_chemical_formula()


def _origin_first(layout: Layout, elements: Sequence[str]) -> tuple[str, ...]:
    """The elements in the order of the layout: what the origin is, then what is encoded.

    Raises:
        InputError: their number is wrong, one is unknown, or none can be the origin.
    """
    for symbol in elements:
        check_known("Element", symbol, chemical_symbols[1:])
    if len(elements) != layout.n_atoms:
        raise InputError(f"`elements` must be {layout.n_atoms} symbols, but are {list(elements)}.")
    if set(layout.origin) & set(layout.encoded):
        return tuple(elements)
    once = [symbol for symbol in elements if list(elements).count(symbol) == 1]
    if not once:
        raise InputError(
            f"`elements` must have one that occurs once, the origin, but are {list(elements)}."
        )
    rest = list(elements)
    rest.remove(once[0])
    return (once[0], *rest)
