"""What long work says of itself: nothing is shown unless someone listens, see `_progress`."""

from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar

Listener = Callable[[str, int, int], None]
"""Of what is done, how much of it, and of how much."""

listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def tell(what: str, done: int, total: int) -> None:
    """Say how much of some work is done, as often as one likes; at its end `done` is `total`.

    Where it cannot be shown, as standard error is closed, the work goes on.
    """
    if told := listener.get():
        with suppress(OSError, ValueError):  # of the stream
            told(what, done, total)
