r"""Channels of densities by C++ kernels: the products of the atoms of a group are one product.

With moments $M$, weights $W$ and channels $Y$ the sum

$$ T(M, W, Y) = \sum_{a m f k s} M_{a m f}\, W_{g_a f k s}\, Y_{p(m, k),\, a s} $$

is linear in each of them. A primitive of JAX computes its derivative in one of them from the other
two, so that derivatives of these primitives are these primitives. Two more copy the weights of each
rank to those of all, and back.
"""

from collections.abc import Sequence
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

Factor = Sequence[Any]
"""Its arrays: the channels are in parts, the other factors are one array each."""


def channels(
    moments: Array, weights: Sequence[Array], groups: Array, places: Places
) -> list[Array]:
    """See `qiff.quantum.engines.channels.channels`."""
    groups, of_all = jnp.asarray(groups, "int32"), _JOIN.bind(*weights)
    sizes = {"places": places, "n_groups": len(of_all)}
    return _PRIMITIVES["channels"].bind(moments, of_all, groups, **sizes)


def _factors(
    wanted: str, arguments: Sequence[Any], places: Places
) -> tuple[dict[str, Factor], Any]:
    """What a primitive is given: the factors, and the groups."""
    found, (*arrays, groups) = {}, arguments
    for name in _INPUTS[wanted]:
        n = len(places.parts) if name == "channels" else 1
        found[name], arrays = arrays[:n], arrays[n:]
    return found, groups


def _bind(wanted: str, known: dict[str, Factor], groups: Any, **sizes: Any) -> list[Array]:
    """A factor from the others."""
    arrays = (array for name in _INPUTS[wanted] for array in known[name])
    return _PRIMITIVES[wanted].bind(*arrays, groups, **sizes)


def _shapes(wanted: str, *arguments: Any, places: Places, n_groups: int) -> list[tuple[int, ...]]:
    """Of the arrays of a factor."""
    factors, _ = _factors(wanted, arguments, places)
    one, other = (factors[name][0].shape for name in _INPUTS[wanted])
    if wanted == "channels":
        return [(n, one[0], other[-1]) for n in places.parts]
    if wanted == "moments":
        return [(one[1], sum(n_rows for n_rows, _ in places.shape), other[1])]
    return [(n_groups, one[-1], sum(n for _, n in places.shape), other[-1])]


def _call(wanted: str, *arguments: Any, places: Places, n_groups: int) -> Sequence[Array]:
    shapes = _shapes(wanted, *arguments, places=places, n_groups=n_groups)
    results = [jax.ShapeDtypeStruct(shape, arguments[0].dtype) for shape in shapes]
    factors, groups = _factors(wanted, arguments, places)
    parts = factors.pop("channels", ())
    others = (array for factor in factors.values() for array in factor)
    shape, of = np.array(places.shape, np.int32).reshape(-1), np.array(places.of, np.int32)
    return jax.ffi.ffi_call(f"qiff_{wanted}", results)(
        *others, groups, *parts, shape=shape, places=of
    )


def _pushed(wanted: str, primals: Any, tangents: Any, **sizes: Any) -> Any:
    """The result and its tangent: it is linear in each factor."""
    found, total = _PRIMITIVES[wanted].bind(*primals, **sizes), None
    known, groups = _factors(wanted, primals, sizes["places"])
    moved, _ = _factors(wanted, tangents, sizes["places"])
    for name, factor in moved.items():
        if all(isinstance(tangent, ad.Zero) for tangent in factor):
            continue
        own = {name: [ad.instantiate_zeros(tangent) for tangent in factor]}
        part = _bind(wanted, known | own, groups, **sizes)
        total = part if total is None else list(map(jnp.add, total, part))
    return found, total


def _transposed(wanted: str, cotangents: Any, *arguments: Any, **sizes: Any) -> list[Any]:
    """The cotangents of the factor that is undefined, from those of the result."""
    known, groups = _factors(wanted, arguments, sizes["places"])
    known[wanted] = [ad.instantiate_zeros(cotangent) for cotangent in cotangents]
    found = []
    for name in _INPUTS[wanted]:
        undefined = [ad.is_undefined_primal(array) for array in known[name]]
        own = _bind(name, known, groups, **sizes) if any(undefined) else undefined
        found += [array if u else None for array, u in zip(own, undefined, strict=True)]
    return [*found, None]


