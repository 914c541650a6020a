"""CircuitInteraction as descriptors: their invariants feed a small classical network."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import InputError, check_at_least
from ..atoms.graph import Graph
from .molecule import Molecule
from .potential import AbstractGlobalPotential, AbstractPotential


class Hybrid(AbstractGlobalPotential):
    r"""$u = a\cdot\tanh(W\,q + c) + b\cdot q + d$ of the invariants $q$ of several circuits.

    Symmetric as its circuits are. Reference: the outlook of Le et al. 2023, Sec. IV.
    """

    circuits: tuple[Molecule, ...]
    hidden: Float[Array, "n_hidden n_invariants"]
    shift: Float[Array, " n_hidden"]
    readout: Float[Array, " n_hidden"]
    linear: Float[Array, " n_invariants"]
    bias: Float[Array, ""]

    def __init__(
        self, circuits: Sequence[AbstractPotential], n_hidden: int = 16, *, key: PRNGKeyArray
    ):
        """
        Args:
            circuits: models of one molecule, of any kind in `DESIGNS`.
            n_hidden: hidden units.
            key: of the random start.

        Raises:
            InputError: there is no circuit, one is something else, or they differ in elements.
        """
        check_at_least("n_hidden", n_hidden, 1)
        if not circuits or not all(isinstance(circuit, Molecule) for circuit in circuits):
            raise InputError("`circuits` must be one or more models of a single molecule.")
        self.circuits = tuple(circuits)  # pyright: ignore[reportAttributeAccessIssue]
        if len({tuple(sorted(circuit.elements)) for circuit in self.circuits}) > 1:
            raise InputError("`circuits` must have the same elements.")
        n = sum(len(circuit.readout) for circuit in self.circuits)
        first, second = jax.random.split(key)
        self.hidden = jax.random.normal(first, (n_hidden, n)) / np.sqrt(n)
        self.shift, self.bias = jnp.zeros(n_hidden), jnp.zeros(())
        self.readout = 0.1 * jax.random.normal(second, (n_hidden,)) / np.sqrt(n_hidden)
        self.linear = jnp.ones(n) / n

    def total(self, graph: Graph) -> Float[Array, ""]:
        invariants = jnp.concatenate([circuit.invariants(graph) for circuit in self.circuits])
        hidden = jnp.tanh(self.hidden @ invariants + self.shift)
        return self.readout @ hidden + self.linear @ invariants + self.bias

    def config(self) -> dict[str, Any]:
        return {
            "kind": "hybrid",
            "circuits": [circuit.config() for circuit in self.circuits],
            "n_hidden": len(self.shift),
        }

    def check(self, numbers: np.ndarray) -> None:
        self.circuits[0].check(numbers)
