r"""The circuit: $\langle\psi_0|M^\dagger O M|\psi_0\rangle$, its data uploaded in every layer."""

from dataclasses import replace
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._types import Angles, AnyArray, Expectations
from .ansatz import AbstractAnsatz
from .draw import Mark, Sketch, drawn, sketch_of, trained_mark
from .encoding import AbstractEncoding
from .engine import AUTO, Engine, expectations
from .mirror import with_mirror_image
from .observable import PauliSum
from .program import Program, interleaved, reuploading
from .state import Singlets

Tree = TypeVar("Tree")


class Circuit(eqx.Module):
    r"""A re-uploading circuit: structure, encoding scales and trainable weights.

    $$ M(x) = \Big[\prod_{d=D}^{1} \Phi_d(x)\, U_d\Big] \Phi_0(x) $$

    with encodings $\Phi$ (`encoding`, `scales[d]`) and trainable layers $U$ (`ansatz`,
    `weights[d]`).

    Args:
        scales: of the vectors in each encoding, in radians per Å.
        weights: of each trainable layer, in radians.
        state: at the start.
        encoding: gates whose angles are vectors times scales.
        ansatz: gates of a trainable layer.
        observables: what is measured at the end.
        engine: what simulates it, a key of `ENGINES`, `auto` or an `Engine`.

    Reference: Le et al. 2023, Eq. 2.
    """

    scales: Float[AnyArray, "*batch n_encodings n_scales"]
    weights: Float[AnyArray, "*batch n_layers n_weights"]
    state: Singlets = eqx.field(static=True)
    encoding: AbstractEncoding = eqx.field(static=True)
    ansatz: AbstractAnsatz = eqx.field(static=True)
    observables: tuple[PauliSum, ...] = eqx.field(static=True)
    engine: str | Engine = eqx.field(static=True, default=AUTO)

    @property
    def program(self) -> Program:
        """The gate list: what engines, exporters and counters read."""
        gates = self.encoding.gates(), self.ansatz.gates()
        return reuploading(self.state, *gates, len(self.weights), self.observables)

    def angles(self, vectors: Float[Array, "..."]) -> Angles:
        """Angles of every gate of `program` for these vectors, in radians."""
        trained = jax.vmap(self.ansatz.angles)(jnp.asarray(self.weights))
        scales = jnp.asarray(self.scales)[:, self.encoding.scale_of_slot]
        numbers = jnp.append(jnp.ravel(vectors), 1)  # each angle is a factor times one of them
        one_hot = np.eye(len(numbers), dtype=scales.dtype)
        of_data = scales * one_hot[:, None, self.encoding.number_of_slot]
        factors = interleaved(of_data, trained * one_hot[:, -1, None, None])
        return jnp.matmul(factors.T, numbers, precision="highest")

    def __call__(self, vectors: Float[Array, "..."]) -> Expectations:
        """Expectation values of the observables."""
        return expectations(self.program, self.angles(vectors), engine=self.engine)

    @property
    def sketch(self) -> Sketch:
        """What drawings show: the gate list, and the data or the weight of every gate."""
        program = self.program
        encoded = tuple(Mark("data", label) for label in self.encoding.labels())
        tied = [weight for _, _, weight in self.ansatz.tied_gates()]
        trained = tuple(map(trained_mark, program.layer, tied))
        return Sketch(program, encoded, trained + encoded)

    def draw(self, width: int = 100) -> str:
        """The circuit as text, its layer once; gates that share a weight have one label."""
        return drawn(self.sketch, width)

    def figure(self) -> Any:
        """The circuit as a figure of matplotlib, see `circuit_figure`."""
        from .figure import circuit_figure

        return circuit_figure(self.sketch)


class Simulation(eqx.Module):
    """A gate list whose angles are computed elsewhere, and its engine."""

    program: Program = eqx.field(static=True)
    engine: str | Engine = eqx.field(static=True, default=AUTO)

    def __call__(self, angles: Angles) -> Expectations:
        """Expectation values of the observables."""
        return expectations(self.program, angles, engine=self.engine)

    def with_mirror_image(self, angles: Angles) -> Expectations:
        """Those of the circuit and of its mirror image, see `qiff.quantum.mirror`."""
        return with_mirror_image(self.program, angles, engine=self.engine)

    @property
    def sketch(self) -> Sketch:
        """What drawings show: the gate list, and the data or the weight of every gate."""
        return sketch_of(self.program)

    def draw(self, width: int = 100) -> str:
        """The circuit as text, its layer once."""
        return drawn(self.sketch, width)

    def figure(self) -> Any:
        """The circuit as a figure of matplotlib, see `circuit_figure`."""
        from .figure import circuit_figure

        return circuit_figure(self.sketch)


def with_engine(tree: Tree, engine: str | Engine) -> Tree:
    """The same with another engine for every circuit."""
    return jax.tree.map(
        lambda node: replace(node, engine=engine) if is_circuit(node) else node,
        tree,
        is_leaf=is_circuit,
    )


def circuits_of(tree: Any) -> "list[Circuit | Simulation]":
    """Every circuit in a tree, for instance in a potential."""
    return list(filter(is_circuit, jax.tree.leaves(tree, is_leaf=is_circuit)))


def is_circuit(node: Any) -> bool:
    """Whether a node of a tree has a `program` and an `engine`."""
    return isinstance(node, (Circuit, Simulation))
