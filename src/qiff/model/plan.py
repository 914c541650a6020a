r"""Splits a potential into its circuits and the classical functions between them.

Any potential is traced once and its circuits are taken out of the trace. Those whose angles depend
on the results of others are a later stage. With the expectation values $o_k$ of stage $k$,

$$ a_k = A_k(R, o_1, \dots, o_{k-1}), \qquad E = E(R, o_1, \dots, o_K) $$

remain as classical functions. Where circuits were measured, they are taken as linear in their
angles, $o_k + J_k\,(a - a_k)$ with the measured derivatives $J_k$: the derivative of the energy
with respect to the positions is then exact, through all stages.
"""

from collections.abc import Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._checks import InputError
from .._types import Energy, Positions
from ..atoms.graph import Graph
from ..atoms.neighbours import all_pairs
from ..quantum.circuit import with_engine
from ..quantum.program import Program
from .derivatives import energy
from .marks import TO_BE_MEASURED, depths, evaluate, marked
from .potential import AbstractPotential

Values = tuple[Float[Array, "_ _"], ...]
"""Expectation values of circuits, an array (n_circuits, n_observables) for each gate list."""
GUESSED_VALUE, GUESSED_SLOPE = 1.0, 0.5
"""Standard deviations of expectation values that have not been measured, and of derivatives."""


class Response(NamedTuple):
    """Expectation values of the circuits of a gate list near the angles where they are known.

    Args:
        values: expectation values.
        slopes: their derivatives with respect to the angles.
    """

    values: Float[Array, "n_circuits n_observables"]
    slopes: Float[Array, "n_circuits n_observables n_slots"]

    def near(self, angles: Float[Array, "n_circuits n_slots"]) -> Array:
        """The values, as a linear function of the angles."""
        off = angles - jax.lax.stop_gradient(angles)
        return self.values + jnp.einsum("nos,ns->no", self.slopes, off)


Known = Sequence[Response | None]
"""For each gate list what was measured; None for circuits of this stage and of later ones."""


class Request(NamedTuple):
    """What is to be measured in one stage of one geometry; an entry for each gate list.

    Args:
        angles: of the circuits, each (n_circuits, n_slots).
        slopes: derivatives of the angles with respect to the positions, also through the circuits
            of earlier stages.
        weights: derivative of the energy with respect to the expectation values, where those are 0;
            circuits of later stages have random responses, see `guessed`.
        fed: angles that depend on the expectation values of earlier stages.
    """

    angles: tuple[Float[Array, "_ _"], ...]
    slopes: tuple[Float[Array, "_ _ n_atoms 3"], ...]
    weights: Values
    fed: tuple[Bool[Array, "_ _"], ...]


class Answer(NamedTuple):
    """Energy and forces that follow from the expectation values, and their derivatives.

    Args:
        result: energy in eV, then the forces in eV/Å.
        sensitivities: derivatives of `result` with respect to the expectation values.
        weights: derivative of the energy with respect to the expectation values.
    """

    result: Float[Array, " n_results"]
    sensitivities: tuple[Float[Array, "n_results _ _"], ...]
    weights: Values


def plan(potential: AbstractPotential, numbers: np.ndarray) -> "Plan":
    """The circuits of a potential of this structure for atoms of these numbers.

    Raises:
        InputError: there are no circuits, or they stand in a loop.
    """
    leaves, structure = jax.tree.flatten(with_engine(potential, TO_BE_MEASURED))
    shapes = tuple(np.shape(leaf) for leaf in leaves)
    return _plan(structure, shapes, tuple(map(int, numbers)))


