"""Fetching: resumed, checked, unpacked safely, and one clear line for everything in the way."""

import dataclasses
import hashlib
import io
import os
import re
import signal
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from qiff import InputError, Source, read
from qiff.atoms.data import fetch as module
from qiff.atoms.data.fetch import ARCHIVES, CHUNK, fetch
from qiff.cli import main

from .rmd17_folders import TEST, TRAIN, write_archive, write_parts

NAME = "rmd17.tar.bz2"
PART = NAME + ".part"


class Server(ThreadingHTTPServer):
    """Serves one file, in the ways that servers have."""

    content = b""
    ranges = True  # whether it can resume in the middle
    stop_after: int | None = None  # bytes after which it hangs up
    status: int | None = None  # an error to answer with
    media = "application/x-bzip2"
    before_end = staticmethod(lambda: None)
    asked: list[str | None]

    def handle_error(self, request, client_address):
        """A client that hangs up is what is tested."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/files/1"


class Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append(wanted)
        if server.status:
            self.send_error(server.status)
            return
        start = int(re.findall(r"bytes=(\d+)-", wanted)[0]) if wanted and server.ranges else 0
        self.send_response(206 if start else 200)
        if start:
            end, size = len(server.content) - 1, len(server.content)
            self.send_header("Content-Range", f"bytes {start}-{end}/{size}")
        self.send_header("Content-Length", str(len(server.content) - start))
        self.send_header("Content-Type", server.media)
        self.end_headers()
        self.wfile.write(server.content[start : server.stop_after])
        self.wfile.flush()
        server.before_end()

    def log_message(self, format, *args):
        pass


def packed(*members: tuple[str, bytes], folder: Path | None = None) -> bytes:
    """A `.tar.bz2` of a folder `rmd17` and of members by name."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:bz2") as archive:
        if folder:
            archive.add(folder / "rmd17", "rmd17")
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> bytes:
    """The official layout, with a page of noise so that it comes in several pieces."""
    noise = np.random.default_rng(0).bytes(3 * CHUNK)
    folder = write_archive(tmp_path_factory.mktemp("official"))
    return packed(("rmd17/readme.txt", noise), folder=folder)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server(("127.0.0.1", 0), Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def publish(server, monkeypatch):
    """Let a content be what was published; the server has it."""

    def publish(content: bytes) -> None:
        server.content = content
        sha256 = hashlib.sha256(content).hexdigest()
        changed = dataclasses.replace(
            ARCHIVES["rmd17"], url=server.url, size=len(content), sha256=sha256
        )
        monkeypatch.setitem(ARCHIVES, "rmd17", changed)

    return publish


@pytest.fixture
def published(publish, good):
    publish(good)


@pytest.fixture
def to(tmp_path) -> Path:
    return tmp_path / "data"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def quiet(done: int, what: str) -> None:
    pass


def refused(capsys, *arguments) -> str:
    """The one line on stderr of a command that must exit with 2."""
    capsys.readouterr()
    assert main(["data", "fetch", *map(str, arguments)]) == 2
    out, error = capsys.readouterr()
    (line,) = (line for line in error.splitlines() if line.startswith("qiff: "))
    assert "Traceback" not in error + out
    return line


# --- what works -------------------------------------------------------------------------------


def test_what_is_fetched_is_read(published, server, to, monkeypatch, capsys):
    monkeypatch.setenv("QIFF_DATA", str(to))
    assert main(["data", "fetch", "rmd17"]) == 0
    captured = capsys.readouterr()
    assert f"rmd17: fetched into {to}" in captured.out
    assert "downloading (MB)" in captured.err
    assert names(to) == {"rmd17"}
    assert len(read(Source("rmd17:salicylic"), need_forces=True)) == len(TRAIN) + len(TEST)


def test_a_second_run_does_nothing_and_says_so(published, server, to, capsys):
    assert fetch("rmd17", to, "", quiet)
    before = {path: path.stat().st_mtime_ns for path in to.rglob("*")}
    assert main(["data", "fetch", "rmd17", "--to", str(to)]) == 0
    out = capsys.readouterr().out
    assert f"rmd17: is already in {to}" in out
    assert f"export QIFF_DATA={to}" in out
    assert len(server.asked) == 1
    assert {path: path.stat().st_mtime_ns for path in to.rglob("*")} == before


def test_the_layout_of_one_file_for_each_part_is_enough(published, server, to):
    assert not fetch("rmd17", write_parts(to), "", quiet)
    assert server.asked == []


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_connection_is_gone_on_with(published, server, good, to, ranges):
    server.ranges, server.stop_after = ranges, 2 * CHUNK
    with pytest.raises(
        InputError, match=rf"stopped after {2 * CHUNK} of {len(good)} bytes; repeat"
    ):
        fetch("rmd17", to, "", quiet)
    assert (to / PART).read_bytes() == good[: 2 * CHUNK]
    assert names(to) == {PART}
    server.stop_after = None
    shown = []
    assert fetch("rmd17", to, "", lambda done, what: shown.append((what, done)))
    assert server.asked == [None, f"bytes={2 * CHUNK}-"]
    first = next(done for what, done in shown if what == "downloading")
    assert (first > 2 * CHUNK) == ranges  # the bar begins where the download does
    assert shown[-1] == ("unpacking", len(good))
    assert list(dict(shown)) == ["downloading", "checking", "unpacking"]
    assert names(to) == {"rmd17"}


def test_an_interrupt_leaves_what_was_loaded(published, server, good, to):
    def interrupt(done, what):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("rmd17", to, "", interrupt)
    loaded = (to / PART).stat().st_size
    assert 0 < loaded <= CHUNK
    assert fetch("rmd17", to, "", quiet)
    assert server.asked == [None, f"bytes={loaded}-"]


@pytest.mark.parametrize("phase", ["checking", "unpacking"])
def test_an_interrupt_after_the_download_loads_nothing_again(published, server, to, phase):
    def interrupt(done, what):
        if what == phase:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("rmd17", to, "", interrupt)
    assert names(to) == {PART if phase == "checking" else NAME}
    assert fetch("rmd17", to, "", quiet)
    assert len(server.asked) == 1


def test_a_signal_says_how_to_go_on(published, server, good, to, capsys):
    def interrupt():
        while not (to / PART).exists() or (to / PART).stat().st_size < CHUNK:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        over.wait()

    over = threading.Event()
    server.stop_after, server.before_end = CHUNK, interrupt
    assert main(["data", "fetch", "rmd17", "--to", str(to)]) == 130
    over.set()
    assert "qiff: interrupted; repeat the command to resume." in capsys.readouterr().err
    assert (to / PART).read_bytes() == good[:CHUNK]


def test_an_archive_put_there_by_hand_is_taken(published, server, good, to):
    to.mkdir()
    (to / NAME).write_bytes(good)
    assert fetch("rmd17", to, "", quiet)
    assert server.asked == []
    assert names(to) == {"rmd17"}


def test_a_part_that_is_too_long_is_loaded_anew(published, server, good, to):
    to.mkdir()
    (to / PART).write_bytes(good + b"more")
    assert fetch("rmd17", to, "", quiet)
    assert server.asked == [None]


# --- what is in the way -----------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 404, 503])
def test_an_error_of_the_server_names_code_and_remedies(published, server, to, capsys, status):
    server.status = status
    line = refused(capsys, "rmd17", "--to", to)
    assert f"answered {status} (" in line
    assert f"--url {ARCHIVES['rmd17'].mirror}" in line
    assert not to.exists()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:9/files", "cannot be reached (Connection refused); check the network"),
        ("http://no.such.host.invalid/", "cannot be reached ("),
        ("http://127.0.0.1:port/", "cannot be reached ("),
        ("http://[::1/", "cannot be reached (Invalid IPv6 URL)"),
        ("ftp://127.0.0.1/file", "`ftp://127.0.0.1/file` must be an address that begins with http"),
        ("file:///etc/passwd", "must be an address that begins with https://"),
    ],
)
def test_an_address_that_leads_nowhere(published, server, to, capsys, url, message):
    assert message in refused(capsys, "rmd17", "--to", to, "--url", url)
    assert not to.exists()


