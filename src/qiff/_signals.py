"""Signals that end a command: what they raise, and an end of computations that do not see them."""

import os
import signal
import sys
import threading
import time

from ._processes import first_to_end, leave

INTERRUPTED, TERMINATED = 130, 143
"""The exit codes of commands that SIGINT and SIGTERM ended."""
_GRACE = 5.0  # s, in which a command can end by itself


class Terminated(KeyboardInterrupt):
    """SIGTERM, for instance from a batch system that needs the machine."""


def interrupt(number: int, frame: object) -> None:
    """Handle SIGINT or SIGTERM: raise what stands for it.

    Raises:
        KeyboardInterrupt: always; for SIGTERM it is `Terminated`.
    """
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def end_late(line: str) -> None:
    """From now on SIGTERM ends the process in some seconds, if its handler does not.

    Python calls no handler while XLA computes. If the process is still there, it prints a line and
    exits with `TERMINATED`; files are written atomically, so none is cut short.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_wait_and_end, args=(reader, line), daemon=True).start()


def _wait_and_end(reader: int, line: str) -> None:
    while os.read(reader, 1)[0] != signal.SIGTERM:
        pass
    time.sleep(_GRACE)
    if first_to_end(TERMINATED):
        print(line, file=sys.stderr, flush=True)
    leave(TERMINATED)
