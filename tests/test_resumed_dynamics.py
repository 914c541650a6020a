"""Dynamics that are interrupted and resumed: byte for byte what they would have been."""

import shutil
from pathlib import Path

import ase.io
import equinox as eqx
import pytest

from qiff import Dynamics, InputError, RunError
from qiff._archive import write_archive
from qiff.cli import main
from qiff.dynamics import integrator, resume
from qiff.dynamics.resume import checkpoint_path, run_resumable
from qiff.dynamics.trajectory import read_trajectory
from qiff.training.checkpoint import save

from .test_periodic_dynamics import box, local

PIECES = {
    "nve": Dynamics("nve", 800.0, 1.0, 95, 10),
    "nvt": Dynamics("nvt", 1500.0, 1.0, 95, 10),
    "npt": Dynamics("npt", 800.0, 1.0, 95, 10, compressibility=0.05),
}


@pytest.fixture(scope="module")
def potential():
    return local()


def interrupted(potential, dynamics: Dynamics, path: Path, at: int, **options) -> None:
    def stop(n_steps: int) -> None:
        if n_steps >= at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_resumable(potential, box(), dynamics, path, stop, **options)


@pytest.mark.parametrize(
    "ensemble", [pytest.param(e, marks=[pytest.mark.slow] * (e == "nve")) for e in PIECES]
)
def test_a_resumed_trajectory_is_that_without_interruption(
    potential, tmp_path, ensemble, monkeypatch
):
    """Interrupted twice, once the hard way: the checkpoint is older than the last frames."""
    monkeypatch.setattr(integrator, "_SKIN", 0.3)  # neighbours are listed often
    dynamics, whole, cut = PIECES[ensemble], tmp_path / "whole.xyz", tmp_path / "cut.xyz"
    wanted = run_resumable(potential, box(), dynamics, whole)
    interrupted(potential, dynamics, cut, 40)
    kept = checkpoint_path(cut).read_bytes()
    interrupted(potential, dynamics, cut, 70, resume=True)
    assert len(read_trajectory(cut)) == 8
    checkpoint_path(cut).write_bytes(kept)
    with cut.open("a") as trajectory:
        trajectory.write("8\nhalf a frame")
    found = run_resumable(potential, box(), dynamics, cut, resume=True)
    assert cut.read_bytes() == whole.read_bytes()
    assert checkpoint_path(cut).read_bytes() == checkpoint_path(whole).read_bytes()
    assert found == wanted
    steps = [sample.time for sample in found[0]]
    assert steps == [*range(0, 91, 10), 95]


def test_control_the_last_frame_is_not_enough(potential, tmp_path, monkeypatch):
    """A trajectory has 8 decimals, and what is continued from it is another one."""
    dynamics, whole, cut = PIECES["nvt"], tmp_path / "whole.xyz", tmp_path / "cut.xyz"
    run_resumable(potential, box(), dynamics, whole)
    interrupted(potential, dynamics, cut, 40)
    read = resume.read_checkpoint

    def of_the_frame(*arguments):
        found = read(*arguments)
        state, listing = found.restart
        state = eqx.tree_at(lambda s: s.positions, state, state.positions.round(8))
        return found._replace(restart=resume.Restart(state, listing))

    monkeypatch.setattr(resume, "read_checkpoint", of_the_frame)
    run_resumable(potential, box(), dynamics, cut, resume=True)
    assert checkpoint_path(whole).read_bytes() != checkpoint_path(cut).read_bytes()


def test_a_finished_trajectory_is_continued(potential, tmp_path):
    longer = PIECES["npt"]
    shorter, path = Dynamics(**{**vars(longer), "steps": 35}), tmp_path / "a.xyz"
    run_resumable(potential, box(), shorter, path)
    first = path.read_bytes()
    run_resumable(potential, box(), shorter, path, resume=True)
    assert path.read_bytes() == first
    run_resumable(potential, box(), longer, path, resume=True)
    run_resumable(potential, box(), longer, tmp_path / "b.xyz")
    assert path.read_bytes() == (tmp_path / "b.xyz").read_bytes()
    with pytest.raises(InputError, match="`steps` must be at least 90, but is 35"):
        run_resumable(potential, box(), shorter, path, resume=True)