@pytest.mark.parametrize(
    ("content", "media"),
    [(b"x" * 100, "application/x-bzip2"), (b"", "application/x-bzip2"), (None, "text/html")],
)
def test_something_else_is_not_even_loaded(published, server, good, to, capsys, content, media):
    server.content, server.media = good if content is None else content, media
    line = refused(capsys, "rmd17", "--to", to)
    assert f"offers something else than the published archive of {len(good)} bytes (200, " in line
    assert not to.exists()


def test_a_damaged_download_is_deleted(published, server, good, to, capsys):
    server.content = bytes([good[0] ^ 1]) + good[1:]
    line = refused(capsys, "rmd17", "--to", to)
    assert "sent something else than the published archive (its SHA-256 differs)" in line
    assert not to.exists()
    server.content = good
    assert main(["data", "fetch", "rmd17", "--to", str(to)]) == 0


def test_a_damaged_archive_put_there_by_hand_is_kept(published, server, good, to, capsys):
    to.mkdir()
    (to / NAME).write_bytes(good[:-5])
    assert "is not the published archive" in refused(capsys, "rmd17", "--to", to)
    assert names(to) == {NAME}
    assert server.asked == []


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("../outside.txt", b"x")], "cannot be unpacked ("),
        ([("rmd17/../../outside.txt", b"x")], "cannot be unpacked ("),
        ([("rmd17/npz_data/rmd17_ethanol.npz", b"x")], "lacks files of the data set; delete it"),
        ([("elsewhere/readme.txt", b"x")], "lacks files of the data set"),
    ],
)
def test_an_archive_that_reaches_outside_or_lacks_files(publish, to, capsys, members, message):
    publish(packed(*members))
    assert message in refused(capsys, "rmd17", "--to", to)
    assert names(to) == {NAME}
    assert names(to.parent) == {"data"}


