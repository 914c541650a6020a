"""Progress on stderr: a progress bar on a terminal, one line in a notebook, lines elsewhere."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import FrameType
from typing import Any

from ._signals import interrupt
from ._tell import listener

soon = 2.0
"""Seconds after which work is shown by `telling`."""
_OFTEN = 0.1  # s, between two times that it is shown


def working(text: str) -> AbstractContextManager:
    """A context that shows a spinner beside `text`, for work of a few seconds."""
    return _console().status(text)


def _console() -> Any:
    """Of rich, on stderr; `FORCE_COLOR`, which Jupyter sets, does not make a pipe a terminal."""
    from rich.console import Console

    return Console(stderr=True, force_terminal=sys.stderr.isatty())


@contextmanager
def progress(total: int) -> Iterator[Callable[[int, str], None]]:
    """A context that yields a function which shows progress, given what is done and a text.

    A progress bar on a terminal, one line that is replaced in a notebook, elsewhere a line for
    every tenth of `total`; nothing before the first call. Each shows the rate and the time that
    remains. An interrupt that a library caught is raised again at the next call.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = _console()
    columns = BarColumn(20), MofNCompleteColumn(), TextColumn("{task.description}", markup=False)
    bars = Progress(*columns, console=console, transient=True)
    task = bars.add_task("", total=total)
    interrupted: list[int] = []
    last_tenth, pace = [-1], Pace(total)
    notebook = "ipykernel" in sys.modules

    def remember(number: int, frame: FrameType | None) -> None:
        handler = before[number]
        if handler is not signal.SIG_IGN:
            interrupted.append(number)
            (handler if callable(handler) else interrupt)(number, frame)  # may raise later

    def show(done: int, description: str) -> None:
        if interrupted:
            interrupt(interrupted[-1], None)
        text = "  ".join(filter(None, (pace(done, time.monotonic()), description)))
        if console.is_terminal and not notebook:
            bars.start()
            bars.update(task, completed=done, description=text)
        elif notebook:
            line = f"{100 * done // total:3d} %  {done} of {total}  {text}"
            print(f"\r{line:<100}", end="", file=sys.stderr, flush=True)
        elif (tenth := 10 * done // total) != last_tenth[0]:
            last_tenth[0] = tenth
            print(f"{10 * tenth:3d} %  {done} of {total}  {text}", file=sys.stderr)

    before = {int(n): signal.signal(n, remember) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield show
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if bars.live.is_started:
            bars.stop()
        if notebook:
            print(file=sys.stderr)


class Pace:
    """Rate and remaining time in words, from what is done and when.

    The time up to the second call, which is mostly spent on compiling, does not count once there
    is a third.
    """

    def __init__(self, total: int):
        self.total = total
        self.seen: list[tuple[int, float]] = []

    def __call__(self, done: int, now: float) -> str:
        if not self.seen or done > self.seen[-1][0]:
            self.seen = [*self.seen[:2], (done, now)]
        start, end = self.seen[1 if len(self.seen) > 2 else 0], self.seen[-1]
        if end[1] <= start[1]:
            return ""
        rate = (end[0] - start[0]) / (end[1] - start[1])
        left = (self.total - done) / rate
        return f"{rate:.3g}/s  {duration(left)} left" if done < self.total else f"{rate:.3g}/s"


def duration(seconds: float) -> str:
    """A time in words: `42 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """A context that yields a function which shows progress of work in several stages.

    The function is given what is being done, how much of it is done, and of how much; for each
    stage there is a `progress` of its own.
    """
    shown: dict[tuple[str, int], Callable[[int, str], None]] = {}
    with ExitStack() as current:

        def show(what: str, done: int, total: int) -> None:
            if (what, total) not in shown:
                current.close()
                shown.clear()
                shown[what, total] = current.enter_context(progress(total))
            shown[what, total](done, what)

        yield show


@contextmanager
def telling() -> Iterator[None]:
    """A context in which work that takes more than two seconds is shown, as it calls `tell`."""
    with ExitStack() as shown:
        begun, show, last = "", None, 0.0

        def told(what: str, done: int, total: int) -> None:
            nonlocal begun, show, last
            now = time.monotonic()
            if what != begun or done == total:
                shown.close()
                begun, show, last = what, None, now + soon - _OFTEN
            elif now > last + _OFTEN:
                show, last = show or shown.enter_context(progress(total)), now
                show(done, what)

        token = listener.set(told)
        try:
            yield
        finally:
            listener.reset(token)