def _batched(
    wanted: str, arguments: Any, axes: Any, *, places: Places, n_groups: int
) -> tuple[list[Array], list[int]]:
    """All of a batch as atoms of one product, with groups of their own if weights differ."""
    size = next(a.shape[axis] for a, axis in zip(arguments, axes, strict=True) if axis is not None)
    known, groups = _factors(wanted, arguments, places)
    batched, of_groups = _factors(wanted, axes, places)
    own_weights = wanted == "weights" or batched["weights"][0] is not None
    groups = batching.bdim_at_front(groups, of_groups, size)
    if own_weights:
        first = n_groups * jnp.arange(size, dtype="int32")[:, None]
        groups = jnp.where(groups < 0, -1, groups + first)
        n_groups *= size
    together = {}
    for name, factor in known.items():
        together[name] = factor
        if name != "weights" or own_weights:
            axis = _AXIS.get(name, 0)
            front = map(partial(batching.bdim_at_front, size=size), factor, batched[name])
            together[name] = [_merged(jnp.moveaxis(array, 0, axis), axis) for array in front]
    found = _bind(wanted, together, groups.reshape(-1), places=places, n_groups=n_groups)
    axis = _AXIS.get(wanted, 0)
    return [_parted(array, axis, size) for array in found], [axis] * len(found)


def _merged(values: Array, axis: int) -> Array:
    """With this axis and the next one as one."""
    shape = values.shape
    return values.reshape(*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])


def _parted(values: Array, axis: int, size: int) -> Array:
    """With this axis as two, the first of them of this size."""
    shape = values.shape
    return values.reshape(*shape[:axis], size, shape[axis] // size, *shape[axis + 1 :])


def _joined(*of_rank: Any) -> Any:
    """The shape of the weights of all ranks: behind a batch, groups, features, channels, sets."""
    *batch, n_sets, n_groups, n_features, _ = of_rank[0].shape
    n_channels = sum(weights.shape[-1] for weights in of_rank)
    shape = (*batch, n_groups, n_features, n_channels, n_sets)
    return jax.ShapeDtypeStruct(shape, of_rank[0].dtype)


def _divided(of_all: Any, n_channels: tuple[int, ...]) -> Any:
    """The shapes of the weights of each rank: behind a batch, sets, groups, features, channels."""
    *batch, n_groups, n_features, _, n_sets = of_all.shape
    shape = *batch, n_sets, n_groups, n_features
    return [jax.ShapeDtypeStruct((*shape, n), of_all.dtype) for n in n_channels]


def _copying(name: str, shapes: Any, back: Any, several: bool) -> Primitive:
    """A primitive that copies all its inputs, with the function that copies cotangents back."""
    primitive = Primitive(f"qiff_{name}")
    primitive.multiple_results = several

    def call(*values: Array, **sizes: Any) -> Any:
        return jax.ffi.ffi_call(f"qiff_{name}", shapes(*values, **sizes))(*values)

    def abstract(*values: Any, **sizes: Any) -> Any:
        found = shapes(*values, **sizes)
        return jax.tree.map(lambda array: ShapedArray(array.shape, array.dtype), found)

    def batched(values: Any, axes: Any, **sizes: Any) -> Any:
        size = next(v.shape[axis] for v, axis in zip(values, axes, strict=True) if axis is not None)
        at_front = map(partial(batching.bdim_at_front, size=size), values, axes)
        found = primitive.bind(*at_front, **sizes)
        return found, [0] * len(found) if several else 0

    primitive.def_impl(lambda *values, **sizes: jax.jit(partial(call, **sizes))(*values))
    primitive.def_abstract_eval(abstract)
    ad.deflinear2(primitive, back)
    batching.primitive_batchers[primitive] = batched
    mlir.register_lowering(primitive, mlir.lower_fun(call, multiple_results=several), "cpu")
    return primitive


def _join_back(cotangent: Array, *of_rank: Any) -> Any:
    n_channels = tuple(weights.aval.shape[-1] for weights in of_rank)
    return _DIVIDE.bind(cotangent, n_channels=n_channels)


def _divide_back(cotangents: Any, of_all: Any, n_channels: tuple[int, ...]) -> Any:
    shapes = _divided(of_all.aval, n_channels)
    whole = (
        jnp.zeros(like.shape, like.dtype) if isinstance(part, ad.Zero) else part
        for part, like in zip(cotangents, shapes, strict=True)
    )
    return [_JOIN.bind(*whole)]


_JOIN = _copying("join", _joined, _join_back, several=False)
_DIVIDE = _copying("divide", _divided, _divide_back, several=True)


def _primitive(wanted: str) -> Primitive:
    primitive, call = Primitive(f"qiff_{wanted}"), partial(_call, wanted)
    primitive.multiple_results = True

    def abstract(*arguments: Any, **sizes: Any) -> list[ShapedArray]:
        shapes = _shapes(wanted, *arguments, **sizes)
        return [ShapedArray(shape, arguments[0].dtype) for shape in shapes]

    primitive.def_impl(lambda *values, **sizes: jax.jit(partial(call, **sizes))(*values))
    primitive.def_abstract_eval(abstract)
    ad.primitive_jvps[primitive] = partial(_pushed, wanted)
    ad.primitive_transposes[primitive] = partial(_transposed, wanted)
    batching.primitive_batchers[primitive] = partial(_batched, wanted)
    mlir.register_lowering(primitive, mlir.lower_fun(call, multiple_results=True), platform="cpu")
    return primitive


_PRIMITIVES = {wanted: _primitive(wanted) for wanted in _INPUTS}
