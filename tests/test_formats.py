"""Model files of every earlier format are read, and give the numbers they gave when written."""

import json
from pathlib import Path

import ase
import numpy as np
import pytest

import qiff
from qiff._checks import InputError
from qiff.model.predict import dtype
from qiff.training.checkpoint import read_arrays, write_arrays
from qiff.training.migrations import FORMAT, MIGRATIONS, migrated

FOLDER = Path(__file__).parent / "formats"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())


def test_every_earlier_format_has_a_file():
    """Format 1 has files of 0.1.0, whose read-outs have no axis, and of later commits."""
    numbers = {int(name.split("-")[1]) for name in EXPECTED}
    assert numbers == set(MIGRATIONS) == set(range(1, FORMAT))
    assert set(EXPECTED) == {path.name for path in FOLDER.glob("*.qiff")}


@pytest.mark.parametrize("name", EXPECTED)
def test_an_earlier_file_gives_the_same_numbers(name, tmp_path):
    expected = EXPECTED[name]
    atoms = ase.Atoms(expected["symbols"], expected["positions"])
    potential = qiff.load(FOLDER / name)
    found = qiff.predict(potential, atoms)
    tolerance = 1e-9 if dtype(potential) == "float64" else 1e-4
    assert abs(found.energy - expected["energy"]) < tolerance
    np.testing.assert_allclose(found.forces, expected["forces"], atol=tolerance)
    qiff.save(potential, tmp_path / "again.qiff")
    assert read_arrays(tmp_path / "again.qiff")[0]["format"] == FORMAT
    again = qiff.predict(qiff.load(tmp_path / "again.qiff"), atoms)
    assert again.energy == found.energy


def test_control_without_the_migration_an_earlier_file_is_not_read(monkeypatch):
    name = "format-1-water-0.1.0.qiff"
    header, arrays = read_arrays(FOLDER / name, oldest=1)
    monkeypatch.setitem(MIGRATIONS, 1, MIGRATIONS[1]._replace(arrays=lambda model, arrays: arrays))
    _, unchanged = migrated(1, header["model"], arrays)
    assert unchanged["potential.readout"].shape == ()
    with pytest.raises(InputError, match=r"`potential\.readout` must be float64 of shape"):
        qiff.load(FOLDER / name)


@pytest.mark.parametrize("number", [0, FORMAT + 1])
def test_a_format_of_another_version_is_one_clear_line(number, tmp_path, monkeypatch):
    monkeypatch.setattr("qiff.training.checkpoint.FORMAT", number)
    write_arrays(tmp_path / "model.qiff", {}, {"model": {}})
    monkeypatch.undo()
    with pytest.raises(InputError, match=rf"is of format {number}, but this version of qiff reads"):
        qiff.load(tmp_path / "model.qiff")
