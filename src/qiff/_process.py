"""The process of the command line: its exit code, its interrupts and its standard streams."""

import codecs
import io
import locale
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

from ._processes import first_to_end, leave, several
from ._signals import INTERRUPTED, TERMINATED, Terminated, interrupt

_AGAIN, _SOON = 5.0, 0.01  # s
_last = [int(signal.SIGINT)]
"""The signal that came last."""


def run(main: Callable[[], int]) -> NoReturn:
    """Run the command line and exit with its code.

    An interrupt waits while modules load. One that is lost, since a library caught it or it came
    while garbage was collected, is raised again, until `settle` is called. So is SIGTERM.
    """
    _open_streams()
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handle)
        sys.unraisablehook = _unraisable
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, handle)
    try:
        code: Any = main()
        _ignore_signals()  # all is done
    except SystemExit as error:
        code = error.code
    except (Exception, KeyboardInterrupt) as error:
        code = _unexpected(error)
    _ignore_signals()
    settle()
    _flush()
    if code in (INTERRUPTED, TERMINATED) or several():
        leave(code)  # a thread of XLA may still compile; Python torn down under it crashes
    sys.exit(code)


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _unexpected(error: BaseException) -> int:
    """Report an error that `main` did not; raise it, unless a signal or other processes end all."""
    if code := ended_by(error):
        print(f"qiff: {'terminated' if code == TERMINATED else 'interrupted'}.", file=sys.stderr)
        return code
    if not several():
        raise error
    traceback.print_exception(error)
    if first_to_end(1):
        print("qiff: ended by an error of the program, see above.", file=sys.stderr)
    return 1


def ended_by(error: BaseException) -> int:
    """The exit code of the signal that caused an error or is not settled; 0 if there is none."""
    pending = signal.getitimer(signal.ITIMER_REAL) != (0.0, 0.0)
    if isinstance(error, Terminated) or (pending and _last[0] == signal.SIGTERM):
        return TERMINATED
    return INTERRUPTED if pending or isinstance(error, KeyboardInterrupt) else 0


def settle() -> None:
    """The signal has been dealt with: it is not raised again."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def discard_output() -> None:
    """Let standard output go nowhere, since it cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def handle(number: int, frame: FrameType | None) -> None:
    """Raise what a signal stands for, but not while modules load: some compiled ones crash then."""
    if number != signal.SIGALRM:
        _last[0] = number
    loading = _is_loading(frame)
    signal.setitimer(signal.ITIMER_REAL, _SOON if loading else _AGAIN)
    if not loading:
        interrupt(_last[0], frame)


def _is_loading(frame: FrameType | None) -> bool:
    while frame and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def _unraisable(found: Any) -> None:
    """Errors that Python cannot raise are printed; an interrupt is raised again at once."""
    if isinstance(found.exc_value, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, _SOON)
    else:
        sys.__unraisablehook__(found)


def _flush() -> None:
    """Write what is buffered; what cannot be written has been reported by now."""
    try:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
    except OSError:
        discard_output()


def _open_streams() -> None:
    """Let closed streams go nowhere, lest a file take their number; in ASCII locales use UTF-8."""
    if _is_ascii(locale.getpreferredencoding(False)):
        with suppress(locale.Error):
            locale.setlocale(locale.LC_CTYPE, "C.UTF-8")  # of files that are opened from now on
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number, this one
    raw = sys.stderr.buffer if sys.stderr else os.fdopen(2, "wb")
    encoding = sys.stderr.encoding if sys.stderr else "utf-8"
    sys.stderr = _Messages(raw, encoding, line_buffering=True)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = "utf-8" if _is_ascii(stream.encoding) else None
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


class _Messages(io.TextIOWrapper):
    """Standard error. A command continues when nobody reads its messages any more."""

    def write(self, text: str) -> int:
        with suppress(BrokenPipeError):
            return super().write(text)
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
        return len(text)


def _is_ascii(encoding: str) -> bool:
    return codecs.lookup(encoding).name == "ascii"
