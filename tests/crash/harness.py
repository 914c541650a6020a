"""Follows a command to every operation on a file, continues it from there as after a kill, and
compares with the end of a run that nothing disturbs."""

import csv
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from qiff._archive import read_archive

from .commands import ARCHIVE, Line, carry_out, what_is_run

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
ROOT = Path(__file__).parent.parent.parent
TIMES = ("seconds", "training s", "start_sha256", "model_sha256")
"""Keys of records and columns of tables that differ from run to run: times, and hashes of model
files, which hold times."""


class End(NamedTuple):
    """How a process ended.

    Args:
        code: its exit code; negative for a signal.
        seconds: of the processor.
        stops: operations at which it was stopped, each with a path.
    """

    code: int
    seconds: float
    stops: list[str]


class Server:
    """Processes that are forked from one that has loaded everything; see `server.py`.

    They have the settings of JAX of this process, for other programs have other last digits.
    """

    def __init__(self, scratch: Path):
        self.scratch, library = scratch, scratch / "operations.so"
        self.archive = scratch / "archive"
        source = Path(__file__).with_name("operations.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
        environment = {
            "LD_PRELOAD": str(library),
            "QIFF_CACHE": str(scratch / "cache"),
            "OMP_NUM_THREADS": "1",
            "no_proxy": "127.0.0.1",
            ARCHIVE: str(self.archive),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from tests.crash.server import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | environment,
        )

    def run(
        self,
        command: str,
        line: Line,
        folder: Path,
        *,
        copies: Path | None = None,
        at: int = 0,
        number: int = 0,
        after: float = 0.0,
    ) -> End:
        """Run a line of a command in a folder.

        Args:
            command: its name.
            line: the arguments.
            folder: where it runs.
            copies: where the folder is copied to as it is at each stop, and at the end.
            at: the stop at which it is killed, if it is not 0.
            number: of a signal to send, if it is not 0.
            after: seconds of the processor, then it is sent.
        """
        assert self._process.stdin
        assert self._process.stdout
        places = {"folder": folder, "copies": copies or ""}
        places |= {name: self.scratch / name for name in ("log", "modules", "output")}
        request = {"command": command, "line": line, "at": at}
        request |= {"signal": number, "after": after}
        request |= {name: str(path) for name, path in places.items()}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return End(*json.loads(self._process.stdout.readline()))

    def output(self) -> str:
        """What all processes have printed since it was asked for."""
        path = self.scratch / "output"
        text = path.read_text() if path.exists() else ""
        path.unlink(missing_ok=True)
        return text

    def end(self) -> None:
        """End the process that others are forked from."""
        self._process.communicate()


# --- one command ------------------------------------------------------------------------------


class State(NamedTuple):
    """What a kill leaves.

    Args:
        operation: the next one, or the one of which half was done; the first that leaves this.
        folder: the files.
    """

    operation: str
    folder: Path


class Crashes:
    """A command that is killed.

    Args:
        server: runs it.
        name: of the command.
        folder: for its runs.
        values: what stands in braces in its lines.
    """

    def __init__(self, server: Server, name: str, folder: Path, **values: str):
        self.server, self.name, self.folder, self.values = server, name, folder, values
        self.command, self.place = what_is_run(name), folder / "here"

    def begin(self, source: Path | None = None) -> Path:
        """The folder of all runs, made anew with the files of another one, or with those that the
        command needs. It is always the same, since files may tell its name."""
        source = source or self._given
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(source, self.place)
        return self.place

    def line(self, line: Line) -> Line:
        return tuple(word.format(**self.values) for word in line)

    @cached_property
    def _given(self) -> Path:
        self.place.mkdir(parents=True)
        self.command.files(self.place)
        for line in self.command.before:
            end = self.server.run(self.name, self.line(line), self.place)
            assert end.code == 0, self.server.output()
        return self.place.rename(self.folder / "given")

    @cached_property
    def stops(self) -> list[str]:
        """Where a run that nothing else disturbs is stopped; see `states`."""
        self.server.output()
        folder, copies = self.begin(), self.folder / "copies"
        end = self.server.run(self.name, self.line(self.command.line), folder, copies=copies)
        assert end.code == 0, self.server.output()
        return end.stops

    @cached_property
    def states(self) -> list[State]:
        """What a kill leaves before each operation, in the middle of what it writes, and after the
        last; each once. After an operation is before the next: in between nothing changes."""
        found = {}
        for n, operation in enumerate([*self.stops, "the end"], 1):
            folder = self.folder / "copies" / str(n)
            found.setdefault(_digest(folder), State(f"{n} {operation}", folder))
        return list(found.values())

    @cached_property
    def wanted(self) -> dict[str, Any]:
        """What a run that nothing disturbs leaves."""
        return contents(self.folder / "copies" / str(len(self.stops) + 1))

    def difference(self, state: State) -> str:
        """What is wrong after a kill and all that continues the command; empty if nothing is."""
        folder = self.begin(state.folder)
        done, printed = not unequal(contents(folder), self.wanted), io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed), pytest.MonkeyPatch.context() as p:
            self.command.prepare(p)
            codes = self.continued(folder, lambda line: carry_out(self.command, line))
        wrong = unequal(contents(folder), self.wanted)
        if not wrong and (codes[-1] == 0 or (done and codes[-1] == 2)):
            return ""
        text = f"{state.operation}: {', '.join(wrong)}; exit codes {codes}; "
        return text + printed.getvalue()

    def continued(self, folder: Path, run: Callable[[Line], int]) -> list[int]:
        """Exit codes of the ways to continue, up to the first that is not refused."""
        codes = []
        for line in self.command.again or [self.command.line]:
            with chdir(folder):
                codes.append(run(self.line(line)))
            if codes[-1] != 2:
                break
        return codes

    def differences(self) -> list[str]:
        """Those after each kill that are not empty."""
        return list(filter(None, map(self.difference, self.states)))

    @cached_property
    def seconds(self) -> float:
        """Time of the processor that the command needs."""
        line = self.line(self.command.line)
        return self.server.run(self.name, line, self.begin()).seconds

    def killed_until_done(self, draw: random.Random) -> Iterator[tuple[int, int]]:
        """Send signals at random moments and continue, until the command is finished or fails.

        Yields:
            Each signal that ended the command, and the exit code.
        """
        most, first, ways = 1.3 * self.seconds, [self.command.line], []
        folder = self.begin()
        while True:
            line = self.line((ways or first)[0])
            number, after = draw.choice(SIGNALS), draw.uniform(0.01, most)
            code = self.server.run(self.name, line, folder, number=number, after=after).code
            if code == 2 and len(ways) > 1:
                ways = ways[1:]
            elif code in (0, 1, 2):
                return
            else:
                yield number, code
                ways = list(self.command.again or first)