class CircuitTrace:
    """A potential traced once for one graph, without what its circuits compute.

    Args:
        potential: its structure, and examples of its weights.
        seen: a graph, its positions an example.

    Raises:
        InputError: there are no circuits, or they stand in a loop.
    """

    programs: tuple[Program, ...]
    stages: tuple[tuple[int, ...], ...]
    """Numbers of the gate lists whose circuits are measured together."""

    def __init__(self, potential: AbstractPotential, seen: Graph):
        leaves, structure = jax.tree.flatten(with_engine(potential, TO_BE_MEASURED))

        def of_weights(weights: Sequence[Array], positions: Positions) -> Energy:
            return energy(jax.tree.unflatten(structure, weights), seen.at(positions))

        self._trace = jax.make_jaxpr(of_weights)(leaves, seen.positions)
        self.programs = tuple(marked(self._trace.jaxpr))
        if not self.programs:
            raise InputError(
                "The potential has no circuits that could be sent to a quantum computer: use it "
                "without an executor."
            )
        of_marks = depths(self._trace.jaxpr)
        self.stages = tuple(
            tuple(n for n, depth in enumerate(of_marks) if depth == stage)
            for stage in sorted(set(of_marks))
        )

    def run(
        self, weights: Sequence[Any], positions: Any, known: Known
    ) -> tuple[tuple[Array, ...], Energy]:
        """Angles of the circuits of each gate list, and the energy in eV."""
        found: list[Array] = []

        def insert(program: Program, angles: Array) -> Array:
            number, at = len(found), angles.reshape(-1, program.n_slots)
            found.append(at)
            response = known[number] or guessed(number, program, at)
            values = response.near(at)
            return values.reshape(*angles.shape[:-1], len(program.observables))

        (total,) = evaluate(self._trace, [*weights, positions], insert)
        return tuple(found), total

    def energy(self, weights: Sequence[Array], positions: Positions, known: Known) -> Energy:
        """Energy in eV."""
        return self.run(weights, positions, known)[1]

    def request(
        self,
        weights: Sequence[Array],
        positions: Positions,
        stage: int = 0,
        known: Known | None = None,
    ) -> Request:
        """See `Request`."""
        own = self.stages[stage]
        given: Known = known or (None,) * len(self.programs)
        dtype = positions.dtype

        def angles(moved: Float[Array, " n_moved"]) -> Any:
            *_, step = moved
            responses = [
                one and one._replace(values=one.values + step * _drawn(0, one.values.shape, dtype))
                for one in given
            ]
            found, _ = self.run(weights, moved[:-1].reshape(positions.shape), responses)
            at = tuple(found[number] for number in own)
            return at, at

        unmoved = jnp.append(jnp.ravel(positions), 0)
        columns, at = jax.jacfwd(angles, has_aux=True)(unmoved)
        slopes = tuple(of[..., :-1].reshape(*of.shape[:-1], *positions.shape) for of in columns)
        fed = tuple(of[..., -1] != 0 for of in columns)

        def of_values(values: Values) -> Energy:
            responses = list(given)
            for number, value in zip(own, values, strict=True):
                none = jnp.zeros((*value.shape, self.programs[number].n_slots), value.dtype)
                responses[number] = Response(value, none)
            return self.energy(weights, positions, responses)

        zeros = tuple(
            jnp.zeros((len(a), len(self.programs[number].observables)), a.dtype)
            for a, number in zip(at, own, strict=True)
        )
        return Request(at, slopes, jax.grad(of_values)(zeros), fed)


class Plan:
    """The circuits of all potentials of a structure, compiled once; see `plan`.

    Its functions take the weights of a potential as a list of arrays, and positions in Å.
    """

    programs: tuple[Program, ...]
    stages: tuple[tuple[int, ...], ...]

    def __init__(
        self, structure: Any, shapes: tuple[tuple[int, ...], ...], numbers: tuple[int, ...]
    ):
        examples = [np.full(shape, 0.5) for shape in shapes]
        potential = jax.tree.unflatten(structure, examples)
        positions = np.random.default_rng(0).normal(size=(len(numbers), 3))
        elements = np.array(numbers, "int32")
        table = all_pairs(len(numbers), potential.cutoff)
        seen = Graph(positions=positions, numbers=elements, **table._asdict())
        self._trace = CircuitTrace(potential, seen)
        self.programs, self.stages = self._trace.programs, self._trace.stages

    @partial(jax.jit, static_argnums=(0, 3))
    def request(
        self, weights: Sequence[Array], positions: Positions, stage: int, known: Known
    ) -> Request:
        """See `Request`."""
        return self._trace.request(weights, positions, stage, known)

    @partial(jax.jit, static_argnums=0)
    def answer(
        self, weights: Sequence[Array], positions: Positions, known: Sequence[Response]
    ) -> Answer:
        r"""$E$ and $F = -dE/dR$ through all stages.

        Args:
            weights: of the potential.
            positions: in Å.
            known: what was measured.
        """

        def of_values(values: Values) -> Array:
            responses = [
                Response(value, one.slopes) for value, one in zip(values, known, strict=True)
            ]
            total, gradient = jax.value_and_grad(self._trace.energy, 1)(
                weights, positions, responses
            )
            return jnp.concatenate([total[None], -gradient.ravel()])

        result, back = jax.vjp(of_values, tuple(one.values for one in known))
        (sensitivities,) = jax.vmap(back)(jnp.eye(len(result), dtype=result.dtype))
        return Answer(result, sensitivities, tuple(rows[0] for rows in sensitivities))


_plan = cache(Plan)


def guessed(number: int, program: Program, angles: Float[Array, "n_circuits n_slots"]) -> Response:
    """A random response, for what must be known before circuits are measured.

    Args:
        number: of the gate list.
        program: the gate list.
        angles: of the circuits.
    """
    shape = (len(angles), len(program.observables), 1 + program.n_slots)
    drawn = _drawn(1 + number, shape, angles.dtype)
    return Response(GUESSED_VALUE * drawn[..., 0], GUESSED_SLOPE * drawn[..., 1:])


def _drawn(seed: int, shape: tuple[int, ...], dtype: Any) -> Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)
