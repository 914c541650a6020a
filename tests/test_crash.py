"""Commands that are killed at every operation on a file, or at random moments, and continued."""

import random
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from .crash.commands import ARCHIVE, COMMANDS, CONTROLS
from .crash.harness import SIGNALS, Crashes, Server, contents, unequal
from .rmd17_folders import write_archive
from .test_fetch import Handler, packed
from .test_fetch import Server as WebServer

QUICK = ("data-convert", "in-place")
"""What is killed in the default tests: seconds, and no circuit."""
CODES = dict(zip(SIGNALS, (-9, 143, 130), strict=True))
KILLS = 14
"""Of each command at random moments: 300 of all."""


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    """Processes for all tests of this file."""
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler")
    server = Server(tmp_path_factory.mktemp("crash"))
    yield server
    server.end()


@pytest.fixture
def crashes(request, server, tmp_path) -> Crashes:
    """The command that the test is about."""
    name = request.param
    url = request.getfixturevalue("archive") if name == "data-fetch" else ""
    return Crashes(server, name, tmp_path, url=url)


@pytest.fixture
def archive(server, tmp_path_factory, monkeypatch) -> Iterator[str]:
    """Where an archive of the layout of rMD17 can be downloaded."""
    content = packed(folder=write_archive(tmp_path_factory.mktemp("official")))
    server.archive.write_bytes(content)
    monkeypatch.setenv(ARCHIVE, str(server.archive))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    web = WebServer(("127.0.0.1", 0), Handler)
    web.content, web.asked = content, []
    threading.Thread(target=web.serve_forever, args=(0.01,), daemon=True).start()
    yield web.url
    web.shutdown()
    web.server_close()


def of(*names: Any):
    return pytest.mark.parametrize("crashes", names, indirect=True)


def marked(name: str) -> Any:
    """A command as a parameter; slow unless it is one of `QUICK`."""
    return pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK))


# --- at every operation -----------------------------------------------------------------------


@of(*map(marked, COMMANDS))
def test_a_kill_at_any_operation_on_a_file_changes_nothing(crashes):
    assert len(crashes.states) > 3
    assert crashes.differences() == []


@of(*map(marked, CONTROLS))
def test_control_writers_that_are_not_atomic_or_leave_files_are_found(crashes):
    found = [text.partition(" ")[2].partition(":")[0] for text in crashes.differences()]
    assert any(operation.startswith("half ") for operation in found)
    assert not any(operation == "the end" for operation in found)


@pytest.mark.slow
@of("train", "md", "label")
def test_a_process_that_is_killed_leaves_what_was_seen_when_it_was_stopped(crashes):
    """And continues in another process as in this one."""
    draw = random.Random(0)
    for at in draw.sample(range(1, len(crashes.stops) + 1), 5):
        folder = crashes.begin()
        line = crashes.line(crashes.command.line)
        assert crashes.server.run(crashes.name, line, folder, at=at).code == -9
        seen = contents(crashes.folder / "copies" / str(at))
        names = {name for name in seen if not name.endswith(".tmp")}
        assert {n: contents(folder).get(n) for n in names} == {n: seen[n] for n in names}
        run = lambda line: crashes.server.run(crashes.name, line, folder).code  # noqa: B023
        assert crashes.continued(folder, run)[-1] == 0
        assert unequal(contents(folder), crashes.wanted) == []


# --- at random moments ------------------------------------------------------------------------


@pytest.mark.slow
@of(*COMMANDS)
def test_signals_at_random_moments_change_nothing(crashes):
    draw, sent = random.Random(0), Counter()
    while sent.total() < KILLS:
        sent.update(crashes.killed_until_done(draw))
        assert unequal(contents(crashes.place), crashes.wanted) == []
    assert set(sent) <= set(CODES.items())
