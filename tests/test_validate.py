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
from qiff.dynamics import resume
from qiff.dynamics.validation import (
    Validation,
    compare,
    distribution,
    pair_distances,
    simulations,
    validate,
)
from qiff.model.potential import ScaleShiftSettings
from qiff.model.predict import enable_x64
from qiff.report.validation import validation_section

CONFIG = {"kind": "triatomic", "elements": ["O", "H", "H"], "n_layers": 2}
SHORT = Dynamics(steps=40, interval=2, timestep=0.25)


def water(scale: float) -> qiff.AbstractPotential:
    with enable_x64(True):
        settings = ScaleShiftSettings(scale=scale, reference_energies={"O": 0.0, "H": 0.0})
        return qiff.ScaleShift(qiff.build(CONFIG, jax.random.key(1)), settings)


@pytest.fixture(scope="module")
def frames() -> list[ase.Atoms]:
    return qiff.read(qiff.Source("bundled:water"))[:20]


@pytest.mark.slow
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
    found = qiff.vibrations(water(0.5), lowest_frame())
    rigid = n_rigid(found.atoms)
    assert len(record["frequencies"]) == 9 - rigid < 9
    np.testing.assert_allclose(record["frequencies"], found.frequencies[rigid:], rtol=1e-3)

    def refuse(*arguments, **options):
        raise AssertionError("simulated again")

    monkeypatch.setattr(resume, "run_resumable", refuse)
    assert main([*command, "--steps", "40", "--interval", "2"]) == 0
    assert main([*command, "--steps", "41", "--interval", "2"]) == 2
    assert "another model or other dynamics; choose another --out" in capsys.readouterr().err
    (out / "nve.json").unlink()
    with pytest.raises(AssertionError, match="simulated again"):
        main([*command, "--steps", "40", "--interval", "2"])


def test_an_interrupted_trajectory_goes_on(frames, tmp_path):
    def stop(n_steps: int, text: str) -> None:
        if n_steps >= 20:
            raise KeyboardInterrupt

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    validate(water(0.5), frames, SHORT, whole, {})
    with pytest.raises(KeyboardInterrupt):
        validate(water(0.5), frames, SHORT, cut, {}, stop)
    shown: list[int] = []
    validate(water(0.5), frames, SHORT, cut, {}, lambda n_steps, text: shown.append(n_steps))
    assert min(n for n in shown if n) > 20  # and not from the beginning
    for name in ("nvt.xyz", "nvt.json", "nve.xyz"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()


def lowest_frame() -> ase.Atoms:
    frames = qiff.read(qiff.Source("bundled:water"))
    return min(frames, key=lambda atoms: atoms.get_potential_energy())


def test_an_explosion_is_reported(frames, tmp_path):
    wild = Dynamics(steps=400, interval=1, timestep=5.0)
    folder = tmp_path / "wild"
    found = validate(water(500.0), frames, wild, folder, {})
    assert isinstance(found, Validation)
    section = validation_section(found, folder)
    values = {row["quantity"]: row["value"] for row in section.rows}
    assert "exploded at" in str(values["NVT at 300 K"])
    assert set(section.figures) == {"distances"}
    assert found.distances.stable_share < 1
    again = validate(water(500.0), frames, wild, folder, {})
    assert again.trajectories == found.trajectories


def test_distances_of_the_data_agree_with_themselves(frames):
    same = compare(frames, frames, 20)
    assert same.mae == 0
    assert same.stable_share == 1
    assert same.bond_change == same.bond_change_data > 0
    longer = [atoms.copy() for atoms in frames]  # control
    for atoms in longer[10:]:
        atoms.positions *= 3
    found = compare(frames, longer, 40)
    assert found.mae == pytest.approx(1.0)  # the distances of half of the frames are not in h(r)
    assert found.stable_share == 0.25


def test_distances_are_a_density(frames):
    found = pair_distances(frames)
    assert found.shape == (20, 3)
    np.testing.assert_allclose(found[3, 2], frames[3].get_distance(1, 2))
    edges = np.linspace(0, 3, 31)
    assert np.sum(distribution(found, edges) * np.diff(edges)) == pytest.approx(1)


def test_an_isolated_run_takes_a_tenth():
    runs = simulations(Dynamics("nve", steps=200, temperature=500.0))
    assert {name: (run.ensemble, run.steps) for name, run in runs.items()} == {
        "nvt": ("nvt", 200),
        "nve": ("nve", 20),
    }
    assert all(run.temperature == 500 for run in runs.values())


def test_frames_must_be_of_one_molecule(frames, tmp_path):
    def raises(wrong, message):
        with pytest.raises(InputError, match=message):
            validate(water(0.5), wrong, SHORT, tmp_path / "a", {})
        assert not (tmp_path / "a").exists()

    raises([*frames, ase.Atoms("LiH")], "one molecule, but frame 20 is LiH and frame 0 is OH2")
    raises([ase.Atoms("O")], "at least 2 atoms, but have 1")
