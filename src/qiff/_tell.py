"""What long work says of itself: nothing is shown unless someone listens, see `_progress`."""

from collections.abc import Callable
from contextvars import ContextVar

Listener = Callable[[str, int, int], None]
"""Of what is done, how much of it, and of how much."""

listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def tell(what: str, done: int, total: int) -> None:
    """Say how much of some work is done, as often as one likes; at its end `done` is `total`."""
    if told := listener.get():
        told(what, done, total)
