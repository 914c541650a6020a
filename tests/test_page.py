"""Reports of runs: one file without a network, right numbers, nothing taken for markup."""

import base64
import html
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

import qiff
from qiff import InputError
from qiff._files import save_record
from qiff.atoms.data.dataset import file_hash, write
from qiff.atoms.properties import labels
from qiff.cli import main
from qiff.model.ensemble import Uncertainty
from qiff.report.comparison import comparison_lines, comparison_page
from qiff.report.numbers import chosen, embedded, quantised, structures, worst_first
from qiff.report.page import html_page
from qiff.report.predictions import FILE, gathered, load_predictions
from qiff.report.verdict import WORST, sentences
from qiff.run.templates import template
from qiff.training.checkpoint import model_file
from qiff.training.metrics import errors

FRAMES = qiff.read(qiff.Source("bundled:water"), need_forces=True)[:40]
NASTY = "</script><b>&"
WORST_FRAME = 17


def noisy(size: float, frames=FRAMES) -> list[qiff.Prediction]:
    """Predictions with random errors, ten times as large in one frame."""
    rng, found = np.random.default_rng(0), []
    for number, atoms in enumerate(frames):
        scale = size * (10 if number == WORST_FRAME else 1)
        known = labels(atoms)
        forces = known["forces"] + scale * rng.normal(size=known["forces"].shape)
        found.append(qiff.Prediction(known["energy"] + scale * rng.uniform(0.5, 1), forces))
    return found


def record(size: float = 0.05):
    expected = [Uncertainty(size, np.full(3, size)) for _ in FRAMES]
    return gathered("test", range(100, 140), FRAMES, noisy(size), expected)


def write_run(folder: Path, size: float = 0.05) -> Path:
    """A run folder as `train` leaves it, with a trajectory, but nothing was computed for it."""
    folder.mkdir()
    shutil.copy(model_file("ethanol"), folder / "model.qiff")
    (folder / "config.toml").write_text(
        template("water").replace("bundled:water", f"{NASTY}-{size}.xyz")
    )
    found = errors(noisy(size), FRAMES)
    parts = {"train": found, "valid": found, "test": found}
    save_record(folder / "metrics.json", {**parts, "n_weights": 7, "seconds": 3.0, "steps": 40})
    (folder / "history.csv").write_text(
        "step,loss,valid_loss,learning_rate,energy_mae,forces_mae\n"
        "20,1.0,0.5,0.01,,\n40,0.5,0.25,0.01,0.02,0.2\n"
    )
    record(size).save(folder / FILE)
    name = f"nve{size}"
    write(folder / f"{name}.xyz", FRAMES[:5])
    table = "time_fs,potential_eV,kinetic_eV,total_eV,temperature_K\n"
    rows = [f"{5 * n},{n / 100},0.1,{n / 100 + 0.1},{300 + n}\n" for n in range(5)]
    (folder / f"{name}.csv").write_text(table + "".join(rows))
    sha = file_hash(str(folder / "model.qiff"))
    simulated = {"picoseconds": 0.02, "mean_temperature": 302.0, "drift": None}
    save_record(folder / f"{name}.json", {"model_sha256": sha, **simulated})
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run & <b>")


@pytest.fixture(scope="module")
def text(folder) -> str:
    return html_page(folder).read_text()


def data_of(text: str) -> dict:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    return json.loads(found)


def decoded(numbers: dict) -> np.ndarray:
    whole = np.frombuffer(base64.b64decode(numbers["i16"]), "<i2")
    return np.where(whole == -32768, np.nan, whole * numbers["unit"])