# --- comparison -------------------------------------------------------------------------------


def _files(folder: Path) -> list[tuple[str, Path]]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(str(path.relative_to(folder)), path) for path in paths]


def _digest(folder: Path) -> str:
    """SHA-256 of all files below a folder and their names; of locks of the names alone."""
    digest = hashlib.sha256()
    for name, path in _files(folder):
        content = b"" if path.suffix == ".lock" else path.read_bytes()
        digest.update(f"{name} {len(content)} ".encode() + content)
    return digest.hexdigest()


def contents(folder: Path) -> dict[str, Any]:
    """What counts of each file below a folder, by its path; locks that no process holds do not."""
    return {name: what_counts(path) for name, path in _files(folder) if path.suffix != ".lock"}


def unequal(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Files that differ, are missing or too many."""
    names = sorted(found.keys() | wanted.keys())
    return [name for name in names if found.get(name) != wanted.get(name)]


def what_counts(path: Path) -> Any:
    """The content of a file, without times; of a damaged one what is wrong."""
    try:
        program = path.parent.parent.name == "programs"
        return _program(path) if program else READERS.get(path.suffix, Path.read_bytes)(path)
    except Exception as error:
        return f"damaged: {error}"


def _without_times(record: Any) -> Any:
    if isinstance(record, dict):
        return {k: _without_times(v) for k, v in record.items() if k not in TIMES}
    return [_without_times(item) for item in record] if isinstance(record, list) else record


def _archive(path: Path) -> Any:
    """Header and arrays, bit for bit; of other archives all members."""
    with np.load(path) as members:
        if "header" not in members:
            return {name: members[name].tobytes() for name in members.files}
    archive = read_archive(path)
    arrays = {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in archive.arrays.items()}
    return _without_times(archive.header), arrays


def _rows(path: Path) -> list[Any]:
    """The rows of a table."""
    with path.open(newline="") as file:
        return _without_times(list(csv.DictReader(file)))


def _text(path: Path) -> bool:
    """Whether a text is whole, of which a table has the values."""
    return path.read_text().endswith("\n")


def _page(path: Path) -> bool:
    """Whether a page is whole; it has times in its text."""
    return path.read_text().rstrip().endswith("</html>")


def _program(path: Path) -> bool:
    """Whether a compiled program is whole: it begins with its SHA-256. The compiler writes another
    one each time."""
    content = path.read_bytes()
    return content[:32] == hashlib.sha256(content[32:]).digest()


READERS: dict[str, Callable[[Path], Any]] = {
    ".json": lambda path: _without_times(json.loads(path.read_text())),
    ".toml": lambda path: _without_times(tomllib.loads(path.read_text())),
    ".npz": _archive,
    ".qiff": _archive,
    ".csv": _rows,
    ".md": _text,
    ".html": _page,
    ".log": lambda path: "",  # with the lines of each process
}
"""How files are read of which a part does not count, by suffix."""
