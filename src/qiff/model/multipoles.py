r"""Multipoles: Cartesian tensors of each rank, symmetric and traceless, by independent components.

$$ Y^{(0)} = 1, \qquad Y^{(1)} = \hat r, \qquad Y^{(2)} = \hat r\hat r^T - \tfrac13 $$

Another rank is one more line in `RANKS`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Directions = Float[Array, "*batch 3"]
Vectors = Float[Array, "*batch 3 n"]
Moments = Float[Array, "n_atoms n_all n_features"]
"""Multipole moments of the neighbour density of each atom, all ranks one after the other."""

_FIRST, _SECOND = (index.astype(np.int32) for index in np.triu_indices(3))
_TRACE = _FIRST == _SECOND


class Rank(NamedTuple):
    """Tensors of one rank.

    Args:
        weights: of the squares of the components in the square of the tensor.
        of_direction: the multipole of a unit vector.
        of_product: the symmetric traceless product of the multipole of a unit vector of one rank
            less with other vectors; for rank 0 the scalar product with them.
    """

    weights: tuple[int, ...]
    of_direction: Callable[[Directions], Float[Array, "*batch n_components"]]
    of_product: Callable[[Directions, Vectors], Float[Array, "*batch n_components n"]]

    @property
    def n_components(self) -> int:
        """Number of independent components that are kept; for rank 2 the trace is redundant."""
        return len(self.weights)


def _quadrupole(unit: Directions) -> Float[Array, "*batch 6"]:
    return unit[..., _FIRST] * unit[..., _SECOND] - (_TRACE / 3).astype(unit.dtype)


def _dot(unit: Directions, vectors: Vectors) -> Float[Array, "*batch 1 n"]:
    return (unit[..., None] * vectors).sum(-2, keepdims=True)


def _quadrupole_product(unit: Directions, vectors: Vectors) -> Float[Array, "*batch 6 n"]:
    twice = unit[..., _FIRST, None] * vectors[..., _SECOND, :]
    twice += unit[..., _SECOND, None] * vectors[..., _FIRST, :]
    trace = _TRACE.astype(unit.dtype)[:, None] * _dot(unit, vectors)
    return twice / 2 - trace / 3


RANKS: tuple[Rank, ...] = (
    Rank((1,), lambda unit: jnp.ones_like(unit[..., :1]), _dot),
    Rank((1, 1, 1), lambda unit: unit, lambda unit, vectors: vectors),
    Rank((1, 2, 2, 1, 2, 1), _quadrupole, _quadrupole_product),
)


def of_directions(unit: Directions) -> Float[Array, "*batch n_all"]:
    """The multipoles of unit vectors, all ranks one after the other."""
    return jnp.concatenate([rank.of_direction(unit) for rank in RANKS], axis=-1)


def of_products(unit: Directions, vectors: Vectors) -> Float[Array, "*batch n_all n"]:
    """The products of unit vectors with other vectors, all ranks one after the other."""
    return jnp.concatenate([rank.of_product(unit, vectors) for rank in RANKS], axis=-2)