def test_predictions_are_kept_in_a_file(tmp_path):
    found = record()
    found.save(tmp_path / FILE)
    again = load_predictions(tmp_path / FILE)
    assert again is not None
    np.testing.assert_array_equal(again.errors("energy"), found.errors("energy"))
    for key in ("labelled", "predicted", "expected"):
        assert getattr(again, key).keys() == {"energy", "forces"}
    assert again.part == "test"
    assert load_predictions(tmp_path / "absent.npz") is None
    (tmp_path / FILE).write_bytes(b"PK")
    with pytest.raises(InputError, match=r"predictions.npz: is not a file of qiff; delete it"):
        load_predictions(tmp_path / FILE)


def test_a_page_has_every_section_and_needs_no_network(text):
    assert re.findall(r"<h2>(.*?)</h2>", text) == [
        *("Errors", "Predictions on the test part", "Distribution of errors", "Uncertainty"),
        *("Learning curves", "Trajectory nve0.05", "Model", "Provenance"),
    ]
    assert "On the test part this model is" in text
    assert not re.search(r"""(src|href)=["']?(https?:|//|file:)|@import|<link rel="style""", text)
    assert text.count("3Dmol.createViewer") >= 1
    assert text.count("University of Pittsburgh and contributors") == 1  # the library is in it once
    assert "Redistribution and use in source and binary forms" in text
    for canvas in re.findall(r"<canvas[^>]*>", text):
        assert re.search(r'aria-label="[^"]{10,}"', canvas)
    assert ">J θ0<" in text
    assert "#010203" not in text


def test_numbers_of_a_page_are_those_of_the_predictions(text):
    found = data_of(text)["structures"]
    positions = np.concatenate([atoms.positions for atoms in FRAMES])
    np.testing.assert_allclose(decoded(found["positions"]).reshape(-1, 3), positions, atol=1e-4)
    forces = found["properties"]["forces"]
    wanted = np.concatenate([p.forces for p in noisy(0.05)])
    np.testing.assert_allclose(decoded(forces["predicted"]).reshape(-1, 3), wanted, atol=1e-3)
    assert forces["worst"][0] == WORST_FRAME
    assert found["indices"][WORST_FRAME] == 100 + WORST_FRAME
    off = 1000 * np.abs(record().errors("forces"))
    oxygen = np.tile(FRAMES[0].numbers == 8, len(FRAMES))
    (row,) = (row for row in forces["histograms"]["rows"] if row[0] == "O")
    assert row[2] == pytest.approx(off[oxygen].mean(), rel=1e-3)
    assert row[2] != pytest.approx(off[~oxygen].mean(), rel=1e-3)  # control: of the element
    curves = data_of(text)["runs"][0]["curves"]
    assert curves["step"] == [20, 40]
    assert curves["energy_mae"] == [None, 0.02]
    (moving,) = data_of(text)["trajectories"]
    assert moving["temperature"] == [300, 301, 302, 303, 304]


def test_names_of_files_are_not_taken_for_markup(folder, text):
    assert NASTY not in text
    assert html.escape(NASTY) in text
    assert html.escape(folder.name) in text
    assert f"<h1>{folder.name}" not in text
    assert data_of(text)["runs"][0]["name"] == folder.name
    assert json.loads(embedded({"a": NASTY})) == {"a": NASTY}
    assert "</script>" not in embedded({"a": NASTY})
    assert "</script>" in json.dumps({"a": NASTY})  # control: plain JSON would end the element


def test_missing_values_stay_missing():
    found = decoded(quantised(np.array([1.0, np.nan, -2.0])))
    np.testing.assert_allclose(found, [1.0, np.nan, -2.0], atol=1e-4)
    assert quantised(np.zeros(2))["unit"] == 1.0


def test_of_many_frames_the_worst_are_shown():
    shown = record()
    assert len(chosen(shown)) == len(FRAMES)
    few = chosen(shown, most_atoms=90)
    assert 25 <= len(few) <= 30
    assert {*worst_first(shown)["forces"], *worst_first(shown)["energy"]} <= set(few)
    assert WORST_FRAME in chosen(shown, most_atoms=3)


