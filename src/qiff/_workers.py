"""Independent tasks: in this process, on a local Dask cluster, or on the user's own."""

import asyncio
import json
import logging
import os
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from ._checks import InputError, RunError, check_at_least, check_file, missing_extra
from ._tasks import unordered

Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""Applies a function to items, as the builtin `map` does; results may come in any order.

Functions and items can be pickled. For instance `Pool.imap_unordered` of `multiprocessing`, or
`ThreadPoolExecutor.map`.
"""

TIMEOUT = 10.0
"""Seconds to wait for a scheduler."""
ATTEMPTS = 5
"""How often a local cluster is started at most."""
_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "NPROC": "1",  # the size of the thread pool of XLA
}
_SETTINGS = {
    "distributed.nanny.pre-spawn-environ": _ENVIRONMENT,
    "distributed.scheduler.worker-ttl": None,  # a task may hold the interpreter for minutes
    "distributed.deploy.lost-worker-timeout": "1 day",  # a worker may take long to start again
    "distributed.comm.timeouts.connect": f"{TIMEOUT:g}s",
}

log = logging.getLogger("qiff")


class InThisProcess:
    """A function that is called in this process alone; a copy sent to another does nothing."""

    def __init__(self, function: Callable[..., None]):
        self._function = function

    def __call__(self, *args: Any) -> None:
        self._function(*args)

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return InThisProcess, (_nothing,)


def _nothing(*args: Any) -> None:
    pass


@contextmanager
def workers(n: int = 0, scheduler: str = "") -> Iterator[Map]:
    """A context that yields what applies a function to items, see `Map`.

    Without arguments that is the builtin `map`. Otherwise the items are tasks of
    `dask.distributed`: results arrive as they are computed, an error in a task is raised here, and
    the task of a worker that dies is repeated on another one.

    Args:
        n: above 0 a local cluster of so many processes, one task at a time in each.
        scheduler: the address of the scheduler of a running cluster, or its scheduler file.

    Raises:
        InputError: the scheduler cannot be reached, or both arguments are given.
        MissingExtraError: `dask.distributed` is not installed.
        RunError: from the map: each of several workers died at the same task.
    """
    check_at_least("workers", n, 0)
    if n and scheduler:
        raise InputError("`workers` and `scheduler` exclude each other; give one of them.")
    if not (n or scheduler):
        yield map
        return
    distributed = _distributed()
    with _settings(), _local_cluster(n) if n else nullcontext(_reached(scheduler)) as cluster:
        client = distributed.Client(cluster, timeout=TIMEOUT, set_as_default=False)
        repair = partial(_repair, cluster, n) if n else _nothing
        try:
            yield partial(unordered, client, repair)
        finally:
            client.close(timeout=1)


def _distributed() -> Any:
    try:
        import dask.distributed
    except ImportError:
        raise missing_extra("distributed", "dask", "Running tasks in other processes") from None
    return dask.distributed


@contextmanager
def _settings() -> Iterator[None]:
    """A context with settings of Dask, at whose end the environment variables are as before."""
    from dask import config

    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="qiff-", ignore_cleanup_errors=True) as folder:
        try:
            with config.set({**_SETTINGS, "temporary-directory": folder}):
                yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def _local_cluster(n: int) -> Any:
    """A cluster of `n` processes of one thread; begun again if one of them dies while it starts.

    Raises:
        RunError: that happens every time.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _new_cluster(n)
        except RuntimeError as error:
            if attempt == ATTEMPTS:
                raise RunError(
                    f"the worker processes end while they start ({error}), perhaps for lack of "
                    "memory; give fewer --workers."
                ) from error
    return None


def _new_cluster(n: int) -> Any:
    return _distributed().LocalCluster(
        n_workers=n,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # of its status page
        memory_limit=0,
        preload=[__name__],
        silence_logs=logging.CRITICAL,
    )


def _repair(cluster: Any, n: int) -> None:
    """Start workers in place of those that could not be started again."""

    def replace() -> None:
        for name, nanny in list(cluster.workers.items()):
            if nanny.status.name in ("closed", "failed"):
                del cluster.workers[name]
        cluster.scale(n)

    cluster.loop.add_callback(replace)


def dask_setup(worker: Any) -> None:
    """Called by Dask in a worker: the process that started it acts on an interrupt, not itself.

    A handler rather than `SIG_IGN`, which the programs that a task starts would inherit.
    """
    signal.signal(signal.SIGINT, _nothing)


def _reached(scheduler: str) -> Any:
    """The address of a scheduler, which may stand in its scheduler file, once it has answered."""
    address = _address(scheduler)
    try:
        found = asyncio.run(_identity(address))
    except OSError:
        remedy = "check the address, and that the scheduler runs."
        raise InputError(
            f"{address}: no scheduler answers within {TIMEOUT:g} s; {remedy}"
        ) from None
    except Exception as error:  # whatever another server may answer
        raise InputError(f"{address}: is no scheduler of Dask ({error}).") from None
    if not found["workers"]:
        log.warning("%s has no workers yet; waiting for them", address)
    return address


def _address(scheduler: str) -> str:
    path = Path(scheduler)
    if ":" in scheduler and not path.exists():
        return scheduler
    check_file(path)
    try:
        return json.loads(path.read_text("utf-8"))["address"]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: is not a scheduler file of Dask.") from None


async def _identity(address: str) -> Any:
    distributed = _distributed()
    arguments = distributed.Security().get_connection_args("client")
    async with asyncio.timeout(TIMEOUT):
        async with distributed.rpc(address, connection_args=arguments) as found:
            return await found.identity()
