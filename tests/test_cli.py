"""The command line: what it prints, exit codes, and one clear line for every mistake."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import ase.io
import numpy as np
import pytest

import qiff
import qiff.run.folder as run_folder
from qiff.cli import main
from qiff.quantum.engine import describe

from .test_options import COMMANDS
from .test_supply_chain import TOKEN, leaks

CONFIG = """
output = "OUTPUT"
[data]
path = "bundled:water"
train = 40
valid = 10
test = 10
[model]
kind = "triatomic"
elements = ["O", "H", "H"]
n_layers = 2
[train]
steps = 20
evaluate_every = 10
forces_weight = 0.0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A trained run, of a process with a token in its environment."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "run.toml").write_text(CONFIG.replace("OUTPUT", str(folder / "water")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QISKIT_IBM_TOKEN", TOKEN)
        assert main(["train", str(folder / "run.toml")]) == 0
    return folder


@pytest.fixture
def model(folder) -> str:
    return str(folder / "water" / "model.qiff")


def refused(capsys, *arguments) -> str:
    """The one line on stderr of a command that must exit with 2."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    out, error = capsys.readouterr()
    lines = [line for line in error.splitlines() if line.startswith("qiff: ")]
    assert len(lines) == 1
    assert "Traceback" not in error + out
    return lines[0]


def frames_in(path: Path) -> list[ase.Atoms]:
    return cast(list[ase.Atoms], ase.io.read(path, ":"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# --- what works -------------------------------------------------------------------------------


def test_train_reports_errors_and_the_folder(folder, capsys):
    arguments = ["train", str(folder / "run.toml"), "--overwrite", "--set", "train.steps=10"]
    assert main([*arguments, "--set", f"output={folder / 'short'}"]) == 0
    out = capsys.readouterr().out
    assert "test" in out
    assert f"run folder: {folder / 'short'}" in out
    assert json.loads((folder / "short" / "metrics.json").read_text())["steps"] == 10


def test_a_run_holds_no_token_of_the_environment(folder):
    assert {"config.toml", "train.log", "report.html"} <= contents(folder / "water").keys()
    assert leaks(folder) == []


def test_evaluate_agrees_with_python(folder, model, capsys):
    assert main(["evaluate", model, "bundled:water", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    frames = qiff.read(qiff.Source("bundled:water"))
    assert printed == qiff.evaluate(qiff.load(model), frames)
    assert main(["evaluate", model, "bundled:water"]) == 0
    assert f"{1000 * printed['energy_mae']:.2f}" in capsys.readouterr().out


def test_predict_writes_what_python_predicts(folder, model, tmp_path):
    frames = qiff.read(qiff.Source("bundled:water"))[:5]
    bare = [ase.Atoms(atoms.symbols, atoms.positions) for atoms in frames]
    ase.io.write(tmp_path / "in.xyz", bare)
    assert main(["predict", model, str(tmp_path / "in.xyz"), str(tmp_path / "out.xyz")]) == 0
    found = frames_in(tmp_path / "out.xyz")
    for atoms, prediction in zip(found, qiff.predict(qiff.load(model), frames), strict=True):
        assert atoms.get_potential_energy() == pytest.approx(prediction.energy, abs=1e-6)
        np.testing.assert_allclose(atoms.get_forces(), prediction.forces, atol=1e-6)


def test_order_of_atoms_in_a_file_is_kept(folder, model, tmp_path):
    atoms = qiff.read(qiff.Source("bundled:water"))[3]
    ase.io.write(tmp_path / "in.xyz", atoms[[1, 0, 2]])
    assert main(["predict", model, str(tmp_path / "in.xyz"), str(tmp_path / "out.xyz")]) == 0
    (found,) = frames_in(tmp_path / "out.xyz")
    assert found.get_chemical_symbols() == ["H", "O", "H"]
    wanted = qiff.predict(qiff.load(model), atoms).forces[[1, 0, 2]]
    np.testing.assert_allclose(found.get_forces(), wanted, atol=1e-6)


def test_md_leaves_trajectory_table_and_picture(folder, model, tmp_path, capsys):
    out = tmp_path / "deep" / "traj.xyz"
    arguments = ["md", model, "bundled:water", "--steps", "20", "--out", str(out)]
    assert main(arguments) == 0
    assert "meV/atom/ps" in capsys.readouterr().out
    assert {p.suffix for p in out.parent.iterdir()} == {".xyz", ".csv", ".json", ".png", ".npz"}
    assert len(frames_in(out)) == 3
    assert "--overwrite" in refused(capsys, *arguments)
    assert main([*arguments, "--overwrite"]) == 0
    assert "must end in .xyz" in refused(capsys, *arguments[:-1], tmp_path / "traj.json")
    (tmp_path / "other.json").write_text("kept")
    assert "other.json: exists" in refused(capsys, *arguments[:-1], tmp_path / "other.xyz")
    explosion = ["--overwrite", "--timestep", "500", "--temperature", "3000", "--interval", "1"]
    assert main([*arguments, *explosion]) == 1
    assert {p.suffix for p in out.parent.iterdir()} == {".xyz"}  # no report of another trajectory


def test_report_includes_dynamics(folder, model, capsys):
    out = folder / "water" / "nve.xyz"
    assert main(["md", model, "bundled:water", "--steps", "10", "--out", str(out)]) == 0
    assert main(["report", str(folder / "water")]) == 0
    printed = capsys.readouterr().out
    assert "nve: 0.005 ps" in printed
    assert "report.html" in printed
    page = (folder / "water" / "report.html").read_text()
    assert "<h2>Trajectory nve</h2>" in page
    assert "data:image/png" not in page
    other = json.loads(out.with_suffix(".json").read_text()) | {"model_sha256": "of another model"}
    out.with_suffix(".json").write_text(json.dumps(other))
    assert main(["report", str(folder / "water")]) == 0
    assert "nve:" not in capsys.readouterr().out


def test_a_stray_json_beside_a_structure_does_no_harm(folder, capsys):
    for text in ("[1]", "{}", "no json"):
        (folder / "water" / "start.xyz").write_text("1\n\nH 0 0 0\n")
        (folder / "water" / "start.json").write_text(text)
        assert main(["report", str(folder / "water")]) == 0
        assert main(["data", "info", str(folder / "water" / "start.xyz")]) == 0
    (folder / "water" / "start.xyz").unlink()


def test_info_draws_a_model(model, tmp_path, capsys):
    assert main(["info", model, "--draw"]) == 0
    printed = capsys.readouterr().out
    assert "q3 ψ1 ─[R α1x1]──║" in printed
    assert printed.index("atoms ") < printed.index("circuits ") < printed.index("energy ")
    for name, start in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")):
        assert main(["info", model, "--draw", str(tmp_path / name)]) == 0
        assert (tmp_path / name).read_bytes().startswith(start)
    assert ">J θ0<" in (tmp_path / "a.svg").read_text()
    assert "must end in .png" in refused(capsys, "info", model, "--draw", tmp_path / "a.txt")


def test_info_and_data_info_and_template(folder, model, capsys):
    assert main(["info", model]) == 0
    printed = capsys.readouterr().out
    assert f"4 qubits; gates: 12 spin, 8 exchange; engine {describe()}" in printed
    assert '"kind": "triatomic"' in printed
    assert main(["data", "info", "bundled:lih"]) == 0
    printed = capsys.readouterr().out
    assert "181" in printed
    assert "FCI/STO-3G" in printed
    assert main(["template", "water"]) == 0
    assert "[model]" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["", "data", *(name[5:] for name in COMMANDS)])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as exit:
        main([*command.split(), "--help"])
    assert exit.value.code == 0
    assert f"usage: qiff {command}".strip() in capsys.readouterr().out


# --- mistakes ---------------------------------------------------------------------------------


@pytest.fixture
def water(tmp_path):
    """A good file to spoil."""
    atoms = qiff.read(qiff.Source("bundled:water"))[3]
    path = tmp_path / "water.xyz"

    def spoil(change=lambda atoms: None):
        changed = atoms.copy()
        changed.calc = atoms.calc
        changed = change(changed) or changed
        ase.io.write(path, [atoms, changed])
        return path

    return spoil


def test_data_mistakes_name_file_frame_and_remedy(folder, model, water, tmp_path, capsys):
    evaluate = lambda path: refused(capsys, "evaluate", model, path)
    assert "absent.xyz: no such file" in evaluate(tmp_path / "absent.xyz")
    (tmp_path / "empty.xyz").write_text("")
    assert "empty.xyz: has no frames" in evaluate(tmp_path / "empty.xyz")
    path = water(lambda atoms: atoms[:])
    assert main(["evaluate", model, str(path)]) == 0
    assert "labels: energy of 1, forces of 1 of 2 frames" in capsys.readouterr().out
    unlabelled = refused(capsys, "evaluate", model, path, "--strict")
    assert "water.xyz: frame 1: has no energy label; keys found: none" in unlabelled
    assert "`energy_key`" in unlabelled
    nan = evaluate(water(lambda atoms: atoms.positions.__setitem__((0, 0), np.nan)))
    assert "water.xyz: frame 1: `positions` must be finite" in nan

    def collide(atoms):
        atoms.positions[1] = atoms.positions[2]

    assert "frame 1: atoms 1 and 2 are 0 Å apart" in evaluate(water(collide))

    def sulphur(atoms):
        atoms.symbols[0] = "S"

    assert "frame 1: the model describes H2O" in evaluate(water(sulphur))
    energy = lambda atoms: ase.Atoms("OHHH", np.arange(12).reshape(4, 3), info={"REF_energy": 1})
    assert "(4 atoms)" in evaluate(water(energy))
    unit = refused(capsys, "evaluate", model, water(), "--energy-unit", "hartree")
    assert "did you mean `Hartree`" in unit


def test_a_mistake_leaves_nothing_half_written(folder, model, water, tmp_path, capsys):
    path = water(lambda atoms: atoms.positions.__setitem__((0, 0), np.nan))
    refused(capsys, "predict", model, path, tmp_path / "out.xyz")
    refused(capsys, "md", model, path, "--out", tmp_path / "traj.xyz")
    config = tmp_path / "run.toml"
    config.write_text(
        CONFIG.replace("OUTPUT", str(tmp_path / "run")).replace("bundled:water", str(path))
    )
    assert "frame 1: `positions`" in refused(capsys, "train", config)
    config.write_text(CONFIG.replace("OUTPUT", str(tmp_path / "run")).replace("steps", "stepz"))
    assert "run.toml:13: `train.stepz`" in refused(capsys, "train", config)
    assert {p.name for p in tmp_path.iterdir()} == {"water.xyz", "run.toml"}
    assert "is the input as well" in refused(capsys, "predict", model, path, path)


def test_wrong_element_for_the_model_in_training(tmp_path, capsys):
    config = tmp_path / "run.toml"
    config.write_text(
        CONFIG.replace("OUTPUT", str(tmp_path / "run")).replace('"O", "H"', '"S", "H"')
    )
    assert "bundled:water: frame 0: the model describes H2S" in refused(capsys, "train", config)
    assert not (tmp_path / "run").exists()


def test_broken_models_are_refused(folder, model, tmp_path, capsys):
    broken = tmp_path / "model.qiff"
    broken.write_bytes(Path(model).read_bytes()[:100])
    assert "not a file of qiff" in refused(capsys, "evaluate", broken, "bundled:water")
    assert "no such file" in refused(capsys, "info", tmp_path / "absent.qiff")


def test_second_run_on_top_of_the_first_changes_nothing(folder, capsys):
    before = contents(folder / "water")
    assert "already holds a run" in refused(capsys, "train", folder / "run.toml")
    assert contents(folder / "water") == before


def test_unwritable_run_folder(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    config = tmp_path / "run.toml"
    config.write_text(CONFIG.replace("OUTPUT", str(tmp_path / "file" / "run")))
    line = refused(capsys, "train", config)
    assert "file" in line
    assert "check the path, its permissions and the disk" in line


def test_full_disk_is_one_line_and_keeps_what_was_there(folder, tmp_path, capsys, monkeypatch):
    shutil.copytree(folder / "water", tmp_path / "water")
    model = tmp_path / "water" / "model.qiff"

    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    line = refused(capsys, "predict", model, "bundled:water", tmp_path / "out.xyz")
    assert "no space left on device" in line
    assert [p.name for p in tmp_path.iterdir()] == ["water"]


def test_explosion_exits_with_one(folder, model, tmp_path, capsys):
    out = tmp_path / "traj.xyz"
    arguments = ["--timestep", "500", "--temperature", "300", "--interval", "1", "--out", str(out)]
    assert main(["md", model, "bundled:water", *arguments]) == 1
    assert "exploded" in capsys.readouterr().err
    assert len(frames_in(out)) >= 1


def test_interrupt_says_how_to_continue(folder, tmp_path, capsys, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("qiff.run.train.fit", interrupted)
    output = ["--set", f"output={tmp_path / 'run'}"]
    assert main(["train", str(folder / "run.toml"), *output]) == 130
    assert "continue with --resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("template", "watr"),
        ("data", "make", "watr"),
        ("md", "MODEL", "bundled:water", "--ensemble", "npt"),
        ("md", "MODEL", "bundled:water", "--seed", "-1"),
        ("train", "CONFIG", "--overwrite", "--set", "seed=-1"),
        ("train", "CONFIG", "--overwrite", "--set", "seed=99999999999999999999"),
        ("train", "CONFIG", "--overwrite", "--set", "data.train=nan"),
        ("train", "CONFIG", "--overwrite", "--set", "model.kind=[1]"),
        ("train", "CONFIG", "--overwrite", "--set", "model.elements=OHH"),
        ("train", "CONFIG", "--overwrite", "--set", "train.average=1"),
        ("train", "CONFIG", "--overwrite", "--set", "train=5"),
        ("train", "CONFIG", "--overwrite", "--set", "output="),
        ("train", "FOLDER"),
        ("info", "FOLDER"),
        ("report", "FOLDER"),
    ],
)
def test_wrong_values_are_one_line(folder, model, capsys, arguments):
    places = {"MODEL": model, "CONFIG": str(folder / "run.toml"), "FOLDER": str(folder)}
    before = contents(folder / "water")
    refused(capsys, *(places.get(argument, argument) for argument in arguments))
    assert contents(folder / "water") == before


def test_a_full_disk_under_the_log_is_one_line(folder, tmp_path, capsys, monkeypatch):
    log_to = run_folder.log_to
    monkeypatch.setattr("qiff.run.folder.log_to", lambda path: log_to(Path("/dev/full")))
    output = f"output={tmp_path / 'run'}"
    assert "no space left" in refused(capsys, "train", folder / "run.toml", "--set", output)


def test_a_reader_that_stops_reading_is_no_error(model):
    code = (
        f"import sys; from qiff.cli import entry; sys.argv = ['qiff', 'info', {model!r}]; entry()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 0


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("config.toml", marks=pytest.mark.slow, id="compiling"),
        pytest.param("state.npz", id="training"),
    ],
)
def test_a_real_interrupt_exits_with_130(folder, tmp_path, moment):
    """The signal a terminal sends, a second after a file of the run is there."""
    command = [
        *(sys.executable, "-c", "from qiff.cli import entry; entry()"),
        *("train", str(folder / "run.toml"), "--set", f"output={tmp_path / 'run'}"),
        *("--set", "train.steps=100000"),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run" / moment).exists() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    try:
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert error.splitlines()[-1] == "qiff: interrupted; continue with --resume."


def test_unknown_commands_exit_with_two():
    done = subprocess.run(
        [sys.executable, "-m", "qiff.cli", "trian"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == "qiff: Command `trian` is not known; did you mean `train`?\n"


def test_an_unknown_engine_in_the_config_is_refused(tmp_path, capsys):
    config = tmp_path / "run.toml"
    assert main(["template", "water"]) == 0
    config.write_text(capsys.readouterr().out)
    options = ["--set", "model.engine=natve", "--set", f"output={tmp_path / 'run'}"]
    assert main(["train", str(config), *options]) == 2
    assert "Engine `natve` is not known; did you mean `native`?" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
