"""Circuits as descriptors: their invariants feed a small classical network."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import InputError, check_size
from .._types import Numbers
from ..atoms.graph import Graph
from .molecule import Molecule
from .potential import AbstractGlobalPotential, AbstractPotential


@dataclass(frozen=True, kw_only=True)
class HybridSettings:
    """Settings of `Hybrid`.

    Args:
        n_hidden: hidden units.

    Raises:
        InputError: there is no hidden unit.
    """

    kind: str = "hybrid"
    n_hidden: int = 16

    def __post_init__(self):
        check_size("n_hidden", self.n_hidden, 1)


class Hybrid(AbstractGlobalPotential):
    r"""$u = a\cdot\tanh(W\,q + c) + b\cdot q + d$ of the invariants $q$ of several circuits.

    It has the symmetry of its circuits. Reference: the outlook of Le et al. 2023, Sec. IV.
    """

    Settings: ClassVar = HybridSettings
    circuits: tuple[Molecule, ...]
    hidden: Float[Array, "n_hidden n_invariants"]
    shift: Float[Array, " n_hidden"]
    readout: Float[Array, " n_hidden"]
    linear: Float[Array, " n_invariants"]
    bias: Float[Array, ""]
    settings: HybridSettings = eqx.field(static=True)

    def __init__(
        self,
        circuits: Sequence[AbstractPotential],
        settings: HybridSettings,
        *,
        key: PRNGKeyArray,
    ):
        """
        Args:
            circuits: models of one molecule, of any kind in `DESIGNS`.
            settings: the hyper-parameters.
            key: of the random initial weights.

        Raises:
            InputError: there is no circuit, one is something else, or they differ in elements.
        """
        self.circuits = tuple(one for one in circuits if isinstance(one, Molecule))
        if not circuits or len(self.circuits) < len(circuits):
            raise InputError("`circuits` must be one or more models of a single molecule.")
        if len({tuple(sorted(circuit.elements)) for circuit in self.circuits}) > 1:
            raise InputError("`circuits` must have the same elements.")
        self.settings, n_hidden = settings, settings.n_hidden
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

    def check(self, numbers: Numbers) -> None:
        self.circuits[0].check(numbers)
