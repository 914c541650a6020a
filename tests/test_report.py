"""Reports: what has no labels is left out; records and sections are files anything can read."""

import csv
import json
import re

import numpy as np
import pytest

import qiff
from qiff import InputError
from qiff._files import read_record, save_record
from qiff.atoms.data.dataset import file_hash
from qiff.atoms.properties import labels
from qiff.cli import main
from qiff.model.predict import Prediction
from qiff.report.data import data_lines
from qiff.report.figures import parity_figure
from qiff.report.records import results
from qiff.report.section import Claim, Section
from qiff.report.tables import error_lines
from qiff.training.metrics import errors


@pytest.fixture
def frames():
    return qiff.read(qiff.Source("bundled:lih"))[:6]


def exact(frames, shift=0.0):
    """Predictions that are wrong in the energy alone, by a constant."""
    none = np.zeros((2, 3))
    results = [labels(atoms) for atoms in frames]
    return [Prediction(r["energy"] + shift, r.get("forces", none)) for r in results]


def width(png: bytes) -> int:
    assert png.startswith(b"\x89PNG")
    return int.from_bytes(png[16:20], "big")


def test_a_constant_error_of_energies_is_told_apart(frames):
    found = errors(exact(frames, 0.25), frames)
    assert found["energy_mae"] == pytest.approx(0.25)
    assert found["energy_shifted_mae"] == pytest.approx(0, abs=1e-9)
    assert found["forces_rmse"] == 0
    assert "forces_shifted_mae" not in found


def test_properties_without_labels_are_left_out(frames):
    parts = {"train": (exact(frames), frames), "test": ([], [])}
    table = error_lines({"train": errors(*parts["train"])})
    assert table[0].split() == [
        "part",
        "frames",
        "energy",
        "MAE",
        "RMSE",
        "meV",
        "forces",
        "MAE",
        "RMSE",
        "meV/Å",
    ]
    assert table[1].split() == ["train", "6", "0.00", "0.00", "0.00", "0.00"]
    both = width(parity_figure(parts))
    for atoms in frames:
        del labels(atoms)["forces"]
    table = error_lines({"train": errors(exact(frames), frames)})
    assert table[0].split() == ["part", "frames", "energy", "MAE", "RMSE", "meV"]
    assert width(parity_figure(parts)) == both // 2


def test_a_part_without_labels_has_dashes_where_another_has_numbers(frames):
    first, rest = frames[:3], frames[3:]
    for atoms in rest:
        del labels(atoms)["forces"]
    table = error_lines({"a": errors(exact(first), first), "b": errors(exact(rest), rest)})
    assert table[2].split() == ["b", "3", "0.00", "0.00", "–", "–"]


def test_data_lines_name_range_and_size_of_what_is_labelled():
    lines = data_lines(qiff.Source("bundled:lih"))
    assert lines["energy"].endswith("eV (181 frames), from `energy` × 181")
    assert "eV/Å root mean square" in lines["forces"]
    assert "stress" not in lines


def test_a_section_is_a_folder_of_text_table_record_and_figures(tmp_path):
    rows = [{"model": "a", "error": 1.5}, {"model": "b", "error": 2.5}]
    claims = [Claim("a is better", "1.5 against 2.5", True)]
    section = Section("part", "Part", rows, claims, {"curve": b"png"}, ["What was done."])
    report = section.save(tmp_path, {"seeds": [0]})
    assert report == tmp_path / "part" / "report.md"
    assert "| a is better | 1.5 against 2.5 | yes |" in report.read_text()
    assert (tmp_path / "part" / "curve.png").read_bytes() == b"png"
    with (tmp_path / "part" / "table.csv").open() as file:
        assert [row["error"] for row in csv.DictReader(file)] == ["1.5", "2.5"]
    assert json.loads((tmp_path / "part" / "record.json").read_text()) == {"seeds": [0]}


def test_a_record_that_is_none_is_empty(tmp_path):
    save_record(tmp_path / "record.json", {"a": 1})
    assert read_record(tmp_path / "record.json") == {"a": 1}
    (tmp_path / "list.json").write_text("[1]")
    assert read_record(tmp_path / "list.json") == read_record(tmp_path / "absent.json") == {}


def test_a_folder_without_a_finished_run_has_no_results(tmp_path):
    with pytest.raises(InputError, match=r"holds no finished run; .* \(--resume\)"):
        results(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seconds": None}, "`seconds` must be float, but is None"),
        ({"steps": "many"}, "`steps` must be int, but is 'many'"),
        ({"notes": [1]}, r"`notes\[0\]` must be str"),
        ({"test": {"energy_mae": 1.0}}, "`n_frames` is missing"),
        ({"test": {"n_frames": 3, "energy_mae": "x"}}, "`energy_mae` must be float or None"),
        ({}, "7 weights"),  # control
    ],
)
def test_a_report_of_edited_metrics_is_one_line(tmp_path, capsys, change, message):
    metrics = {"n_weights": 7, "steps": 3, "seconds": 1.5, "test": {"n_frames": 3}}
    save_record(tmp_path / "metrics.json", metrics | change)
    (tmp_path / "config.toml").write_text("seed = 0\n")
    assert main(["report", str(tmp_path)]) == (2 if change else 0)
    out, error = capsys.readouterr()
    assert re.search(message, error if change else out)
    assert error.count("\n") == bool(change)


def test_a_report_of_an_edited_trajectory_is_one_line(tmp_path, capsys):
    metrics = {"n_weights": 7, "steps": 3, "seconds": 1.5}
    save_record(tmp_path / "metrics.json", metrics)
    for name in ("config.toml", "model.qiff", "md.xyz"):
        (tmp_path / name).write_text("")
    record = {"model_sha256": file_hash(str(tmp_path / "model.qiff")), "picoseconds": 1.0}
    save_record(tmp_path / "md.json", record | {"mean_temperature": 300.0, "drift": "none"})
    assert main(["report", str(tmp_path)]) == 2
    assert "md.json: `drift` must be float or" in capsys.readouterr().err
    (tmp_path / "md.json").write_text("[" * 100_000)
    assert main(["report", str(tmp_path)]) == 0  # of no model that is known
