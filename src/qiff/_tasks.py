"""Items as tasks of Dask: sent as they are needed; results as they arrive."""

import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import count, islice
from queue import Empty, SimpleQueue
from typing import Any

from ._checks import RunError

FEW, MANY = 100, 1000
"""Largest number of items that are sent and not finished, before and after their time is known."""
TASK_TIME = 0.1
"""Seconds of work that is worth a task."""
LONG = 10.0
"""Seconds without a result after which items are taken to be long."""


def unordered(
    client: Any,
    repair: Callable[[], object],
    function: Callable[[Any], Any],
    items: Iterable[Any],
) -> Iterator[Any]:
    """Results as they arrive; items of milliseconds are sent together, many to a task.

    The keys of the tasks have a common name, so that the scheduler keeps those for which no worker
    is free.

    Args:
        client: of `dask.distributed`.
        repair: starts workers in place of those that are lost; called every `LONG` seconds.
        function, items: see `Map`.

    Raises:
        RunError: each of several workers died at the same task, or the scheduler is lost.
    """
    name, keys, left = f"qiff-{uuid.uuid4().hex}", count(), iter(items)
    arrived, pending, again = SimpleQueue(), dict[Any, list[Any]](), deque[Any]()
    times, limit, due = deque[float](maxlen=FEW // 2), FEW, time.monotonic() + LONG
    while True:
        if time.monotonic() > due:
            repair()
            due = time.monotonic() + LONG
        while sum(map(len, pending.values())) < limit:
            size = _size(times)
            sent = [again.popleft() for _ in range(min(size, len(again)))]
            sent = sent or list(islice(left, size))
            if not sent:
                break
            task = partial(_apply, function, sent)  # Dask does not look into it
            future = client.submit(task, key=(name, next(keys)))
            pending[future] = sent
            future.add_done_callback(arrived.put)
        if not pending:
            return
        try:
            future = arrived.get(timeout=LONG)
        except Empty:  # items that take long: one for every worker that may join
            limit = MANY
            _check_known(pending)
            continue
        results, seconds = _result(future)
        again.extend(pending.pop(future)[len(results) :])
        future.release()  # what has arrived is not computed again if its worker dies
        times.append(seconds / len(results))
        if len(times) == times.maxlen:
            limit = MANY
        yield from results


def _size(times: deque[float]) -> int:
    """How many items are one task: 1 until the time of an item is known."""
    if len(times) < (times.maxlen or 0):
        return 1
    return max(1, min(FEW, int(TASK_TIME * len(times) / sum(times))))


def _apply(function: Callable[[Any], Any], items: Sequence[Any]) -> tuple[list[Any], float]:
    """Results of the first items, and the time of all; runs in a worker.

    The items after one that fails, or after twice `TASK_TIME`, are left to another task; an error
    is that of the first item.
    """
    began, results = time.perf_counter(), []
    for item in items:
        try:
            results.append(function(item))
        except Exception:
            if results:
                break
            raise
        if time.perf_counter() - began > 2 * TASK_TIME:
            break
    return results, time.perf_counter() - began


def _check_known(futures: Iterable[Any]) -> None:
    """Raise RunError if the scheduler is lost; a result lost with its worker is computed again."""
    if any(future.status == "cancelled" for future in futures):
        raise RunError("the connection to the scheduler is lost; repeat the command to resume.")


def _result(future: Any) -> Any:
    """The result of a finished task.

    Raises:
        RunError: there is none for a reason that lies outside of the task.
    """
    from dask.distributed import KilledWorker

    _check_known([future])
    try:
        return future.result()
    except KilledWorker:
        raise RunError(
            "several workers died at the same task, perhaps for lack of memory; see their log."
        ) from None
