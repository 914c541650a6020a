"""Circuits in the trace of a potential: marked, listed, and replaced by given values."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax.extend import core
from jax.interpreters import batching
from jaxtyping import Array

from .._checks import InputError
from .._types import Angles, Expectations
from ..quantum.engine import Engine
from ..quantum.program import Program

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


TO_BE_MEASURED = Engine("measure", _mark)
"""An engine that leaves a mark in the trace."""

Measure = Callable[[Program, Array], Array]
"""Values of marked circuits of a gate list from their angles."""
_CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "custom_jvp_call": "call_jaxpr"}
"""Equations that call what is in them exactly once."""


def marked(jaxpr: Any) -> list[Program]:
    """The gate list of every mark, in order of appearance."""
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive is _measure:
            found.append(equation.params["program"])
        elif called := _called(equation):
            found += marked(called.jaxpr)
    return found


def depths(jaxpr: Any) -> list[int]:
    """How many marks stand before every mark at most, in order of appearance."""
    found: list[int] = []
    _follow(jaxpr, [0] * len(jaxpr.invars), found)
    return found


def _follow(jaxpr: Any, given: Sequence[int], found: list[int]) -> list[int]:
    """How many marks stand before the results, if `given` stand before the arguments."""
    known = dict(zip(jaxpr.invars, given, strict=True))
    read = lambda variable: 0 if isinstance(variable, core.Literal) else known.get(variable, 0)
    for equation in jaxpr.eqns:
        inputs = [read(variable) for variable in equation.invars]
        outputs = [max(inputs, default=0)] * len(equation.outvars)
        if equation.primitive is _measure:
            found += outputs
            outputs = [outputs[0] + 1]
        elif called := _called(equation):
            outputs = _follow(called.jaxpr, inputs, found)
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _called(equation: Any) -> Any:
    """What an equation calls if there are circuits in it, else None."""
    if not any(map(marked, core.jaxprs_in_params(equation.params))):
        return None
    if equation.primitive.name not in _CALLS:
        raise InputError("Circuits in a loop cannot be sent to a quantum computer together.")
    return equation.params[_CALLS[equation.primitive.name]]


def evaluate(closed: Any, arguments: Sequence[Any], measure: Measure) -> list[Any]:
    """Evaluate a trace with `measure` in place of marks."""
    jaxpr, known = closed.jaxpr, dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    read = lambda variable: variable.val if isinstance(variable, core.Literal) else known[variable]
    known.update(zip(jaxpr.invars, arguments, strict=True))
    for equation in jaxpr.eqns:
        inputs = [read(variable) for variable in equation.invars]
        if equation.primitive is _measure:
            outputs = [measure(equation.params["program"], *inputs)]
        elif called := _called(equation):
            outputs = evaluate(called, inputs, measure)
        else:
            given = equation.primitive.get_bind_params(equation.params)
            functions, parameters = given if isinstance(given, tuple) else ((), given)  # jax < 0.10
            outputs = equation.primitive.bind(*functions, *inputs, **parameters)
            outputs = outputs if equation.primitive.multiple_results else [outputs]
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(variable) for variable in jaxpr.outvars]
