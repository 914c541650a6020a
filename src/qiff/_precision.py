"""The context in which JAX computes: in double precision or not, with compiled programs kept."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import jax
import numpy as np
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


class NotFiniteError(RunError):
    """What was computed is NaN or infinite."""

    def __init__(self):
        super().__init__(
            "what the model computes became NaN or infinite: its weights are not finite or the "
            "positions have run away."
        )


def finite(values: np.ndarray) -> np.ndarray:
    """The values, or NotFiniteError if one is NaN or infinite."""
    if not np.isfinite(values).all():
        raise NotFiniteError
    return values


@contextmanager
def computing(dtype: str) -> Iterator[None]:
    """The context in which JAX computes in a precision.

    Raises:
        NotFiniteError: an engine found angles that are NaN or infinite.
    """
    with enable_x64(dtype == "float64"):
        try:
            yield
        except jax.errors.JaxRuntimeError as error:
            if "must be finite" not in str(error):
                raise
            raise NotFiniteError from None
