"""The loss over the devices of all processes: each computes some of the frames."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from .._checks import InputError, RunError
from .._types import AnyArray
from ..atoms.frames import Frames
from ..model.potential import AbstractPotential

AXIS = "frames"
"""Axis of the mesh of devices, over which frames are divided."""

_CONNECTIONS = ("Gloo", "NCCL", "coordination")
"""In the message of an error if a connection failed."""

Tree = TypeVar("Tree")

Total = Callable[[Array], Array]
"""From a sum over frames to the sum over those of all devices."""


def over_devices(
    loss: Callable[[AbstractPotential, Frames, Total], Tree],
) -> Callable[[AbstractPotential, Frames], Tree]:
    """A loss of a potential and frames, each device of all processes computing as many of them.

    It is that of one device up to rounding, and differentiable. On a single device it is the loss
    itself.

    Args:
        loss: of the potential and of some of the frames; whatever it sums over frames, it has to
            sum over the devices by its last argument.
    """
    devices = _devices()
    if devices is None:
        return lambda potential, frames: loss(potential, frames, lambda part: part)
    of_part = lambda potential, frames: loss(
        potential, frames, partial(jax.lax.psum, axis_name=AXIS)
    )
    everywhere, divided = PartitionSpec(), PartitionSpec(AXIS)
    of_all = jax.shard_map(
        of_part,
        mesh=devices,
        in_specs=(everywhere, divided),
        out_specs=everywhere,
        check_vma=False,
    )
    return lambda potential, frames: of_all(potential, _completed(frames, devices.size))


def on_devices(tree: Tree) -> Tree:
    """A tree of arrays on all devices of all processes; as it is if there is a single device."""
    devices = _devices()
    if devices is None:
        return tree
    everywhere = NamedSharding(devices, PartitionSpec())

    def spread(values: AnyArray) -> Array:
        own = np.asarray(values)
        return jax.make_array_from_callback(own.shape, everywhere, lambda index: own[index])

    return jax.tree.map(spread, tree)


def on_this_device(tree: Tree) -> Tree:
    """A tree of arrays of `on_devices` as arrays of this process alone."""
    if _devices() is None:
        return tree
    return jax.tree.map(lambda values: values.addressable_data(0), tree)


def check_same(found: Mapping[str, object]) -> None:
    """Raise unless all processes have found the same.

    Args:
        found: by name, what its `repr` tells apart.

    Raises:
        InputError: another process than the first has found something else; it is named.
    """
    if jax.process_count() == 1:
        return
    text = [repr(each).encode() for each in found.values()]
    own = np.array([list(hashlib.sha256(each).digest()) for each in text], np.uint8)
    same = (np.asarray(multihost_utils.broadcast_one_to_all(own)) == own).all(1)
    for name, is_same in zip(found, same, strict=True):
        if not is_same:
            raise InputError(
                f"process {jax.process_index()}: its {name} is not that of process 0; give all "
                "processes the same config, data, versions and run folder."
            )


@contextmanager
def connected() -> Iterator[None]:
    """A context in which processes compute together.

    Raises:
        RunError: the connection to another process was lost.
    """
    try:
        yield
    except (ValueError, jax.errors.JaxRuntimeError) as error:
        if jax.process_count() == 1 or not any(name in str(error) for name in _CONNECTIONS):
            raise
        raise RunError(
            "the connection to another process was lost; see what that process printed, and "
            "continue with --resume."
        ) from error


def _devices() -> Mesh | None:
    """All devices of all processes; None if there is only one."""
    found = jax.devices()
    return Mesh(np.array(found), (AXIS,)) if len(found) > 1 else None


def _completed(frames: Frames, n_devices: int) -> Frames:
    """A multiple of `n_devices` frames: copies of the first without labels, which do not count."""
    n_more = -len(frames) % n_devices
    if not n_more:
        return frames

    def longer(values: Array, of: Callable[[Array], Array] = lambda copies: copies) -> Array:
        values = jnp.asarray(values)
        return jnp.concatenate([values, of(jnp.repeat(values[:1], n_more, axis=0))])

    without: Any = partial(longer, of=lambda copies: jnp.full_like(copies, jnp.nan))
    labels = {key: without(values) for key, values in frames.labels.items()}
    return Frames(jax.tree.map(longer, frames.graph), labels, jax.tree.map(longer, frames.weights))
