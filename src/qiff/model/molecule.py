"""One circuit for a whole molecule: the symmetry-invariant models of Le et al. 2023."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import check_at_least, check_known, check_positive
from .._types import Expectations, Vectors
from ..atoms.graph import Graph
from ..quantum.circuit import Circuit
from ..quantum.engine import AUTO, choose
from ..quantum.observable import mean_exchange
from ..quantum.state import Singlets
from .design import DESIGNS, Design
from .order import check_elements, sorted_positions
from .potential import AbstractGlobalPotential


class Molecule(AbstractGlobalPotential):
    r"""A molecule as one circuit, laid out by a `Design`.

    $$ u = b + \sum_k \tfrac12\, c_k\, \big(1 +
       \langle X_aX_b + Y_aY_b + Z_aZ_b \rangle_{(a,b) \in O_k}\big) $$

    is dimensionless and starts in [−1, 1]; read-outs $c_k$ and bias $b$ are weights, and the mean
    is over the pairs of an observable. The circuit sees the encoded atoms relative to the origin
    of its design, so translations leave it unchanged; it is invariant under the group of the
    design, and the mean over the images of the design under what that lacks.

    Two vectors span a plane at most, so a reflection acts on them as a rotation: for two and three
    atoms it is a symmetry without more.

    Reference: Le et al. 2023, Secs. II.4 to II.6, Eqs. 10 to 19.
    """

    circuit: Circuit
    readout: Float[Array, " n_observables"]
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
            kind: a key of `DESIGNS`.
            elements: chemical symbols; what they mean is for the design to say.
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
        check_known("Molecule", kind, DESIGNS)
        check_at_least("n_layers", n_layers, 1)
        check_at_least("n_repeats", n_repeats, 1)
        check_positive("initial_scale", initial_scale)
        check_positive("initial_spread", initial_spread)
        choose(engine)
        design = DESIGNS[kind](elements)
        self.kind, self.elements = kind, design.elements
        self.n_repeats, self.symmetry_breaking = n_repeats, symmetry_breaking
        layer, encoding = design.layer(n_repeats, symmetry_breaking), design.encoding()
        self.circuit = Circuit(
            scales=initial_scale * jnp.ones((n_layers + 1, encoding.n_scales)),
            weights=initial_spread * jax.random.normal(key, (n_layers, layer.n_weights)),
            state=Singlets(design.n_qubits, design.singlets),
            encoding=encoding,
            ansatz=layer,
            observables=tuple(mean_exchange(pairs, design.n_qubits) for pairs in design.observed),
            engine=engine,
        )
        n_observables = len(design.observed)
        self.readout, self.bias = jnp.ones(n_observables) / n_observables, jnp.zeros(())

    @property
    def design(self) -> Design:
        """The structure of the circuit."""
        return DESIGNS[self.kind](self.elements)

    def total(self, graph: Graph) -> Float[Array, ""]:
        return self.readout @ (1 + self.invariants(graph)) / 2 + self.bias

    def invariants(self, graph: Graph) -> Expectations:
        """Expectation values, averaged over the images of the design."""
        vectors = self.vectors(graph)
        images = [sign * vectors[np.array(order)] for order, sign in self.design.images]
        return jax.vmap(self.circuit)(jnp.stack(images)).mean(0)

    def vectors(self, graph: Graph) -> Vectors:
        """Encoded atoms relative to the origin."""
        positions = sorted_positions(graph, self.elements)
        weights = self.design.placement.astype(positions.dtype)
        return (weights[:, :, None] * positions).sum(1)

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
        check_elements(numbers, self.elements)
