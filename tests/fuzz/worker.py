"""What a process of `make fuzz` does: one target, input after input."""

import hashlib
import logging
import os
import resource
import shutil
import signal
import time
import warnings
from pathlib import Path
from random import Random
from typing import Any

from .targets import TARGETS, check

CORPUS = Path(__file__).parent / "corpus"
_SECONDS, _BYTES = 5, 1 << 30


def _limit_memory() -> None:
    """Let this process have 1 GB more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * os.sysconf("SC_PAGESIZE") + 2 * _BYTES
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def _on_alarm(number: int, frame: Any) -> None:
    raise TimeoutError(f"took more than {_SECONDS} s")


def work(
    name: str, seed: int, first: int, seconds: float, most: int, folder: str, done: Any
) -> None:
    """Read changed inputs, of numbers from `first`, for some seconds or up to a number."""
    os.environ["QIFF_CACHE"] = "off"
    logging.disable()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _on_alarm)
    target, place, kinds = TARGETS[name], Path(folder), set()
    seeds = list(target.seeds(place).items())
    for suffix, original in seeds:  # import before memory is limited
        check(name, _input(place, suffix, original), original, False)
    _limit_memory()
    number, end = first, time.time() + seconds
    while number < most and time.time() < end:
        rng = Random(f"{seed} {name} {number}")
        suffix, original = rng.choice(seeds)
        content, may_differ = target.changed(rng, original)
        path = _input(place, suffix, content)
        done.value = number = number + 1
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        signal.setitimer(signal.ITIMER_REAL, _SECONDS)
        try:
            wrong = check(name, path, original, may_differ)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak > _BYTES >> 10:
            wrong = wrong or "took more than 1 GB"
        if wrong and (kind := wrong[:60]) not in kinds:
            kinds.add(kind)
            keep(name, Path(suffix).suffix, content, wrong)


def _input(place: Path, name: str, content: bytes) -> Path:
    """The file of an input, alone in its folder."""
    shutil.rmtree(place / "input", ignore_errors=True)
    (place / "input").mkdir()
    path = place / "input" / f"input{Path(name).suffix}"
    path.write_bytes(content)
    return path


def keep(name: str, suffix: str, content: bytes, wrong: str) -> None:
    path = CORPUS / name / f"{hashlib.sha256(content).hexdigest()[:8]}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    print(f"{name}: {path.name}: {wrong}", flush=True)
