"""Processes that read changed inputs, seen from outside; loads nothing of qiff."""

import hashlib
import multiprocessing
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

NAMES = ("models", "configs", "states", "structures", "results", "commands")
CORPUS = Path(__file__).parent / "corpus"
SECONDS, BYTES = 5, 1 << 30
"""Most time of processors and most memory for one input."""
TOO_LARGE = f"took more than {BYTES >> 20} MB"
_LONGEST = 2 * SECONDS  # if the process does not see its time
_TOLD = 60  # s between messages
_MEMORY = Path("/dev/shm")


class Found(NamedTuple):
    """Numbers of inputs and of finds."""

    inputs: int
    finds: int


def fuzz(
    name: str, seed: int, seconds: float, most: int, finds: Path = CORPUS, patience: float = 60
) -> Found:
    """Change the inputs of a target; its process is begun again if it ends.

    Args:
        name: of the target.
        seed: of the changes.
        seconds, most: when to end.
        finds: where finds are kept.
        patience: seconds that a process may wait without computing.
    """
    context = multiprocessing.get_context("spawn")
    shared, end = context.Array("q", 3, lock=False), time.time() + seconds
    while shared[0] < most and time.time() < end:
        with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
            shared[2], place = 0, Path(folder)
            arguments = (name, seed, end - time.time(), most, place, finds, shared)
            process = context.Process(target=_work, args=arguments)
            process.start()
            wrong = _watch(name, process, shared, patience)
            if process.exitcode:
                assert shared[2], f"{name}: {wrong} before the first input"
                shared[1] += 1
                (path,) = place.glob("input/input.*")
                keep(finds / name, path.suffix, path.read_bytes(), wrong)
    return Found(shared[0], shared[1])


def keep(folder: Path, suffix: str, content: bytes, wrong: str) -> None:
    """Keep the input of a find and say what is wrong."""
    path = folder / f"{hashlib.sha256(content).hexdigest()[:8]}{suffix}"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    print(f"{folder.name}: {path.name}: {wrong}", flush=True)


def _work(*arguments: Any) -> None:
    from .worker import work

    work(*arguments)


def _watch(name: str, process: Any, shared: Any, patience: float) -> str:
    """Wait for a process, end one that hangs or takes too much memory, and say how it ended."""
    input_, begun, used, moved, wrong = (-1, 0), 0.0, 0.0, time.time(), ""
    told = moved
    while process.is_alive():
        process.join(0.1)
        now, before, (used, size) = time.time(), used, _taken(process.pid)
        if now - told > _TOLD:
            told = now
            print(f"{name}: {shared[0]} inputs", flush=True)
        if input_ != (shared[0], shared[2]):
            input_, begun = (shared[0], shared[2]), used
        moved = now if used != before else moved
        if shared[2] and used - begun > _LONGEST:
            wrong = f"took more than {_LONGEST} s in a library"
        if now - moved > patience:
            wrong = f"waited for {patience} s"
        if shared[2] and size > shared[2]:
            wrong = TOO_LARGE
        if wrong:
            process.kill()
            process.join()
    return wrong or f"exit code {process.exitcode}"


def _taken(pid: int) -> tuple[float, int]:
    """Seconds of processors and bytes of memory that a process has taken; 0 if it has ended."""
    try:
        times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0.0, 0
    seconds = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
    return seconds, int(pages) * resource.getpagesize()
