"""Moments of densities: the kernels against plain JAX operations, with their derivatives."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qiff.model.density import Density
from qiff.model.predict import enable_x64

CUTOFF = 3.0
ENGINES = "native", "xla"
REFUSED = ValueError, jax.errors.JaxRuntimeError
# Atoms whose density is computed, their neighbours, all atoms, features of them, radial functions.
SIZES = [(9, 8, 9, 7, 4, 8), (5, 3, 7, 3, 0, 5), (17, 11, 17, 1, 2, 9)]


def surroundings(dtype, n_atoms, n_neighbours, n_all, n_scalars, n_vectors, n_basis) -> Any:
    """Two frames with masked neighbours and some beyond the cutoff."""
    random = np.random.default_rng(0)
    apart = random.normal(size=(2, n_atoms, n_neighbours, 3)) * CUTOFF / 2
    apart[random.random(apart.shape[:3]) < 0.2] = 2 * CUTOFF
    neighbours = random.integers(0, n_all, apart.shape[:3])
    scalars = random.normal(size=(2, n_all, n_scalars))
    vectors = random.normal(size=(2, n_all, 3, n_vectors))
    return tuple(a.astype(dtype) for a in (apart, scalars, vectors)), neighbours.astype("int32")


@partial(jax.jit, static_argnums=(0, 1))
def found(engine, n_basis, at: Any, neighbours: Any) -> Any:
    """Moments of two frames, their gradient, and that of a loss on energies and forces."""
    density = Density(("H",), CUTOFF, n_basis)

    def moments(at: Any, neighbours) -> Any:
        apart, scalars, vectors = at
        return density.moments(apart, neighbours, scalars, vectors, engine)

    def energy(at, neighbours):
        return jnp.sin(moments(at, neighbours)).sum()

    def loss(at, neighbours):
        forces = jax.vmap(jax.grad(energy))(at, neighbours)
        return jax.vmap(energy)(at, neighbours).sum() + sum((f**2).sum() for f in forces)

    first = jax.vmap(jax.grad(energy))(at, neighbours)
    return (
        jax.vmap(lambda at, neighbours: moments(at, neighbours))(at, neighbours),
        *first,
        *jax.grad(loss)(at, neighbours),
    )


@pytest.mark.parametrize(("dtype", "error"), [("float32", 3e-6), ("float64", 1e-13)])
@pytest.mark.parametrize(
    "sizes", [SIZES[0], *(pytest.param(s, marks=pytest.mark.slow) for s in SIZES[1:])]
)
def test_kernels_agree_with_jax(sizes, dtype, error):
    """In float32, they are as near to the result in float64 as JAX is, within a factor of two."""
    at, neighbours = surroundings(dtype, *sizes)
    with enable_x64(True):
        at64 = tuple(a.astype("float64") for a in at)
        exact = jax.tree.map(np.asarray, found("xla", sizes[-1], at64, neighbours))
    with enable_x64(dtype == "float64"):
        native, xla = (
            jax.tree.map(np.asarray, found(engine, sizes[-1], at, neighbours)) for engine in ENGINES
        )
        for one, other, expected in zip(native, xla, exact, strict=True):
            assert one.dtype == dtype
            largest = np.abs(expected).max(initial=1)
            of_jax = np.abs(other - expected).max(initial=0)
            off = np.abs(one - expected).max(initial=0)
            assert off <= max(error * largest, 2 * of_jax)
            assert off <= 3 * error * largest
        others = found("native", sizes[-1], at, neighbours[::-1])
        assert np.abs(others[0] - xla[0]).max() > 0.1
        assert all(np.isfinite(values).all() for values in native)


def test_atoms_at_one_place_have_no_moments():
    """So that a prediction says that they coincide."""
    (apart, scalars, vectors), neighbours = surroundings("float32", *SIZES[0])
    apart[0, 0, 0] = 0
    density = Density(("H",), CUTOFF, 8)
    for engine in ENGINES:
        moments = density.moments(apart[0], neighbours[0], scalars[0], vectors[0], engine)
        assert np.isnan(moments[0]).any()
        assert np.isfinite(moments[1:]).all()


def test_kernels_refuse_wrong_shapes_and_neighbours():
    (apart, scalars, vectors), neighbours = surroundings("float32", *SIZES[0])
    density = Density(("H",), CUTOFF, 8)
    with pytest.raises(REFUSED, match="a density has a wrong shape"):
        density.moments(apart[0, :, 1:], neighbours[0], scalars[0], vectors[0], "native")
    with pytest.raises(REFUSED, match="a neighbour of a density is no atom"):
        density.moments(apart[0], neighbours[0] + 1, scalars[0], vectors[0], "native")
