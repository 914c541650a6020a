"""The command line as a process: what it loads, its interrupts and its standard streams."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from qiff.cli import main

COMMAND = (sys.executable, "-c", "from qiff_command import entry; entry()")
HEAVY = ("numpy", "ase", "jax", "equinox", "rich", "scipy", "matplotlib")


def run(code: str, *arguments: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


# --- what is loaded ---------------------------------------------------------------------------


def loaded(*arguments: str) -> set[str]:
    """Modules of `HEAVY` that a command has loaded when it ends."""
    code = (
        "import qiff_command, sys\n"
        "from qiff.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        f"print('loaded', *(name for name in {HEAVY} if name in sys.modules))"
    )
    return set(run(code, *arguments).stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["template", "water"], ["trian"], ["train"], ["info", "a", "b"]],
    ids=" ".join,
)
def test_a_command_loads_only_what_it_needs(arguments):
    assert loaded(*arguments) == set()


def test_names_of_the_package_are_found_where_the_command_line_runs():
    """Control of the others, too: what is loaded is seen."""
    code = "import qiff_command, qiff, sys; print('jax' in sys.modules, callable(qiff.load), "
    code += "qiff.__version__ != '', 'jax' in sys.modules, hasattr(qiff, 'laod'))"
    assert run(code).stdout.split() == ["False", "True", "True", "True", "False"]


# --- interrupts -------------------------------------------------------------------------------


def process(body: str, prelude: str = "") -> str:
    """The code of a command line that runs `body`, in which `interrupt()` interrupts it."""
    lines = "\n    ".join(body.splitlines())
    return f"""import qiff_command