def test_control_the_traversal_test_sees_what_is_outside(tmp_path):
    """Unpacked without the filter, the same archive does cutoff outside."""
    inner = tmp_path / "inner"
    inner.mkdir()
    with tarfile.open(fileobj=io.BytesIO(packed(("../outside.txt", b"x"))), mode="r:bz2") as tar:
        tar.extractall(inner, filter="fully_trusted")
    assert (tmp_path / "outside.txt").exists()


@pytest.mark.parametrize("content", [b"no archive", b"BZh9 and then nothing of the kind"])
def test_what_is_no_archive_cannot_be_unpacked(publish, to, capsys, content):
    publish(content)
    assert "cannot be unpacked (" in refused(capsys, "rmd17", "--to", to)
    assert names(to) == {NAME}


def test_a_cut_archive_cannot_be_unpacked(publish, good, to, capsys):
    publish(good[: len(good) // 2])
    assert "cannot be unpacked (" in refused(capsys, "rmd17", "--to", to)


def test_a_folder_in_the_way_is_kept(published, to, capsys):
    write_parts(to, ["ethanol"])
    before = names(to / "rmd17")
    line = refused(capsys, "rmd17", "--to", to)
    assert "rmd17: is in the way and not the whole data set; move it away" in line
    assert names(to / "rmd17") == before


def test_a_full_disk_is_one_line(published, to, capsys):
    to.mkdir()
    (to / PART).symlink_to("/dev/full")
    line = refused(capsys, "rmd17", "--to", to)
    assert f"{PART}: no space left on device; check the path" in line
    assert not (to / "rmd17").exists()


def test_a_file_instead_of_a_folder(published, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert "check the path" in refused(capsys, "rmd17", "--to", tmp_path / "file" / "data")


def test_an_unknown_data_set(capsys):
    assert "Data set `rmd71` is not known; did you mean `rmd17`?" in refused(capsys, "rmd71")


def test_a_server_that_falls_silent(published, server, to, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 1.0)
    server.stop_after, waiting = CHUNK, threading.Event()
    server.before_end = waiting.wait
    try:
        with pytest.raises(InputError, match=r"\(timed out\); repeat the command to resume"):
            fetch("rmd17", to, "", quiet)
    finally:
        waiting.set()
    assert (to / PART).stat().st_size == CHUNK
