"""One circuit for a whole molecule: the symmetry-invariant models of Le et al. 2023."""

from dataclasses import dataclass
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import check_known, check_positive, check_size
from .._types import Expectations, Numbers, Vectors
from ..atoms.graph import Graph
from ..quantum.circuit import Circuit
from ..quantum.engine import AUTO, choose
from ..quantum.observable import mean_exchange
from ..quantum.state import Singlets
from .design import DESIGNS, Design
from .order import check_elements, sorted_positions
from .potential import AbstractGlobalPotential


@dataclass(frozen=True, kw_only=True)
class MoleculeSettings:
    """Settings of `Molecule`.

    Args:
        kind: a key of `DESIGNS`.
        elements: chemical symbols; their meaning depends on the design.
        n_layers: trainable layers D; there are D + 1 encodings.
        n_repeats: repetitions B of the exchange gates within a layer.
        symmetry_breaking: end each layer with a common z rotation, one weight per layer.
        initial_scale: initial encoding scales, radians per Å.
        initial_spread: standard deviation of the initial trainable angles, in radians: small, so
            that the trainable layers are near the identity, where gradients do not vanish (after
            Grant et al. 2019), and not zero, where some would.
        engine: simulator of the circuit, see `qiff.quantum.engine`.

    Raises:
        InputError: the kind is unknown, the elements do not fit it, a size is too small, or the
            engine cannot be used here.
    """

    kind: str
    elements: tuple[str, ...]
    n_layers: int = 6
    n_repeats: int = 1
    symmetry_breaking: bool = False
    initial_scale: float = 1.0
    initial_spread: float = 0.1
    engine: str = AUTO

    def __post_init__(self):
        check_known("Molecule", self.kind, DESIGNS)
        check_size("n_layers", self.n_layers, 1)
        check_size("n_repeats", self.n_repeats, 1)
        check_positive("initial_scale", self.initial_scale)
        check_positive("initial_spread", self.initial_spread)
        choose(self.engine)
        object.__setattr__(self, "elements", self.design.elements)

    @property
    def design(self) -> Design:
        """The structure of the circuit."""
        return DESIGNS[self.kind](self.elements)


class Molecule(AbstractGlobalPotential):
    r"""A molecule as one circuit, laid out by a `Design`.

    $$ u = b + \sum_k \tfrac12\, c_k\, \big(1 +
       \langle X_aX_b + Y_aY_b + Z_aZ_b \rangle_{(a,b) \in O_k}\big) $$

    is dimensionless and initially in [−1, 1]; read-outs $c_k$ and bias $b$ are weights, and the
    mean is over the pairs of an observable. The circuit encodes positions relative to the origin
    of its design, so translations leave it unchanged; it is invariant under the group of the
    design, and the mean over the images of the design under what that lacks.

    Two vectors span a plane at most, so a reflection acts on them as a rotation: for two and three
    atoms it is a symmetry without more.

    Reference: Le et al. 2023, Secs. II.4 to II.6, Eqs. 10 to 19.
    """

    Settings: ClassVar = MoleculeSettings
    circuit: Circuit
    readout: Float[Array, " n_observables"]
    bias: Float[Array, ""]
    settings: MoleculeSettings = eqx.field(static=True)

    def __init__(self, settings: MoleculeSettings, *, key: PRNGKeyArray):
        """
        Args:
            settings: the hyper-parameters.
            key: of the random initial weights.
        """
        self.settings, design, n_layers = settings, settings.design, settings.n_layers
        layer = design.layer(settings.n_repeats, settings.symmetry_breaking)
        encoding = design.encoding()
        normal = jax.random.normal(key, (n_layers, layer.n_weights))
        self.circuit = Circuit(
            scales=settings.initial_scale * jnp.ones((n_layers + 1, encoding.n_scales)),
            weights=settings.initial_spread * normal,
            state=Singlets(design.n_qubits, design.singlets),
            encoding=encoding,
            ansatz=layer,
            observables=tuple(mean_exchange(pairs, design.n_qubits) for pairs in design.observed),
            engine=settings.engine,
        )
        n_observables = len(design.observed)
        self.readout, self.bias = jnp.ones(n_observables) / n_observables, jnp.zeros(())

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols in the order of the design."""
        return self.settings.elements

    def total(self, graph: Graph) -> Float[Array, ""]:
        return self.readout @ (1 + self.invariants(graph)) / 2 + self.bias

    def invariants(self, graph: Graph) -> Expectations:
        """Expectation values, averaged over the images of the design."""
        vectors = self.vectors(graph)
        images = [sign * vectors[np.array(order)] for order, sign in self.settings.design.images]
        return jax.vmap(self.circuit)(jnp.stack(images)).mean(0)

    def vectors(self, graph: Graph) -> Vectors:
        """Positions of the encoded atoms relative to their origins."""
        positions = sorted_positions(graph, self.elements)
        weights = self.settings.design.placement.astype(positions.dtype)
        return (weights[:, :, None] * positions).sum(1)

    def check(self, numbers: Numbers) -> None:
        check_elements(numbers, self.elements)
