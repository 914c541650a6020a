"""What surrounds a command: its files and folders, the disk under them, the home, the clock."""

import errno
import os
import random
import re
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Thread

import ase.build
import ase.io
import pytest

import qiff
from qiff._checks import InputError
from qiff._files import locked
from qiff.cli import main
from qiff.run.train import train

from .laws.examples import POTENTIAL_EXAMPLES
from .test_cli import CONFIG, contents, refused
from .test_locks import Other
from .test_process import shell
from .test_training import leaves, run


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A folder with a model, structures and a config."""
    folder = tmp_path_factory.mktemp("environment")
    qiff.save(POTENTIAL_EXAMPLES["triatomic"][0].fresh(), folder / "water.qiff")
    ase.io.write(folder / "water.xyz", qiff.read(qiff.Source("bundled:water"))[:2])
    ase.io.write(folder / "in.xyz", ase.build.molecule("CH3CH2OH"))
    (folder / "run.toml").write_text(CONFIG.replace("OUTPUT", "run"))
    return folder


@pytest.fixture
def work(files, tmp_path, monkeypatch) -> Path:
    """A copy of these files, in a folder in which commands are carried out."""
    folder = tmp_path / "Ångström und mehr"
    shutil.copytree(files, folder)
    monkeypatch.chdir(folder)
    return folder


COMMANDS = {
    "convert": ["data", "convert", "water.xyz", "out/new.xyz"],
    "predict": ["predict", "water.qiff", "water.xyz", "out/new.xyz"],
    "md": [
        "md",
        "water.qiff",
        "water.xyz",
        "--steps",
        "6",
        "--interval",
        "2",
        "--out",
        "out/a.xyz",
    ],
    "label": ["label", "in.xyz", "out/b.xyz", "--level", "ase.calculators.emt:EMT"],
    "ipi": ["ipi", "water.qiff", "water.xyz", "--out", "out"],
    "train": ["train", "run.toml", "--set", "output=out/run"],
    "validate": ["validate", "water.qiff", "water.xyz", "--steps", "20", "--out", "out"],
}
QUICK = ("convert", "md")
commands = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in QUICK)) for n in COMMANDS]
)


# --- devices, pipes and links -----------------------------------------------------------------


def ends(function: Callable[[], object], seconds: float) -> bool:
    """Whether a function ends in some time; if not, a thread waits on."""
    thread = Thread(target=function, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


@pytest.mark.parametrize(
    "name", ["/dev/zero", "/dev/null", "pipe", "pipe.xyz", "pipe.npz", "arrays"]
)
def test_devices_and_pipes_are_one_line_and_are_not_waited_for(name, work, capsys):
    os.mkfifo("pipe")
    (work / "arrays").mkdir()
    os.mkfifo("arrays/coords.npy")
    for link in ("pipe.xyz", "pipe.npz"):
        (work / link).symlink_to("pipe")
    lines = [["evaluate", "water.qiff", name], ["data", "info", name]]
    if name != "arrays":
        lines += [["info", name], ["train", name], ["md", name, "water.xyz"]]
    for line in lines:
        told = []
        assert ends(lambda line=line, told=told: told.append(refused(capsys, *line)), 60)
        assert "is a device, a pipe or a socket" in told[0]
    assert not ends(Path("pipe").read_bytes, 0.2)  # control: a reader waits
    os.close(os.open("pipe", os.O_WRONLY))


def test_folders_behind_links_are_those_that_they_stand_for(work, capsys):
    (work / "real").mkdir()
    (work / "out").symlink_to("real", target_is_directory=True)
    assert main(COMMANDS["md"]) == 0
    assert {"a.xyz", "a.csv", "a.json"} <= {path.name for path in (work / "real").iterdir()}
    assert (work / "out").is_symlink()
    other = Other()
    other.hold(work / "real" / "a.xyz")
    assert "is in use by process" in refused(capsys, *COMMANDS["md"], "--overwrite")
    with pytest.raises(InputError), locked(work / "out" / "a.xyz"):
        pass
    other.end()
    (work / "loop").symlink_to("loop")
    assert refused(capsys, "data", "info", "loop")
    assert refused(capsys, "data", "convert", "water.xyz", "loop/a.xyz")


# --- disks that are full or cannot be written -------------------------------------------------

_fault: list["Fault"] = []


@cache
def _watch() -> None:
    """Let Python tell the present fault of every operation, from now on."""
    sys.addaudithook(lambda event, arguments: [fault.check(event, arguments) for fault in _fault])


class Fault:
    """Lets one operation that changes a folder fail: the first, the second, …

    Args:
        folder: the folder.
        number: of the operation, from 0 on.
        code: of the error.
    """

    def __init__(self, folder: Path, number: int, code: int):
        self.folder, self.number, self.code, self.n_seen = str(folder), number, code, 0

    def __enter__(self) -> "Fault":
        _watch()
        _fault.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        _fault.clear()

    def check(self, event: str, arguments: tuple) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & 3
        if not (writes or event in ("os.mkdir", "os.rename", "os.truncate")):
            return
        path = arguments[0]
        if not isinstance(path, (str, Path)) or ".lock" in str(path) or os.path.isdir(path):
            return
        if os.path.abspath(path).startswith(self.folder):
            self.n_seen += 1
            if self.n_seen == self.number + 1:
                raise OSError(self.code, os.strerror(self.code), str(path))


def check_whole(folder: Path) -> None:
    """Nothing is half-written: every file can be read to its end."""
    assert not list(folder.rglob("*.tmp"))
    for path in folder.rglob("*.qiff"):
        leaves(path)
    for path in folder.rglob("*.xyz"):
        if path.stat().st_size:
            ase.io.read(path, ":")


@commands
@pytest.mark.parametrize(
    "code", [errno.ENOSPC, pytest.param(errno.EROFS, marks=pytest.mark.slow)], ids=os.strerror
)
def test_a_disk_that_fails_at_any_operation_is_one_line_and_all_can_be_repeated(
    name, code, work, capsys
):
    before, number = contents(work), 0
    reason = os.strerror(code).lower()
    while True:
        capsys.readouterr()
        with Fault(work, number, code) as fault:
            ended = main(COMMANDS[name])
        error = [x for x in capsys.readouterr().err.splitlines() if x.startswith("qiff: ")]
        if fault.n_seen <= number:
            break
        assert ended == 2
        assert len(error) == 1
        assert reason in error[0]
        check_whole(work)
        assert before.items() <= contents(work).items()
        shutil.rmtree("out", ignore_errors=True)
        number += 1
    assert ended == 0
    assert number >= 2  # control: operations were counted


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Writing beyond this size fails, in the middle of what is written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@commands
def test_a_disk_that_is_full_in_the_middle_of_a_file_is_one_line(name, work, capsys):
    failed = 0
    for size in (0, 100, 400, 1500, 6000, 25_000, 400_000, 10_000_000):
        capsys.readouterr()
        with largest_file(size):
            ended = main(COMMANDS[name])
        error = [x for x in capsys.readouterr().err.splitlines() if x.startswith("qiff: ")]
        assert ended in (0, 2)
        if ended:
            failed += 1
            assert len(error) == 1
            assert re.search("file too large|no space left on device", error[0])
        check_whole(work)
        shutil.rmtree("out", ignore_errors=True)
    assert failed
    assert not ended


# --- folders that vanish ----------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_folder_that_is_removed_while_it_trains_is_made_again(tmp_path):
    folder = tmp_path / "run"

    def remove(state):
        if state.step == 40:
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()

    train(run(folder), after_validation=remove)
    check_whole(tmp_path)


def test_a_trajectory_that_is_removed_while_it_grows_is_one_line(work, capsys, monkeypatch):
    import qiff.dynamics.resume as resumed

    kept = resumed._save

    def removed(path, *others):
        path.unlink(missing_ok=True)
        kept(path, *others)

    monkeypatch.setattr(resumed, "_save", removed)
    line = refused(capsys, *COMMANDS["md"])
    assert "a.xyz: no such file or directory" in line


# --- home, paths, clock, readers --------------------------------------------------------------


@pytest.mark.slow
def test_a_process_without_home_and_locale_computes(work):
    """Nor a cache: the environment is empty."""
    line = f"env -i '{sys.executable}' -c 'from qiff_command import entry; entry()'"
    assert shell(f"{line} predict water.qiff water.xyz new.xyz > out", work) == (0, "")
    assert len(ase.io.read(work / "new.xyz", ":")) == 2


@pytest.mark.slow
def test_spaces_and_unicode_in_every_path(work, capsys):
    for name in COMMANDS:
        line = [re.sub(r"(^|=)out\b", r"\1Aus gabe/ß 水", part) for part in COMMANDS[name]]
        assert main([*line, *(["--overwrite"] if name == "ipi" else [])]) == 0
    assert (work / "Aus gabe" / "ß 水" / "run" / "report.html").exists()


def test_a_clock_that_jumps_changes_no_number(work, monkeypatch):
    assert main(COMMANDS["md"]) == 0
    before, drawn = (work / "out" / "a.xyz").read_bytes(), random.Random(0)
    monkeypatch.setattr(time, "time", lambda: drawn.uniform(-1e9, 1e11))
    assert main([*COMMANDS["md"], "--overwrite"]) == 0
    assert (work / "out" / "a.xyz").read_bytes() == before


@pytest.mark.slow
def test_a_reader_of_the_output_that_ends_early_is_no_error(work):
    for line in ("info ethanol", "info water.qiff", "data info water.xyz", "--licences"):
        assert shell(f"QIFF {line} | head -n 1 > first", work) == (0, "")
        assert (work / "first").read_text().count("\n") == 1
