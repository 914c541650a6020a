"""Channels of densities: the kernels against plain JAX operations, with their derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qiff.model.predict import enable_x64
from qiff.quantum.engine import ENGINES

SHAPE = ((1, 5), (3, 18), (6, 3))  # of a rank: rows and channels, one more than fill a vector
N_ROWS = sum(n_rows for n_rows, _ in SHAPE)
N_CHANNELS = sum(n_channels for _, n_channels in SHAPE)


def factors(dtype: str):
    random = np.random.default_rng(0)
    moments = random.normal(size=(2, 9, N_ROWS, 7)).astype(dtype)
    weights = random.normal(size=(2, 3, 7, N_CHANNELS)).astype(dtype)
    groups = np.array([[2, 0, 0, -1, 0, 2, 0, 0, 0], [0, -1, 2, 2, 2, 0, -1, 2, 0]], "int32")
    return moments, weights, groups


def bent(engine: str, groups):
    """A function of moments and weights that is not linear in either."""
    channels = ENGINES[engine].channels
    return lambda moments, weights: jnp.sin(channels(moments, weights, groups, SHAPE)).sum()


def force_loss(engine: str, weights, moments, groups):
    """As a loss on forces: a square of first derivatives, of a batch of moments."""
    slope = lambda moments, groups: jax.grad(bent(engine, groups))(moments, weights)
    return (jax.vmap(slope)(moments, groups) ** 2).sum()


@pytest.mark.parametrize(("dtype", "error"), [("float32", 1e-5), ("float64", 1e-13)])
def test_kernels_agree_with_jax(dtype, error):
    with enable_x64(dtype == "float64"):
        moments, weights, groups = factors(dtype)
        found = {}
        for engine in ("native", "xla"):  # others have the channels of `xla`
            channels = ENGINES[engine].channels(moments[0], weights[0], groups[0], SHAPE)
            gradient = jax.jit(jax.grad(force_loss, 1), static_argnums=0)
            shared = gradient(engine, weights[0], moments, groups)
            own = jax.vmap(gradient, (None, 0, None, None))(engine, weights, moments, groups)
            found[engine] = channels, shared, own
        for one, other in zip(found["native"], found["xla"], strict=True):
            assert one.dtype == dtype
            np.testing.assert_allclose(one, other, rtol=error, atol=error * np.abs(other).max())
        assert not found["native"][0][3].any()  # of no group
        swapped = ENGINES["native"].channels(moments[0], weights[0], groups[1], SHAPE)
        assert np.abs(swapped - found["xla"][0]).max() > 0.1


@pytest.mark.parametrize("engine", ["native", "xla"])
def test_a_rank_may_have_no_channels(engine):
    """As in circuits without gates on two qubits."""
    moments, weights, groups = factors("float32")
    channels = ENGINES[engine].channels
    whole = channels(moments[0], weights[0], groups[0], SHAPE)
    n_last, n_channels = SHAPE[-1]
    shorter = (*SHAPE[:-1], (n_last, 0))
    found = channels(moments[0], weights[0][..., :-n_channels], groups[0], shorter)
    np.testing.assert_array_equal(found, whole[:, : -n_last * n_channels])


def test_kernels_refuse_wrong_shapes():
    moments, weights, groups = map(jnp.asarray, factors("float32"))
    with pytest.raises(jax.errors.JaxRuntimeError, match="a product has a wrong shape"):
        ENGINES["native"].channels(moments[0, :, 1:], weights[0], groups[0], SHAPE)
