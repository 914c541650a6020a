"""The context in which JAX computes: in double precision or not, with compiled programs kept."""

import os
from contextlib import AbstractContextManager
from typing import Any

from jax._src.xla_bridge import backends_are_initialized

from ._checks import RunError
from ._compiled import drop_compiled, keep_compiled

_jax: Any
try:
    from jax import enable_x64 as _jax
except ImportError:  # jax < 0.8
    from jax.experimental import enable_x64 as _jax  # pyright: ignore[reportAttributeAccessIssue]

_hangs = False


def _after_fork() -> None:
    global _hangs
    _hangs = backends_are_initialized()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


def enable_x64(enable: bool) -> AbstractContextManager[None]:
    """The context in which JAX computes, in double precision or not.

    Raises:
        RunError: JAX had started before this process was forked, so its threads are missing here.
    """
    if _hangs:
        raise RunError(
            "JAX had started before this process was forked and would hang here; start processes "
            'by spawn: multiprocessing.get_context("spawn").'
        )
    keep_compiled()
    drop_compiled()
    return _jax(enable)
