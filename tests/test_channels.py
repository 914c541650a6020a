"""Channels of densities: the kernels against plain JAX operations, with their derivatives."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qiff.model.predict import enable_x64
from qiff.quantum.engine import ENGINES
from qiff.quantum.engines.channels import Places

SHAPE = ((1, 5), (3, 18), (6, 3))  # of a rank: rows and channels
N_ROWS = sum(n_rows for n_rows, _ in SHAPE)
N_CHANNELS = sum(n_channels for _, n_channels in SHAPE)
N_SETS = 3
N_FEATURES = 19  # more than the lanes of a vector, and not a multiple
OF = np.random.default_rng(1).permutation(sum(rows * n for rows, n in SHAPE))
PLACES = Places(SHAPE, tuple(OF.tolist()))


def factors(dtype: str) -> Any:
    random = np.random.default_rng(0)
    moments = random.normal(size=(2, 9, N_ROWS, N_FEATURES)).astype(dtype)
    weights = random.normal(size=(2, 3, N_FEATURES, N_CHANNELS, N_SETS)).astype(dtype)
    groups = np.array([[2, 0, 0, -1, 0, 2, 0, 0, 0], [0, -1, 2, 2, 2, 0, -1, 2, 0]], "int32")
    return moments, weights, groups


def bent(engine: str, groups):
    """A function of moments and weights that is not linear in either."""
    channels = ENGINES[engine].channels
    return lambda moments, weights: jnp.sin(channels(moments, weights, groups, PLACES)).sum()


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
            channels = ENGINES[engine].channels(moments[0], weights[0], groups[0], PLACES)
            gradient = jax.jit(jax.grad(force_loss, 1), static_argnums=0)
            shared = gradient(engine, weights[0], moments, groups)
            own = jax.vmap(gradient, (None, 0, None, None))(engine, weights, moments, groups)
            found[engine] = channels, shared, own
        for one, other in zip(found["native"], found["xla"], strict=True):
            assert one.dtype == dtype
            np.testing.assert_allclose(one, other, rtol=error, atol=error * np.abs(other).max())
        assert not found["native"][0][:, 3].any()  # of no group
        swapped = ENGINES["native"].channels(moments[0], weights[0], groups[1], PLACES)
        assert np.abs(swapped - found["xla"][0]).max() > 0.1


@pytest.mark.parametrize("engine", ["native", "xla"])
def test_a_rank_may_have_no_channels(engine):
    """As in circuits without gates on two qubits."""
    moments, weights, groups = factors("float32")
    channels = ENGINES[engine].channels
    n_last, n_channels = SHAPE[-1]
    n_kept = len(OF) - n_last * n_channels
    whole = channels(moments[0], weights[0], groups[0], Places(SHAPE, tuple(range(len(OF)))))
    shorter = Places((*SHAPE[:-1], (n_last, 0)), tuple(range(n_kept)))
    found = channels(moments[0], weights[0][..., :-n_channels, :], groups[0], shorter)
    np.testing.assert_array_equal(found, whole[:n_kept])


def test_sets_are_on_their_own():
    """Also where the compiler knows how many there are."""
    moments, weights, groups = factors("float32")
    channels = ENGINES["native"].channels
    four = jnp.concatenate([weights[0], weights[1][..., :1]], axis=-1)
    one = channels(moments[0], four[..., 3:], groups[0], PLACES)
    np.testing.assert_array_equal(channels(moments[0], four, groups[0], PLACES)[..., 3:], one)


def test_kernels_refuse_wrong_shapes():
    moments, weights, groups = map(jnp.asarray, factors("float32"))
    with pytest.raises(jax.errors.JaxRuntimeError, match="a product has a wrong shape"):
        ENGINES["native"].channels(moments[0, :, 1:], weights[0], groups[0], PLACES)
