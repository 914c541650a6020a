r"""Channels of densities by C++ kernels: the products of the atoms of a group are one product.

With moments $M$, weights $W$ and channels $Y$ the sum

$$ T(M, W, Y) = \sum_{a m f k s} M_{a m f}\, W_{g_a f k s}\, Y_{p(m, k),\, a s} $$

is linear in each of them. A primitive of JAX computes its derivative in one of them from the other
two, so that derivatives of these primitives are these primitives.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

from ..channels import Places

_INPUTS = {
    "channels": ("moments", "weights"),
    "moments": ("channels", "weights"),
    "weights": ("moments", "channels"),
}
"""What each factor is computed from."""
_AXIS = {"channels": 1}
"""Where the atoms of a factor, or its groups, are; else first."""


def channels(moments: Array, weights: Array, groups: Array, places: Places) -> Array:
    """See `qiff.quantum.engines.channels.channels`."""
    groups, n_groups = jnp.asarray(groups, "int32"), len(weights)
    return _PRIMITIVES["channels"].bind(moments, weights, groups, places=places, n_groups=n_groups)


def _result(wanted: str, one: Any, other: Any, places: Places, n_groups: int) -> tuple[int, ...]:
    """The shape of a factor."""
    if wanted == "channels":
        return len(places.of), one.shape[0], other.shape[-1]
    if wanted == "moments":
        return one.shape[1], sum(n_rows for n_rows, _ in places.shape), other.shape[1]
    return n_groups, one.shape[-1], sum(n for _, n in places.shape), other.shape[-1]


def _call(
    wanted: str, one: Array, other: Array, groups: Array, *, places: Places, n_groups: int
) -> Array:
    result = jax.ShapeDtypeStruct(_result(wanted, one, other, places, n_groups), one.dtype)
    call = jax.ffi.ffi_call(f"qiff_{wanted}", result)
    shape, of = np.array(places.shape, np.int32).reshape(-1), np.array(places.of, np.int32)
    return call(one, other, groups, shape=shape, places=of)


def _transposed(
    wanted: str, cotangent: Any, one: Any, other: Any, groups: Array, **sizes: Any
) -> tuple[Any, ...]:
    """The cotangent of the input that is undefined, from that of the result."""
    if isinstance(cotangent, ad.Zero):
        return None, None, None
    known = dict(zip(_INPUTS[wanted], (one, other), strict=True)) | {wanted: cotangent}
    found = (
        _PRIMITIVES[name].bind(*(known[factor] for factor in _INPUTS[name]), groups, **sizes)
        if ad.is_undefined_primal(known[name])
        else None
        for name in _INPUTS[wanted]
    )
    return (*found, None)


def _batched(
    wanted: str, arguments: Any, axes: Any, *, places: Places, n_groups: int
) -> tuple[Array, int]:
    """All of a batch as atoms of one product, with groups of their own if weights differ."""
    size = next(a.shape[axis] for a, axis in zip(arguments, axes, strict=True) if axis is not None)
    names = (*_INPUTS[wanted], "groups")
    own_weights = wanted == "weights" or axes[1] is not None
    found = {}
    for name, values, axis in zip(names, arguments, axes, strict=True):
        if name != "weights" or own_weights:
            front = batching.bdim_at_front(values, axis, size)
            found[name] = jnp.moveaxis(front, 0, _AXIS.get(name, 0))
        else:
            found[name] = values[None]
    if own_weights:
        first = n_groups * jnp.arange(size, dtype="int32")[:, None]
        found["groups"] = jnp.where(found["groups"] < 0, -1, found["groups"] + first)
        n_groups *= size
    together = (_merged(found[name], _AXIS.get(name, 0)) for name in names)
    result = _PRIMITIVES[wanted].bind(*together, places=places, n_groups=n_groups)
    axis = _AXIS.get(wanted, 0)
    return result.reshape(*result.shape[:axis], size, -1, *result.shape[axis + 1 :]), axis


def _merged(values: Array, axis: int) -> Array:
    """With this axis and the next one as one."""
    return values.reshape(*values.shape[:axis], -1, *values.shape[axis + 2 :])


def _primitive(wanted: str) -> Primitive:
    primitive = Primitive(f"qiff_{wanted}")
    call = partial(_call, wanted)
    primitive.def_impl(lambda *values, **sizes: jax.jit(partial(call, **sizes))(*values))
    primitive.def_abstract_eval(
        lambda one, other, groups, **sizes: ShapedArray(
            _result(wanted, one, other, **sizes), one.dtype
        )
    )
    bind = primitive.bind
    ad.defjvp(
        primitive,
        lambda tangent, one, other, groups, **sizes: bind(tangent, other, groups, **sizes),
        lambda tangent, one, other, groups, **sizes: bind(one, tangent, groups, **sizes),
        None,
    )
    ad.primitive_transposes[primitive] = partial(_transposed, wanted)
    batching.primitive_batchers[primitive] = partial(_batched, wanted)
    mlir.register_lowering(primitive, mlir.lower_fun(call, multiple_results=False), platform="cpu")
    return primitive


_PRIMITIVES = {wanted: _primitive(wanted) for wanted in _INPUTS}
