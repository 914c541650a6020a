"""Optimisers and schedules of the learning rate, each a registry."""

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from optax.contrib import MuonState

SCHEDULES: dict[str, Callable[[float, int], optax.Schedule]] = {
    "cosine": optax.cosine_decay_schedule,
    "constant": lambda rate, steps: optax.constant_schedule(rate),
}
"""From the initial learning rate and the number of steps to the learning rate at a step."""


def clipped(limit: float) -> optax.GradientTransformation:
    """Gradients whose norm, of all weights together, is at most the limit."""

    def update(updates: Any, params: Any = None) -> Any:
        norm = jnp.linalg.norm(jnp.concatenate([g.reshape(-1) for g in jax.tree.leaves(updates)]))
        factor = jnp.where(norm < limit, 1, limit / norm)
        return jax.tree.map(lambda g: factor * g, updates)

    return optax.stateless(update)


def muon(rate: optax.Schedule) -> optax.GradientTransformation:
    """Muon makes the updates of matrices orthogonal, so that weak directions learn as fast as
    strong ones; all other weights are updated by Adam.

    The last two of two or three axes are matrices. It is that of optax, and has its state, but
    iterates all matrices together.

    Args:
        rate: the learning rate at a step.

    Reference: Jordan et al., https://kellerjordan.github.io/posts/muon/ (2024).
    """
    nothing, scale = optax.identity(), optax.scale_by_learning_rate(rate)
    adam = optax.chain(optax.scale_by_adam(nesterov=True), nothing, scale)
    matrices = optax.GradientTransformation(_initial, _orthogonal_momentum)
    return optax.partition(
        {"muon": optax.chain(matrices, nothing, nothing, scale), "adam": adam},
        lambda weights: jax.tree.map(lambda w: "muon" if _is_matrix(w) else "adam", weights),
    )


def _is_matrix(weights: Array) -> bool:
    """Or several; circuits without entangling gates have some without entries."""
    return weights.ndim in (2, 3) and weights.size > 0


def _initial(params: Any) -> MuonState:
    count, coefficients = jnp.zeros((), "int32"), jnp.asarray(_COEFFICIENTS)
    return MuonState(count, jax.tree.map(jnp.zeros_like, params), coefficients)


def _orthogonal_momentum(updates: Any, state: Any, params: Any = None) -> tuple[Any, MuonState]:
    """The average gradient, one step ahead, with orthogonal rows or columns."""
    count = state.count + 1
    momentum = jax.tree.map(lambda m, g: _BETA * m + (1 - _BETA) * g, state.mu, updates)
    now, ahead = (1 - _BETA**n for n in (count, count + 1))
    nesterov = jax.tree.map(
        lambda m, g: _BETA / ahead * m + (1 - _BETA) / now * g, momentum, updates
    )
    return _orthogonal(nesterov), MuonState(count, momentum, state.ns_coeffs)


def _orthogonal(updates: Any) -> Any:
    """The matrices of a tree with orthogonal rows or columns; longer if they have more columns."""
    leaves, structure = jax.tree.flatten(updates)
    together = defaultdict(list)
    for index, leaf in enumerate(leaves):
        together[-(-min(leaf.shape[-2:]) // _SIZE) * _SIZE].append(index)
    for size, indices in together.items():
        found = [_padded(_gram(leaves[index]), size) for index in indices]
        stacked = _iterated(jnp.concatenate(found))
        parts = jnp.split(stacked, np.cumsum([len(part) for part in found])[:-1])
        for index, part in zip(indices, parts, strict=True):
            leaves[index] = _times(leaves[index], part)
    return jax.tree.unflatten(structure, leaves)


def _gram(array: Array) -> Float[Array, "n size size"]:
    """Scalar products of the rows of matrices, or of their columns if these are fewer."""
    matrices = array.reshape(-1, *array.shape[-2:])
    wide = array.shape[-2] < array.shape[-1]
    return jnp.einsum("nij,nkj->nik" if wide else "nji,njk->nik", matrices, matrices)


def _padded(gram: Float[Array, "n _ _"], size: int) -> Float[Array, "n size size"]:
    more = size - gram.shape[-1]
    return jnp.pad(gram, ((0, 0), (0, more), (0, more)))


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
    square = jnp.trace(gram, axis1=1, axis2=2)[:, None, None] + _TINY  # of the norm
    gram /= square
    one = jnp.eye(gram.shape[-1], dtype=gram.dtype)
    a, b, c = _COEFFICIENTS
    total = factor = a * one + b * gram + c * gram @ gram
    for _ in range(4):
        gram = factor @ gram @ factor
        factor = a * one + b * gram + c * gram @ gram
        total = factor @ total
    return jax.lax.rsqrt(square) * total


_SIZE = 16
_TINY = 1e-30
_BETA = 0.95
_COEFFICIENTS = 3.4445, -4.7750, 2.0315

OPTIMISERS: dict[str, Callable[[optax.Schedule], optax.GradientTransformation]] = {
    "adam": optax.adam,
    "muon": muon,
}
"""From the learning rate at a step to the update of the weights."""