def test_what_cannot_be_resumed(potential, tmp_path):
    path, dynamics = tmp_path / "a.xyz", Dynamics("nvt", steps=4, interval=2)

    def refused(message, potential=potential, atoms=None, **changed):
        settings = Dynamics(**{**vars(dynamics), **changed})
        with pytest.raises(InputError, match=message):
            run_resumable(potential, atoms or box(), settings, path, resume=True)

    refused(r"cannot resume, there is no checkpoint a\.checkpoint\.npz beside it")
    run_resumable(potential, box(), dynamics, path)
    content = path.read_bytes()
    refused("`friction` is not what it began with, which was 0.01 and is 0.02", friction=0.02)
    refused("the model is not what it began with", local("float32"))
    other = box()
    other.positions[0, 0] += 1e-9
    refused("the start is not what it began with", atoms=other)
    refused("the start is not what it began with", atoms=box([True, True, False]))
    assert path.read_bytes() == content
    path.write_bytes(content[:-1])
    refused("frames that the checkpoint counts on are gone")
    checkpoint_path(path).write_bytes(b"no archive")
    refused("is not a file of qiff: corrupt, .* copy it again or start anew")
    checkpoint_path(path).unlink()
    write_archive(checkpoint_path(path), {"format": "qiff dynamics 2"}, {})
    refused(r"is not a checkpoint of this version; start anew \(--overwrite\)")


@pytest.mark.slow
def test_an_explosion_leaves_no_checkpoint(potential, tmp_path, monkeypatch):
    monkeypatch.setattr(integrator, "_SKIN", 4.0)
    wild = Dynamics("nve", 3000.0, 100.0, 50, 1)
    with pytest.raises(RunError, match=r"exploded .*The frames before are in"):
        run_resumable(potential, box(), wild, tmp_path / "a.xyz")
    assert [path.name for path in tmp_path.iterdir()] == ["a.xyz"]


def test_resuming_from_the_command_line(potential, tmp_path, capsys, monkeypatch):
    save(potential, tmp_path / "model.qiff")
    ase.io.write(tmp_path / "start.xyz", box())
    files = [str(tmp_path / name) for name in ("model.qiff", "start.xyz")]
    settings = ["--ensemble", "npt", "--interval", "2", "--compressibility", "0.05"]

    def md(name: str, *options: str) -> int:
        return main(["md", *files, *settings, "--out", str(tmp_path / name), *options])

    assert md("whole.xyz", "--steps", "8") == 0
    assert "g/cm³" in capsys.readouterr().out
    assert md("cut.xyz", "--steps", "4") == 0
    assert md("cut.xyz", "--steps", "8") == 2
    error = capsys.readouterr().err
    assert "choose another --out, continue it (--resume) or replace it (--overwrite)" in error
    assert md("cut.xyz", "--steps", "8", "--resume", "--temperature", "310") == 2
    assert "`temperature` is not what it began with" in capsys.readouterr().err
    assert (tmp_path / "cut.csv").exists()
    assert md("cut.xyz", "--steps", "8", "--resume") == 0
    for suffix in (".xyz", ".csv", ".json", ".png", ".checkpoint.npz"):
        one, other = (tmp_path / f"{name}{suffix}" for name in ("whole", "cut"))
        assert one.read_bytes() == other.read_bytes()
    shutil.copy(tmp_path / "whole.xyz", tmp_path / "start.xyz")
    assert md("next.xyz", "--steps", "2", "--velocities", "file") == 0
    assert md("shots.xyz", "--executor", "shots", "--resume") == 2
    assert "measured forces cannot be resumed" in capsys.readouterr().err
