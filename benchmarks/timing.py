"""Timing several functions side by side."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import jax

ROUNDS = 9
ROUND_SECONDS = 0.05


def side_by_side(
    functions: Mapping[Any, Callable],
    rounds: int = ROUNDS,
    typical: Callable[[list[float]], float] = median,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Any, float]:
    """Seconds of a call, `typical` of rounds that take turns, after one call to warm up."""
    counts, times = {}, {name: [] for name in functions}
    for name, function in functions.items():
        jax.block_until_ready(function())
        counts[name] = max(1, int(ROUND_SECONDS / _time(function, 1, clock)))
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(_time(function, counts[name], clock))
    return {name: typical(found) for name, found in times.items()}


def first_call(function: Callable) -> float:
    """Seconds of the first call, compilation included."""
    return _time(function, 1, time.perf_counter)


def _time(function: Callable, count: int, clock: Callable[[], float]) -> float:
    begin = clock()
    for _ in range(count):
        jax.block_until_ready(function())
    return (clock() - begin) / count
