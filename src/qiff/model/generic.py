"""The symmetry-agnostic circuit on internal coordinates: the baseline of Le et al. 2023."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import InputError, check_at_least, check_positive
from ..atoms.graph import Graph
from ..quantum.ansatz import HardwareEfficient
from ..quantum.circuit import Circuit
from ..quantum.encoding import AxisRotations
from ..quantum.engine import AUTO, choose
from ..quantum.observable import mean_z
from ..quantum.state import Singlets
from .order import check_elements, check_symbols, once_first, sorted_positions
from .potential import AbstractGlobalPotential


class Generic(AbstractGlobalPotential):
    r"""A hardware-efficient re-uploading circuit of internal coordinates: no symmetry in it.

    $$ u = c\, \tfrac1n \sum_q \langle Z_q \rangle + b $$

    Two atoms have one coordinate, their distance in Å. Three have two distances from the central
    atom, the first element that occurs once, and the angle there in radians. They do not change
    under rotations and reflections, but exchanging alike atoms exchanges two of them, and the
    circuit does not know that this is a symmetry.

    Reference: Kiss et al. 2022, reconstructed.
    """

    circuit: Circuit
    readout: Float[Array, ""]
    bias: Float[Array, ""]
    elements: tuple[str, ...] = eqx.field(static=True)
    fixed_scales: bool = eqx.field(static=True)

    def __init__(
        self,
        elements: Sequence[str],
        n_qubits: int = 3,
        n_layers: int = 6,
        initial_scale: float = 1.0,
        initial_spread: float = 0.1,
        fixed_scales: bool = False,
        engine: str = AUTO,
        *,
        key: PRNGKeyArray,
    ):
        """
        Args:
            elements: two or three chemical symbols.
            n_qubits: coordinate `q % n` is on qubit `q`.
            n_layers: trainable layers D; there are D + 1 encodings.
            initial_scale: encoding scales at the start, radians per Å or radian.
            initial_spread: standard deviation of the trainable angles at the start, in radians.
            fixed_scales: do not train the encoding scales: the frequencies are whole multiples of
                the initial scale, as in a Fourier series.
            engine: what simulates the circuit, see `qiff.quantum.engine`.
            key: of the random start.

        Raises:
            InputError: the elements are not two or three symbols, a size is too small, or the
                engine cannot be used here.
        """
        check_symbols(elements)
        if len(elements) not in (2, 3):
            raise InputError(f"`elements` must be 2 or 3 symbols, but are {list(elements)}.")
        check_at_least("n_qubits", n_qubits, 2)
        check_at_least("n_layers", n_layers, 1)
        check_positive("initial_scale", initial_scale)
        check_positive("initial_spread", initial_spread)
        choose(engine)
        self.fixed_scales = fixed_scales
        self.elements = tuple(elements) if len(elements) == 2 else once_first(elements)
        n_features = 1 if len(elements) == 2 else 3
        layer, encoding = HardwareEfficient(n_qubits), AxisRotations(n_features, n_qubits)
        self.circuit = Circuit(
            scales=initial_scale * jnp.ones((n_layers + 1, encoding.n_scales)),
            weights=initial_spread * jax.random.normal(key, (n_layers, layer.n_weights)),
            state=Singlets(n_qubits, ()),
            encoding=encoding,
            ansatz=layer,
            observables=(mean_z(n_qubits),),
            engine=engine,
        )
        self.readout, self.bias = jnp.ones(()), jnp.zeros(())

    def total(self, graph: Graph) -> Float[Array, ""]:
        first, *others = sorted_positions(graph, self.elements)
        circuit = self.circuit
        if self.fixed_scales:
            circuit = eqx.tree_at(lambda c: c.scales, circuit, replace_fn=jax.lax.stop_gradient)
        (expectation,) = circuit(_internal([other - first for other in others]))
        return self.readout * expectation + self.bias

    def config(self) -> dict[str, Any]:
        return {
            "kind": "generic",
            "elements": list(self.elements),
            "n_qubits": self.circuit.program.n_qubits,
            "n_layers": len(self.circuit.weights),
            "fixed_scales": self.fixed_scales,
            "engine": self.circuit.engine,
        }

    def check(self, numbers: np.ndarray) -> None:
        check_elements(numbers, self.elements)


def _internal(bonds: Sequence[Float[Array, "3"]]) -> Float[Array, " n_features"]:
    """Lengths of one or two bonds, and the angle between two, smooth but for linear molecules."""
    lengths = [jnp.sqrt(bond @ bond) for bond in bonds]
    if len(bonds) == 1:
        return jnp.stack(lengths)
    one, other = bonds
    normal = jnp.cross(one, other)
    return jnp.stack([*lengths, jnp.arctan2(jnp.sqrt(normal @ normal), one @ other)])
