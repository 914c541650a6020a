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

Shapes = Sequence[tuple[int, ...]]
"""Of arrays that lie one after the other in a vector."""

SCHEDULES: dict[str, Callable[[float, int], optax.Schedule]] = {
    "cosine": optax.cosine_decay_schedule,
    "constant": lambda rate, steps: optax.constant_schedule(rate),
}
"""From the initial learning rate and the number of steps to the learning rate at a step."""


class MuonState(NamedTuple):
    """Moments of the gradients: of all weights, and of those that are updated by Adam."""

    momentum: Float[Array, " n_weights"]
    adam: optax.OptState


def muon(rate: optax.Schedule, shapes: Shapes) -> optax.GradientTransformation:
    """Muon makes the updates of matrices orthogonal, so that weak directions learn as fast as
    strong ones; all other weights are updated by Adam.

    The last two of two or three axes are matrices. The updates are those of `optax.contrib.muon`;
    here all matrices are iterated together.

    Args:
        rate: the learning rate at a step.
        shapes: of the arrays in the vector of weights.

    Reference: Jordan et al., https://kellerjordan.github.io/posts/muon/ (2024).
    """
    adam = optax.scale_by_adam(nesterov=True)
    sizes = [math.prod(shape) for shape in shapes]
    matrices = [index for index, shape in enumerate(shapes) if _is_matrix(shape)]
    others = [index for index, shape in enumerate(shapes) if not _is_matrix(shape)]

    def of_adam(parts: list[Array]) -> Array:
        return jnp.concatenate([parts[0][:0], *(parts[index] for index in others)])

    def init(params: Any) -> MuonState:
        return MuonState(jnp.zeros_like(params), adam.init(of_adam(_divided(params, sizes))))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, MuonState]:
        by_adam: Any
        by_adam, moments = adam.update(of_adam(_divided(updates, sizes)), state.adam)
        now, ahead = (1 - _BETA**n for n in (moments.count, moments.count + 1))  # pyright: ignore
        momentum = _BETA * state.momentum + (1 - _BETA) * updates
        parts = _divided(_BETA / ahead * momentum + (1 - _BETA) / now * updates, sizes)
        found = _orthogonal([parts[index].reshape(shapes[index]) for index in matrices])
        found = [matrix.reshape(-1) for matrix in found]
        found += _divided(by_adam, [sizes[index] for index in others])
        for index, part in zip((*matrices, *others), found, strict=True):
            parts[index] = part
        return jnp.concatenate(parts), MuonState(momentum, moments)

    step = optax.GradientTransformation(init, update)
    return optax.chain(step, optax.scale_by_learning_rate(rate))


def _divided(vector: Array, sizes: Sequence[int]) -> list[Array]:
    """Into parts of these sizes."""
    return jnp.split(vector, np.cumsum(sizes)[:-1]) if sizes else []


def _is_matrix(shape: tuple[int, ...]) -> bool:
    """Or several; circuits without entangling gates have some without entries."""
    return len(shape) in (2, 3) and math.prod(shape) > 0


def _orthogonal(arrays: list[Array]) -> list[Array]:
    """Matrices with orthogonal rows or columns; longer if they have more columns."""
    together = defaultdict(list)
    for index, array in enumerate(arrays):
        together[-(-min(array.shape[-2:]) // _SIZE) * _SIZE].append(index)
    found = list(arrays)
    for size, indices in together.items():
        grams = [_gram(arrays[index]) for index in indices]
        factors = _iterated(_padded(grams, size))
        parts = jnp.split(factors, np.cumsum([len(gram) for gram in grams])[:-1])
        for index, part in zip(indices, parts, strict=True):
            found[index] = _times(arrays[index], part)
    return found


def _gram(array: Array) -> Float[Array, "n size size"]:
    """Scalar products of the rows of matrices, or of their columns if these are fewer."""
    matrices = array.reshape(-1, *array.shape[-2:])
    wide = array.shape[-2] < array.shape[-1]
    return jnp.einsum("nij,nkj->nik" if wide else "nji,njk->nik", matrices, matrices)


def _padded(grams: list[Array], size: int) -> Float[Array, "n size size"]:
    """Square matrices in the corners of larger ones, which are zero otherwise."""
    n = sum(len(gram) for gram in grams)
    stacked, begin = jnp.zeros((n, size, size), grams[0].dtype), 0
    for gram in grams:
        stacked = jax.lax.dynamic_update_slice(stacked, gram, (begin, 0, 0))
        begin += len(gram)
    return stacked


def _times(array: Array, factors: Float[Array, "n size size"]) -> Array:
    """Matrices times the factors of their rows, or of their columns."""
    n_rows, n_columns = array.shape[-2:]
    size, matrices = min(n_rows, n_columns), array.reshape(-1, n_rows, n_columns)
    own = factors[:, :size, :size]
    if n_rows >= n_columns:
        return (matrices @ own).reshape(array.shape)
    return (math.sqrt(n_columns / n_rows) * own @ matrices).reshape(array.shape)


def _iterated(gram: Float[Array, "n size size"]) -> Float[Array, "n size size"]:
    r"""Five iterations $X \to aX + bAX + cA^2X$ with $A = XX^T$ of matrices divided by their norm.

    All are polynomials of the first $A$, which is given: of the matrix before division; the
    product with it is the result of the iterations.
    """
    one = np.eye(gram.shape[-1], dtype=gram.dtype)
    square = (gram.reshape(len(gram), -1) @ one.ravel())[:, None, None] + _TINY  # of the norm
    gram /= square
    a, b, c = _COEFFICIENTS
    polynomial = lambda gram: a * one + b * gram + c * gram @ gram

    def iterate(_: int, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        gram, factor, total = state
        gram = factor @ gram @ factor
        factor = polynomial(gram)
        return gram, factor, factor @ total

    first = polynomial(gram)
    *_, total = jax.lax.fori_loop(0, 4, iterate, (gram, first, first))
    return jax.lax.rsqrt(square) * total


_SIZE = 16
_TINY = 1e-30
_BETA = 0.95
_COEFFICIENTS = 3.4445, -4.7750, 2.0315

OPTIMISERS: dict[str, Callable[[optax.Schedule, Shapes], optax.GradientTransformation]] = {
    "adam": lambda rate, shapes: optax.adam(rate),
    "muon": muon,
}
"""From the learning rate at a step, and the shapes of the arrays of weights, to the update of all
weights as one vector: hundreds of small operations become a few."""
