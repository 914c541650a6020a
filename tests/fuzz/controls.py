"""Targets with faults that `make fuzz` must find; not among those that it runs."""

import contextlib
import ctypes
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from qiff import InputError

from .targets import Target


def loops() -> None:
    """Does not end, and catches every error."""
    while True:
        with contextlib.suppress(Exception):
            sum(range(1000))


def fills() -> None:
    """Takes 1.5 GB for a moment and reports a mistake."""
    np.ones(3 << 26)
    raise InputError("too large")


def fills_all() -> None:
    """Takes more and more, and does not see that a limit is reached."""
    parts = []
    while True:
        parts.append(np.ones(1 << 23))


def prints() -> None:
    """Fails where no error can be raised."""

    class Late:
        def __del__(self):
            raise ValueError("too late")

    Late()


def adds() -> None:
    """Computes in a library that sees no signal."""
    sum(itertools.repeat(0))


def sleeps() -> None:
    """Waits in a library that sees no signal."""
    ctypes.PyDLL(None).sleep(1000)


def aborts() -> None:
    """Ends the process."""
    os.abort()


def _control(fault: Callable[[], None]) -> Target:
    def run(path: Path, original: bytes, may_differ: bool) -> None:
        if path.read_bytes() != b"good":
            fault()

    def changed(rng: Random, content: bytes) -> tuple[bytes, bool]:
        return rng.choice((b"good", b"bad")), True

    return Target(lambda folder: {"seed.txt": b"good"}, changed, run)


CONTROLS: dict[str, Any] = {
    f.__name__: _control(f) for f in (loops, fills, fills_all, prints, adds, sleeps, aborts)
}
