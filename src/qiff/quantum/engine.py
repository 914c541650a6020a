"""Simulation of circuits: a program and its angles in, expectation values out.

Engines are pure functions of unbatched arguments that JAX can differentiate twice (in reverse),
`vmap` and `jit`. A new back end is one file in `engines/`, which defines an `Engine`, and its line
in `ENGINES`.
"""

import logging
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import InputError, check_known
from .._types import Angles, Expectations
from .engines import native, pallas, xla
from .engines.record import Engine
from .program import Program

ENGINES: dict[str, Engine] = {
    engine.name: engine for engine in (native.ENGINE, xla.ENGINE, pallas.ENGINE, pallas.INTERPRETED)
}
"""By name, in order of preference."""
AUTO = "auto"
XLA = xla.ENGINE.name


def expectations(
    program: Program, angles: Angles | np.ndarray, *, engine: str | Engine = AUTO
) -> Expectations:
    r"""Expectation values $\langle\psi_0|M^\dagger O_k M|\psi_0\rangle$ of a program.

    If `auto` has to use a slower engine than the preferred one, one line says so, once a process.

    Args:
        program: initial state, gates and observables.
        angles: angles of every gate in radians, shape (n_slots,).
        engine: see `choose`.

    Raises:
        InputError: the engine is unknown or cannot simulate the program here, or `angles` has
            another length than the program needs or is neither float32 nor float64.
    """
    if angles.dtype.name not in ("float32", "float64"):
        raise InputError(f"`angles` must be float32 or float64, but is {angles.dtype.name}.")
    if isinstance(angles, np.ndarray):
        angles = jnp.asarray(angles.astype(angles.dtype.newbyteorder("="), copy=False))
    if angles.shape != (program.n_slots,):
        raise InputError(f"`angles` must have shape ({program.n_slots},), but has {angles.shape}.")
    if engine == AUTO and fallback_reason():
        _warn_once(f"qiff: circuits are simulated by {describe()}, which is slower")
    return choose(engine, program).expectations(program, angles)


@cache
def _warn_once(line: str) -> None:
    logging.getLogger(__name__).warning(line)


def choose(engine: str | Engine = AUTO, program: Program | None = None) -> Engine:
    """The engine to use.

    Args:
        engine: a key of `ENGINES`; an engine that is not registered; or `auto`, the first of
            `ENGINES` that is `automatic`, runs on the platform of JAX, is available and supports
            the program.
        program: what is simulated; None if that is not known yet.

    Raises:
        InputError: the engine is unknown, or cannot be used here or for this program.
    """
    if engine == AUTO:
        for candidate in _automatic():
            if _objection(candidate, program) is None:
                return candidate
        reasons = (f"`{e.name}`: {_objection(e, program)}" for e in _automatic())
        raise InputError(f"No engine can be used: {'; '.join(reasons)}.")
    if isinstance(engine, str):
        check_known("Engine", engine, {AUTO, *ENGINES})
        engine = ENGINES[engine]
    if (reason := _objection(engine, program)) is not None:
        others = [e.name for e in _automatic() if _objection(e, program) is None]
        remedy = f"; use `{others[0]}`" if others else ""
        raise InputError(f"Engine `{engine.name}` cannot be used: {reason}{remedy}.")
    return engine


def _automatic() -> list[Engine]:
    return [engine for engine in ENGINES.values() if engine.automatic]


def _objection(engine: Engine, program: Program | None) -> str | None:
    """Why an engine cannot be used, or None if it can."""
    platform = jax.default_backend()
    if engine.platforms and platform not in engine.platforms:
        return f"it runs on {' and '.join(engine.platforms)}, but JAX runs on {platform}"
    return engine.unavailable() or (engine.supports(program) if program is not None else None)


def describe(engine: str | Engine = AUTO, program: Program | None = None) -> str:
    """The engine that is used for `engine` here, and with what or why, in one line."""
    chosen = choose(engine, program)
    reason = fallback_reason(program) if engine == AUTO else None
    return f"{chosen.name} ({reason})" if reason else chosen.describe()


def fallback_reason(program: Program | None = None) -> str | None:
    """Why `auto` is not the preferred engine of this platform, or None if it is."""
    platform = jax.default_backend()
    fitting = [e for e in _automatic() if not e.platforms or platform in e.platforms]
    return _objection(fitting[0], program) if fitting else None
