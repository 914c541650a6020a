"""Periodic dynamics compared with data: what is found in frames, and in a whole validation."""

import json

import ase
import ase.io
import ase.units
import jax
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

import qiff
from qiff import Dynamics, InputError
from qiff.cli import main
from qiff.dynamics import resume
from qiff.dynamics.bulk import CLOSEST, R_MAX, check_bulk, compare_bulk, contact
from qiff.dynamics.statistics import DynamicsReport, Sample
from qiff.dynamics.validation import BulkValidation, validate
from qiff.model.predict import enable_x64
from qiff.report.validation import validation_section

CONFIG = {"kind": "classical", "elements": ["Cl", "Na"], "n_hidden": 0, "n_channels": 1}
SALT = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
DYNAMICS = Dynamics("nvt", steps=102, interval=2, timestep=1.0)


@pytest.fixture(scope="module")
def potential() -> qiff.AbstractPotential:
    with enable_x64(True):
        return qiff.build(CONFIG | {"n_basis": 2, "cutoff": 3.5}, jax.random.key(0))


def rattled(n_frames: int, width: float, seed: int, stress: float | None = 0.01) -> list[ase.Atoms]:
    """A crystal whose atoms walk away from their places, in steps of `width`."""
    rng, frames = np.random.default_rng(seed), []
    walk = np.cumsum(width * rng.normal(size=(n_frames, len(SALT), 3)), axis=0)
    for moved in walk:
        atoms = SALT.copy()
        atoms.positions += moved
        if stress is not None:
            values = {"energy": 0.0, "stress": stress * np.array([1.0, 1.0, 1.0, 0, 0, 0])}
            atoms.calc = SinglePointCalculator(atoms, **values)
        frames.append(atoms)
    return frames


def test_data_agree_with_themselves(potential):
    data = rattled(52, 0.02, seed=0)
    found = compare_bulk(potential, data, data, DYNAMICS)
    assert list(found.distributions) == ["Cl-Cl", "Cl-Na", "Na-Na"]
    for one in found.distributions.values():
        assert one.mae == 0 < one.mae_of_halves
        np.testing.assert_array_equal(one.model, one.data)
        assert one.centres[-1] == pytest.approx(R_MAX, abs=0.05)
    assert found.density == found.density_data
    assert found.pressure == found.pressure_data
    kinetic = 8 * ase.units.kB * 300 / SALT.get_volume()
    assert found.pressure.value == pytest.approx((kinetic - 0.01) / ase.units.GPa)
    assert found.contact == found.contact_data == min(map(contact, data))
    assert found.stable_share == 1
    assert found.no_diffusion is None
    exact = 0.02**2 / (2 * 0.002) * (1 - 1 / 8)
    for mean in found.diffusion.values():
        assert mean.value == pytest.approx(exact, rel=0.5)


def test_what_differs_is_found(potential):
    data = rattled(52, 0.02, seed=0)
    wide = rattled(26, 0.1, seed=1, stress=None)
    for atoms in wide[13:]:
        atoms.positions[1] = atoms.positions[0] + [0.0, 0.0, 1.0]
    found = compare_bulk(potential, data, wide, DYNAMICS)
    for one in found.distributions.values():
        assert one.mae > 2 * one.mae_of_halves
    assert found.contact < CLOSEST < found.contact_data
    assert found.stable_share == 0.25
    assert found.diffusion == {}
    assert "at least 10 for each of 5 blocks, but are 26" in str(found.no_diffusion)


def test_frames_without_cell_or_stress_are_completed(potential):
    data = rattled(4, 0.02, seed=0, stress=None)
    bare = [ase.Atoms(atoms.symbols, atoms.positions) for atoms in data]
    found = compare_bulk(potential, data, bare, DYNAMICS)
    virial = [qiff.predict(potential, atoms).stress for atoms in data]
    kinetic = 8 * ase.units.kB * 300 / SALT.get_volume()
    expected = (kinetic - np.mean(np.array(virial)[:, :3])) / ase.units.GPa
    assert found.pressure.value == pytest.approx(expected)
    assert found.pressure_data is None
    assert found.distributions["Cl-Na"].mae == 0
    assert all(atoms.calc is None for atoms in data + bare)


