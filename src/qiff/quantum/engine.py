"""The one door to simulation: a program and its angles in, expectation values out.

Engines are pure functions of unbatched arguments that JAX can differentiate twice, `vmap`
and `jit`. A new back end is one file in `engines/` and its line in `ENGINES`.
"""

from collections.abc import Callable

from .._checks import InputError, check_known
from .._types import Angles, Expectations
from .engines import xla
from .program import Program

ENGINES: dict[str, Callable[[Program, Angles], Expectations]] = {"xla": xla.expectations}


def expectations(program: Program, angles: Angles, *, engine: str = "xla") -> Expectations:
    r"""Expectation values $\langle\psi_0|M^\dagger O_k M|\psi_0\rangle$ of a program.

    Args:
        program: initial state, gates and observables.
        angles: angles of every gate in radians, shape (n_slots,).
        engine: the back end, a key of `ENGINES`.

    Raises:
        InputError: the engine is unknown, or `angles` has another length than the program needs.
    """
    check_known("Engine", engine, ENGINES)
    if angles.shape != (program.n_slots,):
        raise InputError(f"`angles` must have shape ({program.n_slots},), but has {angles.shape}.")
    return ENGINES[engine](program, angles)
