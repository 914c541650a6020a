"""Executors by name.

A new executor is one entry of `EXECUTORS`.
"""

from collections.abc import Callable
from pathlib import Path

from .._checks import InputError, check_known, check_seed
from .delivery import Cached, Retrying
from .executor import AbstractExecutor, Exact, Shots
from .on_pennylane import pennylane
from .on_qiskit import aer, fake
from .on_runtime import runtime


def _plain(executor: Callable[[int], AbstractExecutor]) -> Callable[[str, int], AbstractExecutor]:
    """The entry of an executor without an argument after its name."""

    def make(argument: str, seed: int) -> AbstractExecutor:
        if argument:
            raise InputError(
                f"This executor takes no argument after its name, but got `{argument}`; remove it."
            )
        return executor(seed)

    return make


EXECUTORS: dict[str, Callable[[str, int], AbstractExecutor]] = {
    "exact": _plain(lambda seed: Exact()),
    "shots": _plain(Shots),
    "aer": aer,
    "fake": fake,
    "pennylane": pennylane,
    "runtime": runtime,
}


def make_executor(name: str, *, seed: int = 0, cache: Path | None = None) -> AbstractExecutor:
    """Make an executor from a name such as `shots`, `fake:manila` or `aer:depolarising=0.01`.

    Lost jobs are sent again.

    Args:
        name: a key of `EXECUTORS`, with its argument after a colon.
        seed: of simulated outcomes.
        cache: folder in which results are kept; None keeps none.

    Returns:
        The executor.

    Raises:
        InputError: the executor or its argument is unknown, its package is not installed, or a
            token is missing or refused.
    """
    kind, _, argument = name.partition(":")
    check_known("Executor", kind, EXECUTORS)
    check_seed(seed)
    executor = EXECUTORS[kind](argument, seed)
    return Retrying(Cached(executor, cache) if cache else executor)
