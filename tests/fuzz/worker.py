"""What a process of `make fuzz` does: one target, input after input, each within limits.

The process measures its own time and memory. What it cannot measure, since a library hangs or takes
memory without returning, `fuzz` in `watch.py` sees from outside.
"""

import functools
import logging
import os
import resource
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from qiff import cli
from qiff.hardware import delivery
from qiff.run import config
from qiff.training import checkpoint

from .controls import CONTROLS
from .targets import TARGETS, Target, check
from .watch import BYTES, SECONDS, TOO_LARGE, keep

_KEPT = 100  # skeletons of models


class HangError(BaseException):
    """An input took too long; no `except Exception` catches it."""


def attempt(
    target: Target, path: Path, original: bytes, may_differ: bool, seconds: float = SECONDS
) -> str | None:
    """As `check`, with a limit on the time of processors; an error that is printed is one too."""
    printed: list[Any] = []
    usual, sys.unraisablehook = sys.unraisablehook, printed.append
    signal.signal(signal.SIGPROF, _on_time)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        wrong = check(target, path, original, may_differ)
    except HangError:
        wrong = f"took more than {seconds} s"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.unraisablehook = usual
    return wrong or (f"prints {printed[0].exc_value!r}" if printed else None)


def _on_time(number: int, frame: Any) -> None:
    raise HangError


def work(
    name: str, seed: int, seconds: float, most: int, folder: Path, finds: Path, shared: Any
) -> None:
    """Read changed inputs for some seconds or up to a number; end at one that takes much memory.

    Args:
        name: of the target.
        seed: of the changes.
        seconds, most: when to end.
        folder: for files.
        finds: where finds are kept.
        shared: numbers of inputs begun and of finds, and the largest size of memory in bytes.
    """
    os.environ["QIFF_CACHE"] = "off"
    logging.disable()
    warnings.simplefilter("ignore")
    _make_once()
    target, kinds = (TARGETS | CONTROLS)[name], set()
    seeds = list(target.seeds(folder).items())
    for file, original in seeds:  # load modules before memory is limited
        attempt(target, _input(folder, file, original), original, False, 60)
    shared[2], end = _peak() + BYTES, time.time() + seconds
    resource.setrlimit(resource.RLIMIT_AS, (size := _virtual() + 8 * BYTES, size))
    while shared[0] < most and time.time() < end:
        rng = Random(f"{seed} {name} {shared[0]}")
        file, original = rng.choice(seeds)
        content, may_differ = target.changed(rng, original)
        path = _input(folder, file, content)
        shared[0] += 1
        wrong = attempt(target, path, original, may_differ)
        large = _peak() > shared[2]
        wrong = TOO_LARGE if large else wrong
        if wrong:
            shared[1] += 1
        if wrong and wrong[:60] not in kinds:
            kinds.add(wrong[:60])
            keep(finds / name, path.suffix, content, wrong)
        if large:
            return


def _make_once() -> None:
    """Keep, in this process, what is the same for many inputs; lock nothing."""
    cli.parser = functools.cache(cli.parser)
    delivery.hold = lambda owner, path: None
    checkpoint.skeleton = config.skeleton = _kept(checkpoint.skeleton)


def _kept(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of a config that gives the same for the same."""
    made: dict[str, Any] = {}

    def call(argument: Any) -> Any:
        text = repr(argument)
        if text not in made:
            if len(made) > _KEPT:
                made.clear()
            made[text] = make(argument)
        return made[text]

    return call


def _peak() -> int:
    """The most memory that this process has had at a time."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _virtual() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _input(place: Path, name: str, content: bytes) -> Path:
    """The file of an input, alone in its folder."""
    folder = place / "input"
    folder.mkdir(exist_ok=True)
    for entry in os.scandir(folder):
        (shutil.rmtree if entry.is_dir(follow_symlinks=False) else os.unlink)(entry)
    path = f"{folder}/input{os.path.splitext(name)[1]}"
    with open(path, "wb") as file:
        file.write(content)
    return Path(path)
