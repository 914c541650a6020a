"""The study of Couzinié et al. 2025: what is trained on what, and what is made of the errors."""

import json

import numpy as np
import pytest

import qiff
from qiff.atoms.data.rmd17 import MOLECULES
from qiff.atoms.properties import labels
from qiff.model.predict import Prediction
from qiff.report.figures import parity_figure
from qiff.studies import couzinie2025
from qiff.studies.couzinie2025 import controls, learning_curve, transfer
from qiff.studies.harness.data import read_frames
from qiff.studies.harness.experiment import Experiment, Outcome
from qiff.studies.harness.parts import QUICK, ExperimentsPart, StudySettings
from qiff.studies.harness.reproduce import reproduce, total_runs
from qiff.training.settings import Training

from .rmd17_folders import TEST, TRAIN, write_parts

TINY = StudySettings(seeds=(0,), steps=2, quick=True)
MODEL = {"kind": "triatomic", "elements": ["O", "H", "H"], "n_layers": 1}


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("QIFF_DATA", str(write_parts(tmp_path / "data")))
    read_frames.cache_clear()
    yield
    read_frames.cache_clear()


def outcome(experiment: Experiment, folder, by_seed) -> Outcome:
    """An outcome with these errors, in meV and meV/Å, as if it had been trained."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps({"n_weights": 7, "seconds": 1.5}))
    tests = []
    for energy, forces in by_seed:
        names = {"energy": energy, "energy_shifted": energy / 2, "forces": forces}
        errors = {f"{n}_{kind}": e / 1000 for n, e in names.items() for kind in ("mae", "rmse")}
        tests.append({"test": errors})
    n = len(tests)
    return Outcome(experiment, 0.01, tuple(range(n)), (folder,) * n, tuple(tests))


def outcomes(part, tmp_path, forces, settings=StudySettings()):  # noqa: B008 (frozen)
    """Every experiment of a part with the errors that `forces` gives for its label and seed."""
    return {
        label: outcome(e, tmp_path / e.name, [(2.0, forces(label, s)) for s in range(3)])
        for label, e in part.experiments(settings).items()
    }


def test_samples_learn_from_the_training_part_and_are_tested_on_the_other(monkeypatch):
    monkeypatch.setattr(learning_curve, "N_VALID", 5)
    first, again, other = (learning_curve.sample("ethanol", 10, seed) for seed in (0, 0, 1))
    energies = lambda frames: [labels(atoms)["energy"] for atoms in frames]
    assert len(first.frames) == 15
    assert {atoms.info["part"] for atoms in first.frames} == {"train"}
    assert len(first.tests["test"]) == len(TEST)
    assert {atoms.info["part"] for atoms in first.tests["test"]} == {"test"}
    assert energies(first.frames) == energies(again.frames) != energies(other.frames)
    larger = learning_curve.sample("ethanol", 20, 0)
    assert set(energies(first.frames)) < set(energies(larger.frames))


def test_the_molecule_left_out_is_tested_on_and_not_learned_from(monkeypatch):
    def tell(path):
        return [(path, n) for n in range(len(TRAIN))]

    monkeypatch.setattr(transfer, "read_frames", tell)
    sample = transfer.all_but("toluene", 12, 3)
    learned = {path for path, _ in sample.frames}
    assert learned == {f"rmd17:{m}/train" for m in MOLECULES if m != "toluene"}
    assert len(sample.frames) == len(set(sample.frames)) == 9 * (12 + transfer.N_VALID_EACH)
    assert sample.n_valid == 9 * transfer.N_VALID_EACH
    assert {path for path, _ in sample.tests["test"]} == {"rmd17:toluene/test"}


@pytest.mark.parametrize("settings", [StudySettings(), QUICK])
def test_every_experiment_has_a_name_and_a_model_that_can_be_built(settings):
    parts = {
        name: part.experiments(settings)
        for name, part in couzinie2025.PARTS.items()
        if isinstance(part, ExperimentsPart)
    }
    assert parts.keys() == couzinie2025.PARTS.keys()
    names = [e.name for experiments in parts.values() for e in experiments.values()]
    assert len(names) == len(set(names))
    total = total_runs(couzinie2025.PARTS, list(parts), settings)
    assert total >= len(names)
    if settings.quick:
        assert total == len(names)
        steps = {e.training.steps for found in parts.values() for e in found.values()}
        assert steps == {settings.steps}


def test_exponents_of_power_laws():
    sizes = np.array([50, 100, 200, 400])
    exact = learning_curve.exponent(sizes.tolist(), (300 * sizes**-0.7).tolist())
    assert exact.value == pytest.approx(0.7)
    assert exact.half_width < 1e-6
    errors = 300 * sizes**-0.7 * [1.2, 0.8, 1.2, 0.8]
    noisy = learning_curve.exponent(sizes.tolist(), errors.tolist())
    assert noisy.half_width > 0.1
    assert str(learning_curve.Exponent(0.7, 0.05)) == "0.70 ± 0.05"


def test_learning_curves_are_judged_by_their_slopes(tmp_path):
    def forces(label, seed):
        model, size = label.split(", ")
        return (1 + 0.01 * seed) * (300 * int(size) ** -0.8 if model == "local" else 50.0)

    part = learning_curve.LEARNING_CURVES["learning-curve-aspirin"]
    section = part.section(outcomes(part, tmp_path, forces))
    assert section.name == "learning-curve-aspirin"
    assert len(section.rows) == 3 * len(learning_curve.SIZES)
    assert len(section.claims) == 3
    assert all(claim.holds for claim in section.claims)
    assert sum("power −(0.80" in claim.finding for claim in section.claims) == 1
    assert section.figures["curves"].startswith(b"\x89PNG")
    swapped = part.section(
        outcomes(
            part, tmp_path, lambda label, seed: forces(label.replace("local", "revised"), seed)
        )
    )
    ours = [claim for claim in swapped.claims if "(ours)" in claim.claim]
    assert not any(claim.holds for claim in ours)  # control: a flat curve is no power law


def test_baselines_are_repeated_on_one_molecule():
    seeds = {
        name: {label: e.n_seeds for label, e in part.experiments(StudySettings()).items()}
        for name, part in learning_curve.LEARNING_CURVES.items()
    }
    assert seeds["learning-curve-ethanol"]["revised, 50"] is None
    assert seeds["learning-curve-aspirin"]["revised, 50"] == 1
    assert seeds["learning-curve-aspirin"]["local, 50"] is None
    assert seeds["learning-curve-aspirin"]["local, 400"] == 1


def test_controls_are_a_table(tmp_path):
    found = outcomes(controls.CONTROLS, tmp_path, lambda label, seed: 10.0)
    section = controls.CONTROLS.section(found)
    assert [row["model"] for row in section.rows] == list(controls.MODELS)
    assert section.rows[0]["forces MAE (meV/Å)"] == "10 ± 0"


def test_transfer_compares_fine_tuning_with_a_start_from_scratch(tmp_path):
    errors = {"zero-shot": 900.0, "fine-tuned": 30.0, "from scratch": 45.0}
    part = transfer.TRANSFER
    section = part.section(outcomes(part, tmp_path, lambda label, _: errors[label.split(", ")[1]]))
    held_out = len(transfer.HELD_OUT)
    assert len(section.rows) == held_out * (1 + 2 * len(transfer.SIZES))
    zero_shot, tuned, *_ = section.rows
    assert zero_shot["energy MAE (meV)"] == "–"
    assert zero_shot["energy MAE up to a constant (meV)"] == "1 ± 0"
    assert tuned["energy MAE (meV)"] == "2 ± 0"
    better = [claim for claim in section.claims if "fine-tuning is better" in claim.claim]
    assert len(better) == held_out * len(transfer.SIZES)
    assert all(c.holds and "30.0 instead of 45.0" in c.finding for c in better)
    errors["fine-tuned"] = 50.0
    worse = part.section(outcomes(part, tmp_path, lambda label, _: errors[label.split(", ")[1]]))
    assert not any(c.holds for c in worse.claims if "fine-tuning is better" in c.claim)


def test_molecules_of_different_sizes_share_a_parity_figure():
    frames = [qiff.read(qiff.Source(f"bundled:{name}"))[0] for name in ("water", "lih")]
    predictions = [Prediction(labels(a)["energy"], labels(a)["forces"]) for a in frames]
    assert parity_figure({"test": (predictions, frames)}).startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_quick_transfer_is_carried_out(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "MODEL", MODEL)
    monkeypatch.setattr(transfer, "SIZES", (4,))
    of_energies = lambda steps: Training(steps, 4, forces_weight=0.0)  # compiles faster
    monkeypatch.setattr(transfer, "training", of_energies)
    monkeypatch.setattr(learning_curve, "N_VALID", 2)
    seen = []
    show = lambda *args: seen.append(args)
    reports = reproduce(couzinie2025.PARTS, ["transfer"], tmp_path / "out", TINY, show)
    text = reports["transfer"].read_text()
    assert "| ethanol | fine-tuned | 4 |" in text
    assert "| claim | what we find | holds |" in text
    runs = tmp_path / "out" / "runs"
    before = runs / "all-but-ethanol-rate0.01-seed0" / "model.qiff"
    config = qiff.read_config(runs / "ethanol-fine-tuned-4-rate0.01-seed0" / "config.toml")
    assert config.start == str(before)
    scratch = qiff.read_config(runs / "ethanol-from-scratch-4-rate0.01-seed0" / "config.toml")
    assert scratch.start == ""
    assert {done for done, _ in seen} == {0, 1, 2}
