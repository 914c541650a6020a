"""One command carried out by several processes: how they begin, and how they end together."""

import os
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from ._checks import InputError

_connected, _ending = threading.Event(), threading.Event()
_ENDED = "qiff/ended"
_MOMENT = 1.0  # s, for which the first process waits so that others learn of the end from it
_PATIENCE = 300.0  # s, to wait for the first process
_YEAR = 365 * 24 * 3_600_000  # ms


def begin(coordinator: str | None, n_processes: int | None, process: int | None) -> None:
    """Connect this process to the others; what is None is found by `jax.distributed.initialize`.

    Args:
        coordinator: HOST:PORT of the first process, at which it listens.
        n_processes: how many there are.
        process: the number of this one, from 0.

    Raises:
        InputError: something is wrong or was not found.
    """
    if coordinator is not None:
        _check_address(coordinator, listens=process == 0)
    import jax

    config: Any = jax.config
    with suppress(AttributeError):  # jax < 0.8
        config.update("jax_enable_preemption_service", False)  # it would take SIGTERM from us
    try:
        jax.distributed.initialize(coordinator, n_processes, process)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"the processes could not be connected ({error}); give --coordinator HOST:PORT, "
            "--processes N and, from 0 to N - 1, --process I."
        ) from None
    _connected.set()
    threading.Thread(target=_end_with_others, daemon=True).start()


def _check_address(coordinator: str, *, listens: bool) -> None:
    """Raise unless there is such an address and, if this process does not, something listens there.

    The first process may begin some minutes later than others.
    """
    host, _, port = coordinator.rpartition(":")
    tried = time.monotonic()
    try:
        if not 0 < int(port) < 1 << 16:
            raise ValueError(f"the port must be below {1 << 16}")
        socket.getaddrinfo(host, int(port))
        while not listens:
            try:
                socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
            except OSError:
                if time.monotonic() - tried > _PATIENCE:
                    raise
                time.sleep(_MOMENT)
            else:
                return
    except (OSError, ValueError) as error:
        raise InputError(
            f"`--coordinator` must be HOST:PORT where process 0 listens, but with {coordinator}: "
            f"{error}."
        ) from None


def several() -> bool:
    """Whether this process has been connected to others."""
    return _connected.is_set()


def is_first() -> bool:
    """Whether this process is the first, or the only one."""
    return not several() or _global_state().process_id == 0


def first_to_end(code: int) -> bool:
    """Make the other processes exit with a code; False if another has done so before."""
    if not several():
        return True
    import jax

    _ending.set()  # this process leaves by itself, once it has said why
    try:
        _global_state().client.key_value_set(_ENDED, str(code))
    except jax.errors.JaxRuntimeError:  # it is set, or the first process is gone
        return False
    return True


def leave(code: int) -> None:
    """End this process with an exit code, without waiting for threads.

    It waits for the other processes if it is 0.
    """
    if several() and code == 0:
        import jax

        jax.distributed.shutdown()
    elif several() and is_first():
        time.sleep(_MOMENT)
    os._exit(code)


def _end_with_others() -> None:
    """Wait until another process ends with an error, and leave with its code."""
    import jax

    try:
        code = int(_global_state().client.blocking_key_value_get(_ENDED, _YEAR))
    except jax.errors.JaxRuntimeError:  # all processes are done, or the first is gone
        return
    if not _ending.is_set():
        leave(code)


def _global_state() -> Any:
    """What JAX knows of the processes; it has no public access to it."""
    from jax._src.distributed import global_state

    return global_state
