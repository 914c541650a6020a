"""The symmetry-agnostic circuit on internal coordinates: the baseline of Le et al. 2023."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import InputError, check_positive, check_size
from .._types import Numbers
from ..atoms.graph import Graph
from ..quantum.ansatz import HardwareEfficient
from ..quantum.circuit import Circuit
from ..quantum.encoding import AxisRotations
from ..quantum.engine import AUTO, choose
from ..quantum.observable import mean_z
from ..quantum.state import Singlets
from .density import length
from .order import check_elements, check_symbols, once_first, sorted_positions
from .potential import AbstractGlobalPotential


@dataclass(frozen=True, kw_only=True)
class GenericSettings:
    """Settings of `Generic`.

    Args:
        elements: two or three chemical symbols.
        n_qubits: coordinate `q % n` is on qubit `q`.
        n_layers: trainable layers D; there are D + 1 encodings.
        initial_scale: initial encoding scales, radians per Å or radian.
        initial_spread: standard deviation of the initial trainable angles, in radians.
        fixed_scales: do not train the encoding scales: the frequencies are whole multiples of
            the initial scale, as in a Fourier series.
        engine: simulator of the circuit, see `qiff.quantum.engine`.

    Raises:
        InputError: the elements are not two or three symbols, a size is too small, or the engine
            cannot be used here.
    """

    kind: str = "generic"
    elements: tuple[str, ...]
    n_qubits: int = 3
    n_layers: int = 6
    initial_scale: float = 1.0
    initial_spread: float = 0.1
    fixed_scales: bool = False
    engine: str = AUTO

    def __post_init__(self):
        check_symbols(self.elements)
        if len(self.elements) not in (2, 3):
            raise InputError(f"`elements` must be 2 or 3 symbols, but are {list(self.elements)}.")
        check_size("n_qubits", self.n_qubits, 2)
        check_size("n_layers", self.n_layers, 1)
        check_positive("initial_scale", self.initial_scale)
        check_positive("initial_spread", self.initial_spread)
        choose(self.engine)
        if len(self.elements) == 3:
            object.__setattr__(self, "elements", once_first(self.elements))


class Generic(AbstractGlobalPotential):
    r"""A hardware-efficient re-uploading circuit of internal coordinates, without symmetry.

    $$ u = c\, \tfrac1n \sum_q \langle Z_q \rangle + b $$

    Two atoms have one coordinate, their distance in Å. Three have two distances from the central
    atom, the first element that occurs once, and the angle there in radians. They are invariant
    under rotations and reflections, but exchanging alike atoms exchanges two of them, and the
    circuit is not symmetric under this exchange.

    Reference: Kiss et al. 2022, reconstructed.
    """

    Settings: ClassVar = GenericSettings
    circuit: Circuit
    readout: Float[Array, ""]
    bias: Float[Array, ""]
    settings: GenericSettings = eqx.field(static=True)

    def __init__(self, settings: GenericSettings, *, key: PRNGKeyArray):
        """
        Args:
            settings: the hyper-parameters.
            key: of the random initial weights.
        """
        self.settings, n_qubits, n_layers = settings, settings.n_qubits, settings.n_layers
        n_features = 1 if len(settings.elements) == 2 else 3
        layer, encoding = HardwareEfficient(n_qubits), AxisRotations(n_features, n_qubits)
        normal = jax.random.normal(key, (n_layers, layer.n_weights))
        self.circuit = Circuit(
            scales=settings.initial_scale * jnp.ones((n_layers + 1, encoding.n_scales)),
            weights=settings.initial_spread * normal,
            state=Singlets(n_qubits, ()),
            encoding=encoding,
            ansatz=layer,
            observables=(mean_z(n_qubits),),
            engine=settings.engine,
        )
        self.readout, self.bias = jnp.ones(()), jnp.zeros(())

    def total(self, graph: Graph) -> Float[Array, ""]:
        first, *others = sorted_positions(graph, self.settings.elements)
        circuit = self.circuit
        if self.settings.fixed_scales:
            circuit = eqx.tree_at(lambda c: c.scales, circuit, replace_fn=jax.lax.stop_gradient)
        (expectation,) = circuit(_internal([other - first for other in others]))
        return self.readout * expectation + self.bias

    def check(self, numbers: Numbers) -> None:
        check_elements(numbers, self.settings.elements)


def _internal(bonds: Sequence[Float[Array, "3"]]) -> Float[Array, " n_features"]:
    """Lengths of one or two bonds, and the angle between two. Where atoms coincide or are in line,
    a length or the angle has no derivative: it is taken to be zero, the mean over directions."""
    lengths = [length(bond) for bond in bonds]
    if len(bonds) == 1:
        return jnp.stack(lengths)
    one, other = bonds
    sine, cosine = length(jnp.cross(one, other)), one @ other
    cosine = jnp.where((sine == 0) & (cosine == 0), 1, cosine)
    return jnp.stack([*lengths, jnp.arctan2(sine, cosine)])
