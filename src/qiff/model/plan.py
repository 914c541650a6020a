"""Splits a potential into its circuits and the classical functions before and after them.

Any potential is traced once and its circuits are taken out of the trace. Two classical functions
remain: from positions to the angles of the circuits, and from positions and expectation values to
the energy.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.interpreters import batching
from jaxtyping import Array, Float

from .._checks import InputError
from .._types import Angles, Energy, Expectations, Positions
from ..atoms.graph import Graph
from ..atoms.neighbours import all_pairs
from ..quantum.circuit import with_engine
from ..quantum.engine import Engine
from ..quantum.program import Program
from .derivatives import energy
from .potential import AbstractPotential

Values = tuple[Float[Array, "_ _"], ...]
"""Expectation values of all circuits, an array (n_circuits, n_observables) for each gate list."""

_measure = core.Primitive("measure")
"""Stands in a trace for circuits of a gate list."""


@_measure.def_abstract_eval
def _shape(angles: Any, *, program: Program) -> Any:
    return angles.update(shape=(*angles.shape[:-1], len(program.observables)))


def _batch(arguments: Sequence[Array], axes: Sequence[int], *, program: Program) -> Any:
    (angles,), (axis,) = arguments, axes
    return _measure.bind(jnp.moveaxis(angles, axis, 0), program=program), 0


batching.primitive_batchers[_measure] = _batch


def _mark(program: Program, angles: Angles) -> Expectations:
    return _measure.bind(angles, program=program)


_TO_BE_MEASURED = Engine("measure", _mark)
"""An engine that leaves a mark in the trace."""


class Request(NamedTuple):
    """What is to be measured for one geometry; an entry for each gate list.

    Args:
        angles: of the circuits, each (n_circuits, n_slots).
        slopes: derivatives of the angles with respect to the positions.
        weights: derivative of the energy with respect to the expectation values, where those are 0.
    """

    angles: tuple[Float[Array, "_ _"], ...]
    slopes: tuple[Float[Array, "_ _ n_atoms 3"], ...]
    weights: Values


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
        InputError: there are no circuits; they depend on the results of others; or they stand
            in a loop.
    """
    leaves, structure = jax.tree.flatten(with_engine(potential, _TO_BE_MEASURED))
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

    def __init__(self, potential: AbstractPotential, seen: Graph):
        leaves, structure = jax.tree.flatten(with_engine(potential, _TO_BE_MEASURED))

        def of_weights(weights: Sequence[Array], positions: Positions) -> Energy:
            return energy(jax.tree.unflatten(structure, weights), seen.at(positions))

        self._trace = jax.make_jaxpr(of_weights)(leaves, seen.positions)
        self.programs = tuple(_programs(self._trace.jaxpr))
        if not self.programs:
            raise InputError(
                "The potential has no circuits that could be sent to a quantum computer: use it "
                "without an executor."
            )

    def check(self, weights: Sequence[Any], positions: Any) -> None:
        """Raise InputError if circuits depend on the results of others."""
        if any(np.isnan(at).any() for at in jax.jit(self.angles)(weights, positions)):
            raise InputError(
                "Circuits that depend on the results of others cannot be sent together: use a "
                "model with n_interactions = 1."
            )

    def angles(self, weights: Sequence[Any], positions: Any) -> tuple[Array, ...]:
        """Angles of all circuits of each gate list, NaN if they depend on results of others."""
        found: list[Array] = []

        def read(program: Program, angles: Array) -> Array:
            found.append(angles.reshape(-1, program.n_slots))
            return jnp.full((*angles.shape[:-1], len(program.observables)), jnp.nan)

        _evaluate(self._trace, [*weights, positions], read)
        return tuple(found)

    def energy(self, weights: Sequence[Array], positions: Positions, values: Values) -> Energy:
        """Energy in eV from the expectation values of all circuits."""
        given = iter(values)

        def insert(program: Program, angles: Array) -> Array:
            return next(given).reshape(*angles.shape[:-1], len(program.observables))

        (total,) = _evaluate(self._trace, [*weights, positions], insert)
        return total

    def request(self, weights: Sequence[Array], positions: Positions) -> Request:
        """See `Request`."""
        angles = self.angles(weights, positions)
        slopes = jax.jacfwd(self.angles, 1)(weights, positions)
        zeros = tuple(
            jnp.zeros((len(at), len(program.observables)), at.dtype)
            for at, program in zip(angles, self.programs, strict=True)
        )
        return Request(angles, slopes, jax.grad(self.energy, 2)(weights, positions, zeros))