import atexit, gc, os, signal, sys, time
from qiff import _process
def interrupt(*ignored): os.kill(os.getpid(), signal.SIGINT); time.sleep(0)
def main():
    {lines}
    return 0
{prelude or "_process.run(main)"}
"""


def interrupted(body: str, folder: Path, prelude: str = "") -> subprocess.CompletedProcess[str]:
    """The end of a command line that runs `body`."""
    return run(process(body, prelude), cwd=folder)


CAUGHT = "try: interrupt()\nexcept BaseException: pass\ntime.sleep(20)"
CONVERTED = "try: interrupt()\nexcept BaseException: raise OSError('of a library') from None"
COLLECTING = (
    "def collected(phase, found):\n    gc.callbacks.clear(); interrupt()\n"
    "gc.callbacks.append(collected)\ngc.collect()\ntime.sleep(20)"
)


@pytest.mark.parametrize(
    ("body", "out"),
    [
        ("interrupt()\ntime.sleep(20)", ""),
        (CAUGHT, ""),
        (CONVERTED, ""),
        (COLLECTING, ""),
        ("import loading\ntime.sleep(20)", "loaded\n"),
    ],
    ids=["plain", "caught", "converted", "collecting", "loading"],
)
def test_an_interrupt_is_one_line_and_130_wherever_it_comes(body, out, tmp_path):
    text = "import os\nos.kill(os.getpid(), 2)\nsum(range(1000))\nprint('loaded')\n"
    (tmp_path / "loading.py").write_text(text)
    done = interrupted(body, tmp_path, "_process._AGAIN = 0.2\n_process.run(main)")
    assert (done.returncode, done.stdout) == (130, out)
    assert done.stderr == "qiff: interrupted.\n"


def test_an_interrupt_after_the_end_changes_nothing(tmp_path):
    done = interrupted("atexit.register(interrupt)\nprint('done')", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_an_interrupt_before_the_command_is_known_is_one_line():
    done = run("import qiff_command, os, time; os.kill(os.getpid(), 2); time.sleep(20)")
    assert (done.returncode, done.stderr) == (130, "qiff: interrupted.\n")


def test_control_python_alone_prints_a_traceback_or_loses_an_interrupt(tmp_path):
    alone = "signal.signal(signal.SIGINT, signal.default_int_handler)\nsys.exit(main())"
    assert "Traceback" in interrupted("interrupt()", tmp_path, alone).stderr
    lost = interrupted(COLLECTING.replace("20", "0"), tmp_path, alone)
    assert (lost.returncode, "Traceback" in lost.stderr) == (0, True)


def test_an_ignored_interrupt_stays_ignored():
    code = "import os; import qiff_command; os.kill(os.getpid(), 2); print('on')"
    ignore = lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert run(code, preexec_fn=ignore).stdout == "on\n"


def unclear(arguments: Sequence[str], moments: Sequence[float], folder: Path) -> list[str]:
    """Ends of a command, interrupted at moments in s, that are neither 130 and one line nor 0."""
    found = []
    for moment in moments:
        process = subprocess.Popen(
            [*COMMAND, *arguments], stdout=-1, stderr=-1, text=True, cwd=folder
        )
        time.sleep(moment)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
        clear = process.returncode == 130 and error.startswith("qiff: interrupted")
        done = process.returncode == 0 and not error
        if not (clear and error.count("\n") == 1) and not done:
            found.append(f"{moment}: {process.returncode} {error}")
    return found


@pytest.mark.slow
def test_a_command_is_interrupted_at_any_moment(tmp_path):
    """Python itself needs the first moments, in which it answers in its own way."""
    drawn = random.Random(0)
    moments = [drawn.uniform(0.15, 1.5) for _ in range(40)]
    assert unclear(["info", "ethanol"], moments, tmp_path) == []
    moments = [drawn.uniform(0.15, 5) for _ in range(20)]
    assert unclear(["predict", "ethanol", "smiles:CCO", "out.xyz"], moments, tmp_path) == []


# --- standard streams -------------------------------------------------------------------------


def shell(text: str, folder: Path, **variables: str) -> tuple[int, str]:
    """Exit code and errors of a line in which `QIFF` is the command."""
    done = subprocess.run(
        ["sh", "-c", text.replace("QIFF", f'"{COMMAND[0]}" -c "{COMMAND[2]}"')],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=60,
        env=os.environ | variables,
    )
    return done.returncode, done.stderr


def test_closed_and_full_streams_are_one_line(tmp_path):
    code, error = shell("QIFF template water >&-", tmp_path)
    assert (code, error.count("\n")) == (2, 1)
    assert error.startswith("qiff: standard output is closed; redirect it")
    code, error = shell("QIFF template water > /dev/full", tmp_path)
    assert (code, error.count("\n")) == (2, 1)
    assert error.startswith("qiff: no space left on device")
    assert shell("QIFF template water 2>&- > run.toml", tmp_path) == (0, "")
    assert "[model]" in (tmp_path / "run.toml").read_text()
    assert shell("QIFF trian 2>&- > out", tmp_path) == (2, "")
    assert (tmp_path / "out").read_text() == ""  # no message in the output
    assert shell("QIFF template water <&- | head -n 1 > out", tmp_path) == (0, "")


def test_a_command_continues_when_nobody_reads_its_messages(tmp_path):
    body = "for n in range(3000): print('message', n, file=sys.stderr)\nopen('done', 'w').close()"
    for prelude, is_done in (("", True), ("main()", False)):  # the second is a control
        command = ["sh", "-c", f"'{sys.executable}' code.py 2>&1 >/dev/null | head -n 1"]
        (tmp_path / "code.py").write_text(process(body, prelude))
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
        assert done.stdout == "message 0\n"
        assert (tmp_path / "done").exists() == is_done
        (tmp_path / "done").unlink(missing_ok=True)


ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


def test_a_locale_without_unicode_changes_nothing(tmp_path):
    code = "import locale; print(locale.getpreferredencoding(False))"
    assert run(code, env=os.environ | ASCII).stdout == "ANSI_X3.4-1968\n"  # control
    for variables in (ASCII, {"PYTHONIOENCODING": "ascii"}):
        assert shell("QIFF data --help > out", tmp_path, **variables) == (0, "")
        assert "Å" in (tmp_path / "out").read_text("utf-8")
    assert shell("QIFF template water > out", tmp_path, PYTHONIOENCODING="latin-1") == (0, "")


@pytest.mark.slow
def test_files_are_utf_8_in_a_locale_without_unicode(tmp_path):
    """Read by ASE, whose readers follow the locale, and written by qiff."""
    note = "Ångström"
    atoms = 'Properties=species:S:1:pos:R:3 energy=-1.0 note="{}"\nO 0 0 0\nH 0 0 1\n'
    (tmp_path / "in.xyz").write_text(f"2\n{atoms.format(note)}", "utf-8")
    found = shell("QIFF data convert in.xyz out.xyz > out", tmp_path, **ASCII)
    assert found == (0, "")
    assert note in (tmp_path / "out.xyz").read_text("utf-8")


# --- names ------------------------------------------------------------------------------------


def test_names_that_no_file_can_have_are_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text('output = "a\\u0000b"\n[data]\npath = "bundled:lih"\n'
        '[model]\nkind = "diatomic"\nelements = ["Li", "H"]\n')  # fmt: skip
    for arguments, message in (
        (["info", "a\0b.qiff"], r"argument `'a\x00b.qiff'`: holds a NUL character"),
        (["train", "run.toml"], "the name of a file holds a NUL character"),
        (["data", "info", "~nobody_of_this_name/x.xyz"], "no such file or folder"),
        (["template", "\udcff"], r"argument `'\udcff'`: is not utf-8; rename the file"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run.toml"]


def test_a_name_that_is_not_utf_8_is_one_line(tmp_path):
    code, error = shell("QIFF info \"$(printf 'a\\377.qiff')\"", tmp_path)
    assert (code, error.count("\n")) == (2, 1)
    assert r"argument `'a\udcff.qiff'`: is not utf-8" in error