def test_periodic_structures_are_shown_inside_their_cell():
    crystal = bulk("Si", cubic=True)
    crystal.positions += 3.0
    crystal.positions[0] += 2 * crystal.cell.array[1]
    crystal.pbc = (True, True, False)
    found = [qiff.Prediction(0.0, np.zeros((8, 3)))]
    crystal.calc = SinglePointCalculator(crystal, energy=0.0, forces=np.zeros((8, 3)))
    page = structures(gathered("test", [0], [crystal], found))
    fractional = crystal.cell.scaled_positions(decoded(page["positions"]).reshape(-1, 3))
    assert fractional[:, :2].min() > -1e-3
    assert fractional[:, :2].max() < 1 + 1e-3
    assert fractional[:, 2].max() > 1  # not periodic in this direction
    assert page["cells"][:9] == [5.43, 0, 0, 0, 5.43, 0, 0, 0, 0]


def test_a_run_of_an_older_version_has_a_page(folder, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(folder, old)
    (old / FILE).unlink()
    (old / "history.csv").write_text("step,loss,valid_loss,learning_rate\n20,1.0,0.5,0.01\n")
    (old / "parity.png").write_bytes(b"\x89PNG")
    (old / "model.qiff").write_bytes(b"")
    page = html_page(old).read_text()
    assert page.count("data:image/png") == 1
    assert data_of(page)["structures"] is None
    assert "is not a file of qiff" in page  # in place of the drawing of the model


def test_the_verdict_compares_errors_with_the_spread_of_the_data():
    first = lambda size, **metrics: sentences(record(size), metrics, ())
    assert first(0.0)[0] == "On the test part this model is very good."
    assert WORST in first(50.0)[0]
    exact = first(0.0)
    assert "0 % of the spread" in exact[1]
    worse = {"train": {"energy_rmse": 0.01}, "test": {"energy_rmse": 0.05}}
    assert "5.0 times that of the training part" in first(0.1, **worse)[-1]
    assert "times that" not in " ".join(first(0.1, train={"energy_rmse": 0.04}, test=worse["test"]))
    shifted = first(0.1, test={"energy_shifted_mae": 0.001})
    assert "All but 1 meV of it is a constant" in shifted[1]
    assert "constant" not in first(0.1, test={"energy_shifted_mae": 0.08})[1]
    falling = [{"valid_loss": 2.0**-n} for n in range(8)]
    assert "still falling" in sentences(record(), {}, falling)[-1]
    assert "still falling" not in sentences(record(), {}, [*falling, {"valid_loss": 1.0}])[-1]


def test_runs_are_compared_in_text_and_in_a_page(folder, tmp_path, capsys):
    other = write_run(tmp_path / "other", 0.2)
    lines = comparison_lines([folder, other])
    assert lines[0].split() == [*folder.name.split(), "other"]
    assert any(line.startswith("test forces RMSE (meV/Å)") for line in lines)
    (differing,) = (line for line in lines if line.startswith("data."))
    assert differing.startswith("data.path")
    assert len({len(line) for line in lines if not line.startswith(" ")}) == 1
    page = comparison_page([folder, other], tmp_path / "c.html").read_text()
    assert NASTY not in page
    assert "University of Pittsburgh" not in page  # no viewer where there are no structures
    assert [run["name"] for run in data_of(page)["runs"]] == [folder.name, "other"]
    target = tmp_path / "d.html"
    assert main(["report", str(folder), str(other), "--out", str(target)]) == 0
    assert f"report: {target}" in capsys.readouterr().out
    assert target.read_text() == page
    assert main(["report", str(folder), str(tmp_path / "none")]) == 2
    assert main(["report", str(folder), str(other), "--out", "c.txt"]) == 2


def test_runs_of_one_name_are_told_apart_by_their_paths(folder, tmp_path):
    shutil.copytree(folder, tmp_path / folder.name)
    head = comparison_lines([folder, tmp_path / folder.name])[0]
    assert str(folder) in head
    assert str(tmp_path / folder.name) in head