class Plan:
    """The circuits of all potentials of a structure, compiled once; see `plan`.

    Its functions take the weights of a potential as a list of arrays, and positions in Å.
    """

    programs: tuple[Program, ...]

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
        self.programs = self._trace.programs
        self._trace.check(examples, positions)

    @partial(jax.jit, static_argnums=0)
    def request(self, weights: Sequence[Array], positions: Positions) -> Request:
        """See `Request`."""
        return self._trace.request(weights, positions)

    @partial(jax.jit, static_argnums=0)
    def answer(
        self,
        weights: Sequence[Array],
        positions: Positions,
        values: Values,
        slopes: tuple[Float[Array, "_ _ 3*n_atoms"], ...],
    ) -> Answer:
        r"""$E$ and $F = -\partial E/\partial R - \sum_k (\partial E/\partial o_k)\, do_k/dR$.

        Args:
            weights: of the potential.
            positions: in Å.
            values: expectation values $o$.
            slopes: their derivatives with respect to the positions.
        """

        def of_values(values: Values) -> Array:
            total, (direct, inner) = jax.value_and_grad(self._trace.energy, (1, 2))(
                weights, positions, values
            )
            gradient = direct.ravel()
            for weight, slope in zip(inner, slopes, strict=True):
                gradient += jnp.einsum("no,noi->i", weight, slope)
            return jnp.concatenate([total[None], -gradient])

        inner = jax.grad(self._trace.energy, 2)(weights, positions, values)
        return Answer(of_values(values), jax.jacrev(of_values)(values), inner)


_plan = cache(Plan)
Measure = Callable[[Program, Array], Array]
_CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "custom_jvp_call": "call_jaxpr"}
"""Equations that call what is in them exactly once."""


def _programs(jaxpr: Any) -> list[Program]:
    """Gate lists in order of appearance."""
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive is _measure:
            found.append(equation.params["program"])
        elif called := _called(equation):
            found += _programs(called.jaxpr)
    return found


def _called(equation: Any) -> Any:
    """What an equation calls if there are circuits in it, else None."""
    if not any(map(_programs, core.jaxprs_in_params(equation.params))):
        return None
    if equation.primitive.name not in _CALLS:
        raise InputError("Circuits in a loop cannot be sent to a quantum computer together.")
    return equation.params[_CALLS[equation.primitive.name]]


def _evaluate(closed: Any, arguments: Sequence[Any], measure: Measure) -> list[Any]:
    """Evaluate a trace with `measure` in place of circuits."""
    jaxpr, known = closed.jaxpr, dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    read = lambda variable: variable.val if isinstance(variable, core.Literal) else known[variable]
    known.update(zip(jaxpr.invars, arguments, strict=True))
    for equation in jaxpr.eqns:
        inputs = [read(variable) for variable in equation.invars]
        if equation.primitive is _measure:
            outputs = [measure(equation.params["program"], *inputs)]
        elif called := _called(equation):
            outputs = _evaluate(called, inputs, measure)
        else:
            given = equation.primitive.get_bind_params(equation.params)
            functions, parameters = given if isinstance(given, tuple) else ((), given)  # jax < 0.10
            outputs = equation.primitive.bind(*functions, *inputs, **parameters)
            outputs = outputs if equation.primitive.multiple_results else [outputs]
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(variable) for variable in jaxpr.outvars]
