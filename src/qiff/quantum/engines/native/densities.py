r"""Moments of densities by C++ kernels, an atom in every lane: see `qiff.model.density`.

With moments $M(x)$ of displacements and features $x$, the kernels compute $M$, the gradient
$G(x, W) = \partial_x \langle W, M\rangle$ for weights $W$, and of $\langle u, G\rangle$ with a
direction $u$ the gradient in $x$ and in $W$, which is the derivative of $G$ and of $M$ along $u$.
"""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..reverse import in_one_call

Surroundings = tuple[Array, Array, Array]
"""Displacements of neighbours; scalar and vector features of all atoms."""
Radial = tuple[float, int]
"""The cutoff in Å and the number of radial functions."""

N_COMPONENTS = 10
"""Of the multipoles of ranks 0, 1 and 2."""


def moments(
    radial: Radial,
    apart: Float[Array, "n_atoms n_neighbours 3"],
    neighbours: Int[Array, "n_atoms n_neighbours"],
    scalars: Float[Array, "n_all_atoms n_scalars"],
    vectors: Float[Array, "n_all_atoms 3 n_vectors"],
) -> Float[Array, "n_atoms n_all n_features"]:
    """The moments of the density around each atom, as `Density.moments`.

    Args:
        radial: the cutoff in Å and the number of radial functions.
        apart: displacements of the neighbours in Å, of a masked entry beyond the cutoff.
        neighbours: which of all atoms they are.
        scalars, vectors: features of all atoms.
    """
    return _moments(radial, jnp.array(neighbours, "int32"), (apart, scalars, vectors))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _moments(radial: Radial, neighbours: Array, at: Surroundings) -> Array:
    (found,) = _kernel("density", *radial)(neighbours, *at)
    return found


def _forward(radial: Radial, neighbours: Array, at: Surroundings) -> tuple[Array, Any]:
    return _moments(radial, neighbours, at), (neighbours, at)


def _backward(radial: Radial, saved: Any, weights: Array) -> tuple[None, Surroundings]:
    return None, _gradient(radial, *saved, weights)


_moments.defvjp(_forward, _backward)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _gradient(radial: Radial, neighbours: Array, at: Surroundings, weights: Array) -> Surroundings:
    apart, scalars, vectors = _kernel("density_gradient", *radial)(neighbours, *at, weights)
    return apart, scalars, vectors


def _gradient_forward(
    radial: Radial, neighbours: Array, at: Surroundings, weights: Array
) -> tuple[Surroundings, Any]:
    return _gradient(radial, neighbours, at, weights), (neighbours, at, weights)


def _gradient_backward(
    radial: Radial, saved: Any, along: Surroundings
) -> tuple[None, Surroundings, Array]:
    neighbours, at, weights = saved
    *found, moments = _kernel("density_second", *radial)(neighbours, *at, weights, *along)
    return None, (found[0], found[1], found[2]), moments


_gradient.defvjp(_gradient_forward, _gradient_backward)

_OUTPUTS = {"density": (3,), "density_gradient": (0, 1, 2), "density_second": (0, 1, 2, 3)}
"""Shapes of the results: of displacements, scalars, vectors, moments."""


@cache
def _kernel(name: str, cutoff: float, n_basis: int) -> Callable[..., tuple[Array, ...]]:
    """A kernel as a function of one frame; any number of `vmap`s make one call of it."""

    @in_one_call
    def kernel(neighbours: Array, *arrays: Array) -> tuple[Array, ...]:
        *frames, n_atoms, n_neighbours = neighbours.shape
        (*_, n_all, n_scalars), n_vectors = arrays[1].shape, arrays[2].shape[-1]
        shapes = (
            (n_atoms, n_neighbours, 3),
            (n_all, n_scalars),
            (n_all, 3, n_vectors),
            (n_atoms, N_COMPONENTS, (n_scalars + n_vectors) * n_basis),
        )
        n, dtype = math.prod(frames), arrays[0].dtype
        results = [jax.ShapeDtypeStruct((n, *shapes[k]), dtype) for k in _OUTPUTS[name]]
        flat = (v.reshape(n, *v.shape[len(frames) :]) for v in (neighbours, *arrays))
        call = jax.ffi.ffi_call(f"qiff_{name}", results)
        found = call(*flat, cutoff=np.float64(cutoff), n_basis=np.int32(n_basis))
        return tuple(v.reshape(*frames, *v.shape[1:]) for v in found)

    return kernel
