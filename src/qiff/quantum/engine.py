"""The one door to simulation: a program and its angles in, expectation values out.

Engines are pure functions of unbatched arguments that JAX can differentiate twice (in reverse),
`vmap` and `jit`. A new back end is one file in `engines/` and its line in `ENGINES`.
"""

from collections.abc import Callable
from typing import Any

import jax

from .._checks import InputError, check_known
from .._types import Angles, Expectations
from .engines import native, xla
from .program import Program

Engine = Callable[[Program, Angles], Any]

ENGINES: dict[str, Engine] = {
    "xla": xla.expectations,
    "native": native.expectations,
}
AUTO = "auto"


def expectations(program: Program, angles: Angles, *, engine: str | Engine = AUTO) -> Expectations:
    r"""Expectation values $\langle\psi_0|M^\dagger O_k M|\psi_0\rangle$ of a program.

    Args:
        program: initial state, gates and observables.
        angles: angles of every gate in radians, shape (n_slots,).
        engine: the back end, a key of `ENGINES`, or `auto`, see `choose`; or a function.

    Raises:
        InputError: the engine is unknown or cannot be used here, or `angles` has another length
            than the program needs.
    """
    if angles.shape != (program.n_slots,):
        raise InputError(f"`angles` must have shape ({program.n_slots},), but has {angles.shape}.")
    carry_out = engine if callable(engine) else ENGINES[choose(engine)]
    return carry_out(program, angles)


def choose(engine: str) -> str:
    """The engine to use: `auto` is the native one on a CPU that has it, else XLA.

    Raises:
        InputError: the engine is unknown, or it is the native one and cannot be used here.
    """
    check_known("Engine", engine, {AUTO, *ENGINES})
    on_cpu = jax.default_backend() == "cpu"
    if engine == "native" and not on_cpu:
        raise InputError(f"Engine `native` computes on a CPU, but JAX on {jax.default_backend()}.")
    if engine == "native" and (reason := native.unavailable()):
        raise InputError(f"Engine `native` cannot be used: {reason}; use `xla`.")
    if engine == AUTO:
        return "native" if on_cpu and not native.unavailable() else "xla"
    return engine


def describe(engine: str = AUTO) -> str:
    """The engine that is used for `engine` here, and with what or why, in one line."""
    chosen = choose(engine)
    if chosen == "native":
        return f"native, {native.instructions()} instructions"
    reason = native.unavailable()
    return f"xla ({reason})" if engine == AUTO and reason else f"xla on {jax.default_backend()}"
