"""Progress: the rate without the time of compiling, the remaining time, one line in a notebook."""

import io
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from qiff import training_progress
from qiff._progress import Pace, duration, progress, telling
from qiff._tell import tell
from qiff.atoms.data.dataset import read, write
from qiff.atoms.data.source import Source
from qiff.report.tables import present_errors


def test_the_pace_leaves_out_the_time_of_compiling():
    pace = Pace(1000)
    assert pace(0, 0.0) == ""
    assert pace(100, 50.0) == "2/s  7 min 30 s left"
    assert pace(200, 60.0) == "10/s  1 min 20 s left"
    assert pace(200, 65.0) == "10/s  1 min 20 s left"
    assert pace(1000, 140.0) == "10/s"


def test_durations_in_words():
    found = [duration(seconds) for seconds in (0.4, 59.6, 200, 7500)]
    assert found == ["0 s", "1 min 0 s", "3 min 20 s", "2 h 5 min"]


def test_a_fit_shows_its_errors_in_lines_of_a_log(capsys):
    errors = {"energy_per_atom_mae": 0.0012, "forces_mae": 0.0345, "forces_rmse": 0.1}
    assert present_errors(errors) == "energy 1.2 meV/atom  forces 34.5 meV/Å"
    row = SimpleNamespace(errors=errors, valid_loss=0.5)
    with training_progress(100) as show:
        show(SimpleNamespace(step=0, history=()))  # pyright: ignore[reportArgumentType]
        show.after_steps(25)
        show(SimpleNamespace(step=50, history=(row,)))  # pyright: ignore[reportArgumentType]
        row.errors = {}
        show(SimpleNamespace(step=60, history=(row,)))  # pyright: ignore[reportArgumentType]
        show(SimpleNamespace(step=100, history=(row,)))  # pyright: ignore[reportArgumentType]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "  0 %  0 of 100  compiling"
    assert lines[1].startswith(" 20 %  25 of 100")
    assert lines[1].endswith("left")
    assert lines[2].endswith("left  energy 1.2 meV/atom  forces 34.5 meV/Å")
    assert lines[3].endswith("validation loss 0.5")
    assert lines[4].endswith("evaluating")


def test_a_notebook_replaces_one_line(capsys, monkeypatch):
    with progress(10) as show:
        show(1, "a")
        show(1, "b")
    assert capsys.readouterr().err.count("\n") == 1  # control: elsewhere a line for each tenth
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace())
    with progress(10) as show:
        show(1, "a")
        show(2, "b")
    text = capsys.readouterr().err
    assert text.count("\r") == 2
    assert text.endswith("\n")
    assert text.count("\n") == 1


def test_a_pipe_gets_lines_where_jupyter_forces_colours(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress(10) as show:
        show(1, "a")
        show(2, "b")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["10", "20"]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress(10) as show:
        show(1, "a")
    assert "━" in capsys.readouterr().err  # control: a terminal gets a progress bar


def test_work_of_more_than_two_seconds_is_shown(capsys, monkeypatch, tmp_path):
    clock = iter(range(1000))
    monkeypatch.setattr("qiff._progress.time.monotonic", lambda: float(next(clock)))
    monkeypatch.setattr("qiff._progress.soon", 2.0)
    source, frames = Source(str(tmp_path / "a.xyz")), read(Source("bundled:lih"))[:30]
    write(Path(source.path), frames)
    read(source)
    assert not capsys.readouterr().err  # control: a library that nobody watches is silent
    with telling():
        read(source)
        tell("other", 1, 10)
        tell("other", 10, 10)
    lines = capsys.readouterr().err.splitlines()
    assert all(line.endswith(source.path) for line in lines)
    assert {line.split("  ")[-1].split()[0] for line in lines} == {"reading", "checking"}
    assert len(lines) == 2 * 9


def test_work_goes_on_where_it_cannot_be_shown(monkeypatch, tmp_path):
    """Regression: it was taken for an error of the file that is read."""
    clock = iter(range(1000))
    monkeypatch.setattr("qiff._progress.time.monotonic", lambda: float(next(clock)))
    monkeypatch.setattr("qiff._progress.soon", 2.0)
    source, frames = Source(str(tmp_path / "a.xyz")), read(Source("bundled:lih"))[:30]
    write(Path(source.path), frames)
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr("sys.stderr", closed)
    with telling():
        assert len(read(source)) == 30
    with pytest.raises(ValueError, match="closed"), progress(10) as show:  # control
        show(1, "")


@pytest.fixture
def python_interrupts():
    """Interrupts raise `KeyboardInterrupt`, whatever handler another package has left."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_is_raised_at_the_next_call(python_interrupts):
    with progress(10) as show:
        handler = signal.getsignal(signal.SIGINT)
        assert callable(handler)
        with pytest.raises(KeyboardInterrupt):
            handler(signal.SIGINT, None)
        with pytest.raises(KeyboardInterrupt):
            show(1, "")
