"""Progress on stderr: a progress bar on a terminal, lines elsewhere; interrupts are not lost."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import FrameType

from ._signals import interrupt


def working(text: str) -> AbstractContextManager:
    """A context that shows a spinner beside `text`, for work of a few seconds."""
    from rich.console import Console

    return Console(stderr=True).status(text)


@contextmanager
def progress(total: int) -> Iterator[Callable[[int, str], None]]:
    """A context that yields a function which shows progress, given what is done and a text.

    A progress bar on a terminal, elsewhere a line for every tenth of `total`; nothing before the
    first call. An interrupt that a library caught is raised again at the next call.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    text, bar = TextColumn("{task.description}"), BarColumn()
    columns = (text, bar, MofNCompleteColumn(), TimeRemainingColumn())
    bars = Progress(*columns, console=console, transient=True)
    task = bars.add_task("", total=total)
    interrupted: list[int] = []
    last_tenth = [-1]

    def remember(number: int, frame: FrameType | None) -> None:
        handler = before[number]
        if handler is not signal.SIG_IGN:
            interrupted.append(number)
            (handler if callable(handler) else interrupt)(number, frame)  # may raise later

    def show(done: int, description: str) -> None:
        if interrupted:
            interrupt(interrupted[-1], None)
        if console.is_terminal:
            bars.start()
            bars.update(task, completed=done, description=description)
        elif (tenth := 10 * done // total) != last_tenth[0]:
            last_tenth[0] = tenth
            print(f"{10 * tenth:3d} %  {done} of {total}  {description}", file=sys.stderr)

    before = {int(n): signal.signal(n, remember) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield show
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if bars.live.is_started:
            bars.stop()


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """A context that yields a function which shows progress of work in several stages.

    The function is given what is being done, how much of it is done, and of how much; for each
    stage there is a `progress` of its own.
    """
    stage, shown = [""], []
    with ExitStack() as current:

        def show(what: str, done: int, total: int) -> None:
            if what != stage[0] or not shown:
                current.close()
                stage[0], shown[:] = what, [current.enter_context(progress(total))]
            shown[0](done, what)

        yield show
