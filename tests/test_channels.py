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
N_SETS = 3
N_FEATURES = 19  # more than the lanes of a vector, and not a multiple
OF = np.random.default_rng(1).permutation(sum(rows * n for rows, n in SHAPE))
PLACES = Places(SHAPE, tuple(OF.tolist()), (13, 0, len(OF) - 13))


def factors(dtype: str) -> Any:
    random = np.random.default_rng(0)
    moments = random.normal(size=(2, 9, N_ROWS, N_FEATURES)).astype(dtype)
    sizes = ((2, N_SETS, 3, N_FEATURES, n) for _, n in SHAPE)
    weights = tuple(random.normal(size=size).astype(dtype) for size in sizes)
    groups = np.array([[2, 0, 0, -1, 0, 2, 0, 0, 0], [0, -1, 2, 2, 2, 0, -1, 2, 0]], "int32")
    return moments, weights, groups


def of_batch(weights: Any, index: int) -> Any:
    return tuple(own[index] for own in weights)


def joined(parts: Any) -> Any:
    assert [len(part) for part in parts] == list(PLACES.parts)
    return jnp.concatenate(parts)


def bent(engine: str, groups):
    """A function of moments and weights that is not linear in either."""
    channels = ENGINES[engine].channels
    return lambda moments, weights: jnp.sin(
        joined(channels(moments, weights, groups, PLACES))
    ).sum()


def force_loss(engine: str, weights, moments, groups):
    """As a loss on forces: a square of first derivatives, of a batch of moments."""
    slope = lambda moments, groups: jax.grad(bent(engine, groups))(moments, weights)
    return (jax.vmap(slope)(moments, groups) ** 2).sum()


def flat(tree: Any) -> Any:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


@pytest.mark.parametrize(("dtype", "error"), [("float32", 1e-5), ("float64", 1e-13)])
def test_kernels_agree_with_jax(dtype, error):
    with enable_x64(dtype == "float64"):
        moments, weights, groups = factors(dtype)
        found = {}
        for engine in ("native", "xla"):  # others have the channels of `xla`
            whole = ENGINES[engine].channels(moments[0], of_batch(weights, 0), groups[0], PLACES)
            gradient = jax.jit(jax.grad(force_loss, 1), static_argnums=0)
            shared = gradient(engine, of_batch(weights, 0), moments, groups)
            own = jax.vmap(gradient, (None, 0, None, None))(engine, weights, moments, groups)
            found[engine] = joined(whole), flat(shared), flat(own)
        for one, other in zip(found["native"], found["xla"], strict=True):
            assert one.dtype == dtype
            np.testing.assert_allclose(one, other, rtol=error, atol=error * np.abs(other).max())
        assert not found["native"][0][:, 3].any()  # of no group
        swapped = ENGINES["native"].channels(moments[0], of_batch(weights, 0), groups[1], PLACES)
        assert np.abs(joined(swapped) - found["xla"][0]).max() > 0.1


@pytest.mark.parametrize("engine", ["native", "xla"])
def test_a_rank_may_have_no_channels(engine):
    """As in circuits without gates on two qubits."""
    moments, weights, groups = factors("float32")
    channels = ENGINES[engine].channels
    n_last, n_channels = SHAPE[-1]
    n_kept = len(OF) - n_last * n_channels
    *first, last = of_batch(weights, 0)
    places = Places(SHAPE, tuple(range(len(OF))), (len(OF),))
    (whole,) = channels(moments[0], (*first, last), groups[0], places)
    shorter = Places((*SHAPE[:-1], (n_last, 0)), tuple(range(n_kept)), (n_kept,))
    (found,) = channels(moments[0], (*first, last[..., :0]), groups[0], shorter)
    np.testing.assert_array_equal(found, whole[:n_kept])


def test_sets_are_on_their_own():
    """Also where the compiler knows how many there are."""
    moments, weights, groups = factors("float32")
    channels = ENGINES["native"].channels
    four = tuple(jnp.concatenate([own[0], own[1, :1]]) for own in weights)
    one = joined(channels(moments[0], tuple(own[3:] for own in four), groups[0], PLACES))
    all_four = joined(channels(moments[0], four, groups[0], PLACES))
    np.testing.assert_array_equal(all_four[..., 3:], one)


def test_kernels_refuse_wrong_shapes():
    moments, weights, groups = jax.tree.map(jnp.asarray, factors("float32"))
    native = ENGINES["native"].channels
    with pytest.raises(jax.errors.JaxRuntimeError, match="a product has a wrong shape"):
        native(moments[0, :, 1:], of_batch(weights, 0), groups[0], PLACES)
    with pytest.raises(jax.errors.JaxRuntimeError, match="weights of channels have a wrong"):
        native(moments[0], (weights[0][0], weights[1][0, :, :2]), groups[0], PLACES)
