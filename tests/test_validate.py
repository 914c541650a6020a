"""Validation by dynamics: what it finds, what it keeps, what it refuses."""

import json

import ase
import ase.io
import jax
import numpy as np
import pytest

import qiff
from qiff import Dynamics, InputError
from qiff.atoms.rigid import n_rigid
from qiff.cli import main
from qiff.model.predict import enable_x64
from qiff.studies import dynamics
from qiff.studies.dynamics import compare, courses, distances, distribution, validate

CONFIG = {"kind": "triatomic", "elements": ["O", "H", "H"], "n_layers": 2}
SHORT = Dynamics(steps=40, interval=2, timestep=0.25)


def water(scale: float) -> qiff.AbstractPotential:
    with enable_x64(True):
        return qiff.ScaleShift(
            qiff.build(CONFIG, jax.random.key(1)),
            qiff.ScaleShiftSettings(scale=scale, reference_energies={"O": 0.0, "H": 0.0}),
        )


@pytest.fixture(scope="module")
def frames() -> list[ase.Atoms]:
    return qiff.read(qiff.Source("bundled:water"))[:20]


def nothing(done, text):
    pass


def test_a_model_is_validated_once(tmp_path, capsys, monkeypatch):
    model, out = tmp_path / "model.qiff", tmp_path / "water"
    qiff.save(water(0.5), model)
    command = ["validate", str(model), "bundled:water", "--out", str(out), "--timestep", "0.25"]
    assert main([*command, "--steps", "40", "--interval", "2"]) == 0
    text = capsys.readouterr().out
    assert "0.01 ps, no explosion" in text
    assert "meV/atom/ps" in text
    assert str(out / "report.md") in text
    assert len(ase.io.read(out / "nvt.xyz", ":")) == 21
    assert len(ase.io.read(out / "nve.xyz", ":")) == 3
    for name in ("nvt", "nve", "distances"):
        assert f"![{name}]({name}.png)" in (out / "report.md").read_text()
        assert (out / f"{name}.png").exists()
    record = json.loads((out / "record.json").read_text())
    relaxed, frequencies = qiff.vibrations(water(0.5), lowest_frame())
    assert len(record["frequencies"]) == 9 - n_rigid(relaxed) < 9
    np.testing.assert_allclose(record["frequencies"], frequencies[n_rigid(relaxed) :], rtol=1e-3)

    def refuse(*arguments):
        raise AssertionError("simulated again")

    monkeypatch.setattr(dynamics, "simulate", refuse)
    assert main([*command, "--steps", "40", "--interval", "2"]) == 0
    assert main([*command, "--steps", "41", "--interval", "2"]) == 2
    assert "another model or other dynamics; choose another --out" in capsys.readouterr().err
    (out / "nve.json").unlink()
    with pytest.raises(AssertionError, match="simulated again"):
        main([*command, "--steps", "40", "--interval", "2"])


def lowest_frame() -> ase.Atoms:
    frames = qiff.read(qiff.Source("bundled:water"))
    return min(frames, key=lambda atoms: atoms.get_potential_energy())


def test_an_explosion_is_reported(frames, tmp_path):
    wild = Dynamics(steps=400, interval=1, timestep=5.0)
    section, record = validate(water(500.0), frames, wild, tmp_path / "wild", {}, nothing)
    found = {row["what"]: row["found"] for row in section.rows}
    assert "exploded at" in found["NVT at 300 K"]
    assert set(section.figures) == {"distances"}
    assert record["stable_share"] < 1
    again, _ = validate(water(500.0), frames, wild, tmp_path / "wild", {}, nothing)
    assert again.rows[0] == section.rows[0]


def test_distances_of_the_data_agree_with_themselves(frames):
    same = compare(frames, frames, 20)
    assert same["distances_mae"] == 0
    assert same["stable_share"] == 1
    assert same["bond_change"] == same["bond_change_data"] > 0
    longer = [atoms.copy() for atoms in frames]  # control
    for atoms in longer[10:]:
        atoms.positions *= 3
    found = compare(frames, longer, 40)
    assert found["distances_mae"] == pytest.approx(1.0)  # half of the frames have nothing of h(r)
    assert found["stable_share"] == 0.25


def test_distances_are_a_density(frames):
    apart = distances(frames)
    assert apart.shape == (20, 3)
    np.testing.assert_allclose(apart[3, 2], frames[3].get_distance(1, 2))
    edges = np.linspace(0, 3, 31)
    assert np.sum(distribution(apart, edges) * np.diff(edges)) == pytest.approx(1)


def test_an_isolated_run_takes_a_tenth():
    runs = courses(Dynamics("nve", steps=200, temperature=500))
    assert {name: (run.ensemble, run.steps) for name, run in runs.items()} == {
        "nvt": ("nvt", 200),
        "nve": ("nve", 20),
    }
    assert all(run.temperature == 500 for run in runs.values())


def test_frames_must_be_of_one_molecule(frames, tmp_path):
    def raises(wrong, message):
        with pytest.raises(InputError, match=message):
            validate(water(0.5), wrong, SHORT, tmp_path / "a", {}, nothing)
        assert not (tmp_path / "a").exists()

    raises([*frames, ase.Atoms("LiH")], "one molecule, but frame 20 is LiH and frame 0 is OH2")
    raises([ase.Atoms("O")], "at least 2 atoms, but have 1")
