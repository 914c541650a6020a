r"""Exact first and second derivatives, in reverse mode, of expectation values from four kernels.

| kernel | reads | computes |
|---|---|---|
| `value` | angles | $f_k = \langle O_k \rangle$ |
| `slope` | angles, $w$ | $\nabla \sum_k w_k f_k$ |
| `gradient` | angles, $w$ | $f_k$ and $\nabla \sum_k w_k f_k$ |
| `second` | angles, $w$, $u$, $s$ | $D_u f_k$ and $\nabla\,(D_u \sum_k w_k f_k + \sum_k s_k f_k)$ |

Kernels read and write arrays with one column for each sample.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache, partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._types import Angles, Expectations
from ..program import Program

Columns = Float[Array, "n_rows n_samples"]
Kernels = Callable[..., Sequence[Columns]]
"""Of the name of a kernel, a program and the columns that the kernel reads."""
Outputs = tuple[Float[Array, " n_observables"], Float[Array, " n_slots"]]


def twice_differentiable(kernels: Kernels) -> Callable[[Program, Angles], Expectations]:
    """Expectation values that JAX can differentiate twice; any number of `vmap`s is one call."""
    of_program = cache(partial(_expectations, kernels))
    return lambda program, angles: of_program(program)(angles)


def _expectations(kernels: Kernels, program: Program) -> Callable[[Angles], Expectations]:
    n_observables = len(program.observables)
    of = lambda name: _on_columns(lambda *columns: kernels(name, program, columns))
    value, slope, gradient, second = map(of, ("value", "slope", "gradient", "second"))

    @jax.custom_vjp
    def expectations(angles: Angles) -> Expectations:
        return value(angles)[0]

    def forward(angles: Angles) -> tuple[Expectations, Array]:
        """The gradient of a single observable is cheapest together with its value."""
        if n_observables > 1:
            return expectations(angles), angles
        return value_and_gradient(angles, jnp.ones(1, angles.dtype))

    def backward(saved: Array, cotangent: Array) -> tuple[Array]:
        if n_observables > 1:
            return (gradient_alone(saved, cotangent),)
        return (_scaled(cotangent, saved),)

    @jax.custom_vjp
    def gradient_alone(angles: Angles, weights: Array) -> Array:
        return slope(angles, weights)[0]

    def alone_forward(angles: Angles, weights: Array) -> tuple[Array, tuple[Array, Array]]:
        return gradient_alone(angles, weights), (angles, weights)

    def alone_backward(saved: tuple[Array, Array], direction: Array) -> tuple[Array, Array]:
        return gradient_backward(saved, (jnp.zeros_like(saved[1]), direction))

    @jax.custom_vjp
    def value_and_gradient(angles: Angles, weights: Array) -> Outputs:
        values, slopes = gradient(angles, weights)
        return values, slopes

    def gradient_forward(angles: Angles, weights: Array) -> tuple[Outputs, tuple[Array, Array]]:
        return value_and_gradient(angles, weights), (angles, weights)

    def gradient_backward(saved: tuple[Array, Array], cotangents: Outputs) -> tuple[Array, Array]:
        r"""The derivative of $\sum_k s_k f_k + u\cdot\nabla \sum_k w_k f_k$."""
        shift, direction = cotangents
        values, slopes = second(*saved, direction, shift)
        return slopes, values

    expectations.defvjp(forward, backward)
    gradient_alone.defvjp(alone_forward, alone_backward)
    value_and_gradient.defvjp(gradient_forward, gradient_backward)
    return expectations


def _on_columns(
    function: Callable[..., Sequence[Columns]],
) -> Callable[..., tuple[Array, ...]]:
    """A function of columns as one of vectors; any number of `vmap`s make one call of it."""

    @in_one_call
    def on_vectors(*vectors: Float[Array, "*batch _"]) -> tuple[Float[Array, "*batch _"], ...]:
        *batch, _ = vectors[0].shape
        columns = (jnp.moveaxis(vector, -1, 0) for vector in vectors)  # then XLA copies once
        found = function(*(array.reshape(len(array), math.prod(batch)) for array in columns))
        return tuple(jnp.moveaxis(rows.reshape(len(rows), *batch), 0, -1) for rows in found)

    return on_vectors


def in_one_call(function: Callable[..., tuple[Array, ...]]) -> Callable[..., tuple[Array, ...]]:
    """A function that takes leading axes of its arrays, as one that is called once for a `vmap`."""
    batched = jax.custom_batching.custom_vmap(function)

    @batched.def_vmap
    def _(axis_size: int, has_axis: list[bool], *arrays: Array):
        together = [
            array if has else jnp.broadcast_to(array, (axis_size, *array.shape))
            for array, has in zip(arrays, has_axis, strict=True)
        ]
        found = batched(*together)
        return found, tuple(True for _ in found)

    return batched


_times = _on_columns(lambda factors, columns: (factors * columns,))
_dot = _on_columns(lambda one, other: ((one * other).sum(0, keepdims=True),))


@jax.custom_vjp
def _scaled(factor: Float[Array, "1"], vector: Float[Array, " n"]) -> Float[Array, " n"]:
    """The product, also in reverse mode of columns as kernels have them: nothing is transposed."""
    return _times(factor, vector)[0]


_scaled.defvjp(
    lambda factor, vector: (_scaled(factor, vector), (factor, vector)),
    lambda saved, along: (_dot(saved[1], along)[0], _times(saved[0], along)[0]),
)


def row_counts(name: str, program: Program) -> list[int]:
    """The rows of each array that a kernel writes."""
    values, gradient = len(program.observables), program.n_slots
    return {"value": [values], "slope": [gradient]}.get(name, [values, gradient])
