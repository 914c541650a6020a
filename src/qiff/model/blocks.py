"""Blocks: many atoms, some at a time, so that their arrays stay in the caches of the processor."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..atoms.graph import Graph

_FEW = 256  # atoms that are computed at once: their arrays stay in the caches as they are
_ATOMS_PER_CORE = 64  # of a block
_ATOMS_ELSEWHERE = 16_384  # of a block on an accelerator, where only memory counts


def with_blocks(graph: Graph) -> Graph:
    """The graph, for energies and first derivatives: a potential computes few atoms at a time, if
    there are many.

    The derivative computes every block once more rather than keeping what it needs, so memory is
    that of a block and of little more. To train, which differentiates twice, takes half as long
    again with blocks as without.
    """
    many = graph.numbers.shape[-1] > _FEW
    return replace(graph, block=block_size()) if many else graph


def block_size() -> int:
    """Atoms of a block on this machine."""
    if jax.default_backend() != "cpu":
        return _ATOMS_ELSEWHERE
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return _ATOMS_PER_CORE * (n_cores or 1)


def by_blocks(function: Callable[..., Any], rows: tuple[Array, ...], size: int | None) -> Any:
    """`function(*rows)`, computed for blocks of rows one after the other.

    Args:
        function: row by row, from arrays with a row for each atom to any tree of such arrays.
        rows: its arguments, with as many rows.
        size: rows of a block at most; None for all rows at once.
    """
    n_rows = len(rows[0])
    n_blocks = 1 if size is None else -(-n_rows // size)
    if n_blocks <= 1:
        return function(*rows)
    n_each = -(-n_rows // n_blocks)

    def divided(values: Array) -> Array:
        filling = jnp.repeat(values[-1:], n_blocks * n_each - n_rows, axis=0)
        return jnp.concatenate([values, filling]).reshape(n_blocks, n_each, *values.shape[1:])

    of_block = jax.checkpoint(lambda block: function(*block))
    found = jax.lax.map(of_block, tuple(divided(values) for values in rows))
    return jax.tree.map(lambda values: values.reshape(-1, *values.shape[2:])[:n_rows], found)
