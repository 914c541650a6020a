"""Runs commands in processes that are forked from this one, which has loaded what they need.

Each line of the input is a request in JSON, each line of the output the answer; see `harness.py`.
"""

import ctypes
import importlib
import json
import os
import shutil
import signal
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from qiff import _process
from qiff._signals import end_late
from qiff.cli import main

from .commands import what_is_run

LOADED = ("ase", "equinox", "jax", "matplotlib", "numpy", "optax", "qiff", "scipy")
"""Packages that are loaded before the first fork, which nothing in them minds."""


def serve() -> None:
    """Answer requests."""
    for line in sys.stdin:
        request = json.loads(line)
        process = os.fork()
        if not process:
            _become(request)
        print(json.dumps(_followed(process, request)), flush=True)
        with suppress(OSError):
            _load(Path(request["modules"]).read_text().split())


def _followed(process: int, request: dict[str, Any]) -> list[Any]:
    """The exit code of a process, its time in s, and where it was stopped; at each of these, and at
    the end, its folder is copied."""
    while True:
        _, status, usage = os.wait4(process, os.WUNTRACED)
        stops = Path(request["log"]).read_text().splitlines()
        ended = not os.WIFSTOPPED(status)
        if request["copies"]:
            copy = Path(request["copies"]) / str(len(stops) + ended)
            shutil.copytree(request["folder"], copy)
        if ended:
            seconds = usage.ru_utime + usage.ru_stime
            return [os.waitstatus_to_exitcode(status), seconds, stops]
        os.kill(process, signal.SIGKILL if len(stops) == request["at"] else signal.SIGCONT)


def _load(names: list[str]) -> None:
    """Load the modules that a command has needed, for those after it."""
    for name in names:
        if name.partition(".")[0] in LOADED and name not in sys.modules:
            with suppress(Exception):  # made by hand, or loaded by its package alone
                importlib.import_module(name)


def _become(request: dict[str, Any]) -> None:
    """Be the process of a command."""
    os.chdir(request["folder"])
    create = os.O_CREAT | os.O_WRONLY
    for number in (1, 2):
        os.dup2(os.open(request["output"], create | os.O_APPEND), number)
    log, operations = os.open(request["log"], create | os.O_TRUNC), ctypes.CDLL(None)
    command = what_is_run(request["command"])

    def carried_out() -> int:
        command.prepare(pytest.MonkeyPatch())
        if request["copies"] or request["at"]:
            operations.stop_at_operations(os.fsencode(os.path.realpath(request["folder"])), log)
        if request["signal"]:
            after = ctypes.c_double(request["after"])
            assert operations.signal_after(after, request["signal"]) == 0
        run = partial(main, begin=end_late) if command.run is main else command.run
        code = run(request["line"])
        Path(request["modules"]).write_text(" ".join(sys.modules))
        return code

    _process.run(carried_out)