def test_contacts_are_relative_to_covalent_radii():
    assert contact(bulk("Na", "bcc", a=4.0)) == pytest.approx(np.sqrt(12) / (2 * 1.66))
    assert contact(ase.Atoms("He", cell=[9, 9, 9], pbc=True)) == np.inf


def write_dynamics(potential, atoms, dynamics, path, after_frame, resume):
    """In place of `run_resumable`: a trajectory of random steps."""
    del potential, atoms, resume
    frames = rattled(len(dynamics.recorded), 0.02, seed=2)
    path.parent.mkdir(exist_ok=True)
    ase.io.write(path, frames, format="extxyz")
    after_frame(dynamics.steps)
    times = dynamics.timestep * dynamics.recorded
    samples = [Sample(float(time), 0.0, 0.3, 300.0) for time in times]
    report = DynamicsReport(len(SALT), dynamics.steps, times[-1] / 1000, 300.0, 0.1, 0.2, 0.0)
    return samples, report


def test_a_periodic_system_is_validated(potential, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(resume, "run_resumable", write_dynamics)
    model, data, out = tmp_path / "m.qiff", tmp_path / "data.xyz", tmp_path / "salt"
    qiff.save(potential, model)
    ase.io.write(data, rattled(20, 0.02, seed=0), format="extxyz")
    command = ["validate", str(model), str(data), "--out", str(out), "--timestep", "1"]
    assert main([*command, "--steps", "102", "--interval", "2"]) == 0
    text = capsys.readouterr().out
    for line in ("g(r) of Cl-Na", "density ", "mean pressure", "diffusion coefficient of Na"):
        assert line in text
    assert "100 % of the planned time" in text
    assert "harmonic frequencies" not in text
    for name in ("nvt", "nve", "distributions"):
        assert f"![{name}]({name}.png)" in (out / "report.md").read_text()
        assert (out / f"{name}.png").exists()
    record = json.loads((out / "record.json").read_text())
    assert set(record["g_mae"]) == set(record["g_mae_of_halves"]) == {"Cl-Cl", "Cl-Na", "Na-Na"}
    assert record["density"] == pytest.approx(record["density_data"])
    assert len(record["diffusion"]["Na"]) == 2
    assert record["nvt"]["ensemble"] == "nvt"


@pytest.mark.slow
def test_trajectories_of_the_model_itself_are_compared(potential, tmp_path):
    short = Dynamics(steps=10, interval=1, timestep=0.1)
    data = rattled(4, 0.02, seed=0, stress=None)
    found = validate(potential, data, short, tmp_path / "salt", {})
    assert isinstance(found, BulkValidation)
    assert found.formula == "Cl4Na4"
    assert found.bulk.stable_share == 1
    section = validation_section(found, tmp_path / "salt")
    values = {row["quantity"]: row["value"] for row in section.rows}
    assert "data no stress" in str(values["mean pressure"])
    assert "at least 10 for each of 5 blocks" in str(values["diffusion coefficients"])
    assert found.trajectories["nvt"]["ensemble"] == "nvt"


def test_data_that_cannot_be_compared_are_refused(potential, tmp_path):
    molecule = ase.Atoms("NaCl", [[0, 0, 0], [0, 0, 2.4]])

    def raises(frames, message):
        with pytest.raises(InputError, match=message):
            check_bulk(frames)
        with pytest.raises(InputError, match=message):
            validate(potential, frames, DYNAMICS, tmp_path / "a", {})
        assert not (tmp_path / "a").exists()

    raises([SALT], "at least 2, to estimate their error, but are 1")
    raises([SALT, molecule], "periodic in a cell with a volume, but frame 1 is not")
    raises([SALT, SALT * (2, 1, 1)], "of one periodic system, but frame 1 is")
