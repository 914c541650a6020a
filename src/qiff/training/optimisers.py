"""Optimisers and schedules of the learning rate, each a registry."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from ..quantum.engine import choose
from ..quantum.engines.record import Stack

Shapes = Sequence[tuple[int, ...]]
"""Of arrays that lie one after the other in a vector."""

SCHEDULES: dict[str, Callable[[float, int], optax.Schedule]] = {
    "cosine": optax.cosine_decay_schedule,
    "constant": lambda rate, steps: optax.constant_schedule(rate),
}
"""From the initial learning rate and the number of steps to the learning rate at a step."""


def clipped(norm: float) -> optax.GradientTransformation:
    """Scale gradients that are longer than this norm down to it.

    As `optax.clip_by_global_norm`; XLA adds columns of a matrix by vectors, which it does not do
    with the entries of a vector.
    """

    def update(gradient: Any, _: Any) -> Any:
        whole = len(gradient) // _SIZE * _SIZE
        squares = gradient * gradient
        columns = squares[:whole].reshape(-1, _SIZE).sum(0)
        square = columns.sum() + squares[whole:].sum()
        return gradient * jnp.minimum(1.0, norm * jax.lax.rsqrt(square))

    return optax.stateless(update)


class MuonState(NamedTuple):
    """Moments of the gradients: of all weights, and of those that are updated by Adam."""

    momentum: Float[Array, " n_weights"]
    adam: optax.OptState


def muon(rate: optax.Schedule, shapes: Shapes) -> optax.GradientTransformation:
    """Muon makes the updates of matrices orthogonal, so that weak directions learn as fast as
    strong ones; all other weights are updated by Adam.

    The last two of two or three axes are matrices. The updates are those of `optax.contrib.muon`;
    here the native engine iterates each matrix, or JAX all of them together.

    Args:
        rate: the learning rate at a step.
        shapes: of the arrays in the vector of weights.

    Reference: Jordan et al., https://kellerjordan.github.io/posts/muon/ (2024).
    """
    adam = optax.scale_by_adam(nesterov=True)
    orthogonal = choose().orthogonal or _orthogonal
    stacks, others, first = [], [], 0
    for shape in shapes:
        size = math.prod(shape)
        if size and len(shape) in (2, 3):
            stacks.append(Stack(first, math.prod(shape[:-2]), *shape[-2:]))
        else:
            others.append(slice(first, first + size))
        first += size

    def of_adam(vector: Array) -> Array:
        return jnp.concatenate([vector[:0], *(vector[part] for part in others)])

    def init(params: Any) -> MuonState:
        return MuonState(jnp.zeros_like(params), adam.init(of_adam(params)))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, MuonState]:
        by_adam: Any
        by_adam, moments = adam.update(of_adam(updates), state.adam)
        now, ahead = (1 - _BETA**n for n in (moments.count, moments.count + 1))  # pyright: ignore
        momentum = _BETA * state.momentum + (1 - _BETA) * updates
        found = _BETA / ahead * momentum + (1 - _BETA) / now * updates
        found = orthogonal(found, stacks, _COEFFICIENTS)
        for part in others:
            own, by_adam = jnp.split(by_adam, [part.stop - part.start])
            found = found.at[part].set(own)
        return found, MuonState(momentum, moments)

    step = optax.GradientTransformation(init, update)
    return optax.chain(step, optax.scale_by_learning_rate(rate))


def _orthogonal(
    vector: Float[Array, " n"], stacks: Sequence[Stack], coefficients: Sequence[float]
) -> Float[Array, " n"]:
    """With orthogonal rows or columns of all matrices; longer if they have more columns.

    Those of about the same size are iterated together.
    """
    together = defaultdict(list)
    for stack in stacks:
        together[-(-min(stack.n_rows, stack.n_columns) // _SIZE) * _SIZE].append(stack)
    found = vector
    for size, alike in together.items():
        arrays = [vector[s.first : s.end].reshape(s[1:]) for s in alike]
        factors = _iterated(_padded(list(map(_gram, arrays)), size), coefficients)
        parts = jnp.split(factors, np.cumsum([s.n_matrices for s in alike])[:-1])
        for stack, array, part in zip(alike, arrays, parts, strict=True):
            found = found.at[stack.first : stack.end].set(_times(array, part).ravel())
    return found


def _gram(matrices: Float[Array, "n rows columns"]) -> Float[Array, "n size size"]:
    """Scalar products of the rows of matrices, or of their columns if these are fewer."""
    wide = matrices.shape[1] < matrices.shape[2]
    return jnp.einsum("nij,nkj->nik" if wide else "nji,njk->nik", matrices, matrices)


def _padded(grams: list[Array], size: int) -> Float[Array, "n size size"]:
    """Square matrices in the corners of larger ones, which are zero otherwise."""
    n = sum(len(gram) for gram in grams)
    stacked, begin = jnp.zeros((n, size, size), grams[0].dtype), 0
    for gram in grams:
        stacked = jax.lax.dynamic_update_slice(stacked, gram, (begin, 0, 0))
        begin += len(gram)
    return stacked


def _times(
    matrices: Float[Array, "n rows columns"], factors: Float[Array, "n size size"]
) -> Float[Array, "n rows columns"]:
    """Matrices times the factors of their rows, or of their columns."""
    _, n_rows, n_columns = matrices.shape
    size = min(n_rows, n_columns)
    own = factors[:, :size, :size]
    if n_rows >= n_columns:
        return matrices @ own
    return math.sqrt(n_columns / n_rows) * own @ matrices


def _iterated(
    gram: Float[Array, "n size size"], coefficients: Sequence[float]
) -> Float[Array, "n size size"]:
    r"""Five iterations $X \to aX + bAX + cA^2X$ with $A = XX^T$ of matrices divided by their norm.

    All are polynomials of the first $A$, which is given: of the matrix before division; the
    product with it is the result of the iterations.
    """
    one = np.eye(gram.shape[-1], dtype=gram.dtype)
    square = (gram.reshape(len(gram), -1) @ one.ravel())[:, None, None] + _TINY  # of the norm
    gram /= square
    a, b, c = coefficients
    polynomial = lambda gram: a * one + b * gram + c * gram @ gram

    def iterate(_: int, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        gram, factor, total = state
        gram = factor @ gram @ factor
        factor = polynomial(gram)
        return gram, factor, factor @ total

    first = polynomial(gram)
    *_, total = jax.lax.fori_loop(0, 4, iterate, (gram, first, first))
    return jax.lax.rsqrt(square) * total


_SIZE = 16  # of a few vectors of any instruction set
_TINY = 1e-30
_BETA = 0.95
_COEFFICIENTS = 3.4445, -4.7750, 2.0315

OPTIMISERS: dict[str, Callable[[optax.Schedule, Shapes], optax.GradientTransformation]] = {
    "adam": lambda rate, shapes: optax.adam(rate),
    "muon": muon,
}
"""From the learning rate at a step, and the shapes of the arrays of weights, to the update of all
weights as one vector: hundreds of small operations become a few."""
