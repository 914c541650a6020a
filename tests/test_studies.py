"""Studies: what is trained, chosen, kept and written; on budgets of a few steps."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qiff._checks import InputError, RunError
from qiff._files import save_record
from qiff._workers import workers
from qiff.atoms.properties import labels
from qiff.cli import main
from qiff.hardware import Measurement
from qiff.model.build import skeleton
from qiff.model.predict import Prediction, enable_x64
from qiff.quantum.gate import PAULIS
from qiff.report.section import Claim, Section
from qiff.report.tables import spread
from qiff.run import tasks
from qiff.studies import hardware, le2023
from qiff.studies.hardware.errors import Errors, standard_error
from qiff.studies.hardware.models import SMALL_MODELS
from qiff.studies.harness import experiment, figures
from qiff.studies.harness.data import read_frames, shuffled
from qiff.studies.harness.experiment import Experiment, carry_out, carry_out_runs
from qiff.studies.harness.parts import QUICK, ExperimentsPart, StudySettings
from qiff.studies.harness.reproduce import reproduce, total_runs
from qiff.studies.harness.rows import error_row, ratio
from qiff.studies.le2023 import lih
from qiff.studies.le2023.families import (
    FAMILIES,
    expressibility,
    gradient_variance,
    spectrum,
)
from qiff.studies.le2023.lie_algebra import generators, lie_dimension
from qiff.training.settings import Training

TINY = StudySettings(seeds=(0,), steps=4, rates=(0.03,), quick=True)
MODEL = {"kind": "diatomic", "elements": ["Li", "H"], "n_layers": 1}


def of_lih(seed):
    return shuffled("bundled:lih", 8, 4, seed)


def silent(text):
    pass


@pytest.fixture
def tiny() -> Experiment:
    training = Training(steps=40, evaluate_every=20)
    return Experiment("tiny", MODEL, of_lih, training, rates=(1e-6, 0.03))


@pytest.mark.slow
def test_rate_is_chosen_by_validation_and_every_seed_is_tested(tiny, tmp_path, monkeypatch):
    seen = []
    outcome = carry_out(tiny, (0, 1), tmp_path, seen.append)
    losses = [
        float((folder / "history.csv").read_text().splitlines()[-1].split(",")[2])
        for folder in (tmp_path / "runs").glob("tiny-rate*-seed0")
    ]
    assert outcome.rate == 0.03
    assert len(losses) == 2
    assert [f.name for f in outcome.folders] == ["tiny-rate0.03-seed0", "tiny-rate0.03-seed1"]
    assert set(seen) == {"tiny-rate1e-06-seed0", "tiny-rate0.03-seed0", "tiny-rate0.03-seed1"}
    assert outcome.mean_square("test", "energy").shape == (2,)
    assert len(of_lih(0).tests["test"]) == 181 - 12

    def refuse(*arguments, **options):
        raise AssertionError("trained again")

    monkeypatch.setattr(tasks, "train", refuse)
    again = carry_out(tiny, (0, 1), tmp_path, silent)
    assert again.tests == outcome.tests  # nothing is trained twice
    with pytest.raises(AssertionError, match="trained again"):
        carry_out(tiny, (2,), tmp_path, silent)


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on(tiny, tmp_path):
    def stopped(text):
        if (tmp_path / "runs" / text / "state.npz").exists():
            raise KeyboardInterrupt

    tiny = replace(tiny, rates=(0.03,))
    with pytest.raises(KeyboardInterrupt):
        carry_out(tiny, (0,), tmp_path, stopped)
    outcome = carry_out(tiny, (0,), tmp_path, silent)
    fresh = carry_out(tiny, (0,), tmp_path / "fresh", silent)
    assert outcome.tests == fresh.tests


def test_runs_that_wait_for_no_other_are_trained_at_once(tiny, tmp_path, monkeypatch):
    """First what others start from, then every rate, then the other seeds at the best rate."""
    rounds = []

    def train_all(runs, show, map):
        assert map is shuffled_map
        runs = list(runs)
        rounds.append(sorted((Path(run.output).name, Path(run.start).parent.name) for run in runs))
        for run in runs:
            folder = Path(run.output)
            loss = run.train.learning_rate
            (folder / "history.csv").write_text(f"step,loss,valid_loss\n1,0,{loss}\n")
            save_record(folder / "metrics.json", {"seconds": 1.0})
            yield folder, ""

    monkeypatch.setattr(experiment, "train_all", train_all)
    shuffled_map = lambda function, items: map(function, items)
    first = replace(tiny, name="first", rates=(0.5,), n_seeds=1)
    tuned = [replace(tiny, name=name, rates=(0.1, 0.2), start=first) for name in ("a", "b")]
    carry_out_runs([first, *tuned, replace(tiny, name="c")], (0, 1), tmp_path, silent, shuffled_map)
    before = "first-rate0.5-seed0"
    assert rounds == [
        [("c-rate0.03-seed0", ""), ("c-rate1e-06-seed0", ""), (before, "")],
        [
            *((f"a-rate{rate}-seed0", before) for rate in (0.1, 0.2)),
            *((f"b-rate{rate}-seed0", before) for rate in (0.1, 0.2)),
            ("c-rate1e-06-seed1", ""),
        ],
        [("a-rate0.1-seed1", before), ("b-rate0.1-seed1", before)],
    ]


def test_a_run_of_a_study_that_fails_is_an_error(tiny, tmp_path, monkeypatch):
    failing = lambda runs, show, map: [(Path(run.output), "the loss is nan.") for run in runs]
    monkeypatch.setattr(experiment, "train_all", failing)
    with pytest.raises(RunError, match=r"tiny-rate1e-06-seed0: the loss is nan\."):
        carry_out_runs([tiny], (0,), tmp_path, silent)


@pytest.mark.slow
def test_a_study_in_workers_equals_one_in_this_process(tmp_path):
    pytest.importorskip("distributed")
    settings = replace(TINY, seeds=(0, 1), rates=(0.01, 0.03))
    show = lambda n_done, name: None
    reproduce(PARTS, ["tiny"], tmp_path / "one", settings, show)
    with workers(2) as found:
        reproduce(PARTS, ["tiny"], tmp_path / "other", settings, show, found)
    kept = lambda out, name: {
        path.parent.name: path.read_bytes() for path in out.glob(f"runs/*/{name}")
    }
    for name in ("history.csv", "tests.json"):
        assert len(kept(tmp_path / "one", name)) >= 2
        assert kept(tmp_path / "one", name) == kept(tmp_path / "other", name)


def test_samples_of_a_seed_are_disjoint_and_the_same_each_time():
    for seed in (0, 1):
        sample = shuffled("bundled:lih", 20, 5, seed, learned=(0, -1))
        lengths = lambda frames: {round(a.get_distance(0, 1), 6) for a in frames}
        known, test = lengths(sample.frames), lengths(sample.tests["test"])
        assert not known & test
        assert len(known) + len(test) == 181
        assert {0.9, 4.5} <= known
        assert lengths(shuffled("bundled:lih", 20, 5, seed, learned=(0, -1)).frames) == known
    assert lengths(of_lih(0).frames) != lengths(of_lih(1).frames)


def test_periodised_frames_are_mirror_images_with_opposite_forces():
    sample = lih._lih_sample(True, 0.0, 0)
    plain = lih._lih_sample(False, 0.0, 0)
    assert len(sample.frames) == 2 * len(plain.frames)
    for atoms, image in zip(sample.frames[::2], sample.frames[1::2], strict=True):
        assert np.isclose(atoms.get_distance(0, 1) + image.get_distance(0, 1), 9.0)
        assert labels(atoms)["energy"] == labels(image)["energy"]
        assert np.array_equal(labels(atoms)["forces"], -labels(image)["forces"])
    relevant = [labels(a)["energy"] for a in sample.tests["relevant"]]
    full = [labels(a)["energy"] for a in sample.tests["full"]]
    assert set(relevant) < set(full)
    assert max(relevant) <= labels(read_frames("bundled:lih")[-1])["energy"] < max(full)


def test_noise_is_in_the_energies_that_are_learned_and_nowhere_else():
    noisy, plain = (lih._lih_sample(False, sigma, 3) for sigma in (0.1, 0.0))
    energies = [[labels(a)["energy"] for a in s.frames] for s in (noisy, plain)]
    np.testing.assert_allclose(np.std(np.array(energies[0]) - energies[1]), 0.1, rtol=0.3)
    for name in ("full", "relevant"):
        one, other = ([labels(a)["energy"] for a in s.tests[name]] for s in (noisy, plain))
        assert one == other


# --- what is written --------------------------------------------------------------------------


def test_section_is_markdown_csv_and_figures(tmp_path):
    found = Section(
        "part",
        "A part",
        rows=[{"model": "one", "error": 1.5}, {"model": "two", "error": 2.5}],
        claims=[Claim("it holds", "it does", True), Claim("it is ten", "it is two", False)],
        figures={"curve": b"png"},
        notes=["A note."],
    )
    report = found.save(tmp_path, {"seeds": [0]})
    text = report.read_text()
    assert "| one | 1.5 |" in text
    assert "| it holds | it does | yes |" in text
    assert "| it is ten | it is two | no |" in text
    assert "![curve](curve.png)" in text
    assert (tmp_path / "part" / "curve.png").read_bytes() == b"png"
    with (tmp_path / "part" / "table.csv").open() as lines:
        assert [row["error"] for row in csv.DictReader(lines)] == ["1.5", "2.5"]


def test_spread_and_ratio():
    assert spread(np.array([1.0, 3.0])) == "2 ± 1.4"
    assert spread(np.array([1.0])) == "1"
    assert ratio(np.array([1.0, 3.0]), np.array([4.0])) == 0.5


def tiny_section(found):
    rows = [error_row(label, outcome, "test") for label, outcome in found.items()]
    claims = [Claim("it learns", "it does", True)]
    pictures = {"learning": figures.learning_curves(found)}
    return Section("tiny", "A tiny part", rows, claims, pictures)


def tiny_experiments(settings):
    return {"one": Experiment("one", MODEL, of_lih, settings.training(0.0), settings.rates)}


PARTS = {"tiny": ExperimentsPart(tiny_experiments, tiny_section), **le2023.PARTS}
SLOW_PARTS = [pytest.param(part, marks=pytest.mark.slow) for part in ("lih", "dimer-cut")]


@pytest.mark.parametrize("part", ["tiny", *SLOW_PARTS])
def test_reproduce_writes_reports_and_refuses_other_settings(part, tmp_path):
    seen = []
    reports = reproduce(PARTS, [part], tmp_path, TINY, lambda *args: seen.append(args))
    text = reports[part].read_text()
    assert "| claim | what we find | holds |" in text
    for name in ("table.csv", "record.json", "learning.png"):
        assert (tmp_path / part / name).exists()
    record = json.loads((tmp_path / part / "record.json").read_text())
    assert (record["steps"], record["rates"]) == (4, [0.03])
    with (tmp_path / part / "table.csv").open() as lines:
        assert {row["rate"] for row in csv.DictReader(lines)} == {"0.03"}  # of the settings alone
    assert {done for done, _ in seen} == set(range(total_runs(PARTS, [part], TINY)))
    with pytest.raises(InputError, match="holds runs with other settings"):
        reproduce(PARTS, [part], tmp_path, StudySettings(), lambda *args: None)


def test_mistakes_on_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", "le2032"]) == 2
    assert "did you mean `le2023`" in capsys.readouterr().err
    assert main(["reproduce", "le2023", "lih", "watr", "--quick"]) == 2
    assert "did you mean `water`" in capsys.readouterr().err
    monkeypatch.delenv("QIFF_DATA", raising=False)
    read_frames.cache_clear()
    assert main(["reproduce", "le2023", "water-demo", "--quick"]) == 2
    assert "set QIFF_DATA" in capsys.readouterr().err


def test_every_experiment_has_a_name_of_its_own():
    for settings in (StudySettings(), QUICK):
        studies = [part for part in le2023.PARTS.values() if isinstance(part, ExperimentsPart)]
        names = [e.name for s in studies for e in s.experiments(settings).values()]
        assert len(names) == len(set(names))


def test_every_experiment_of_le_et_al_has_a_model_that_can_be_built():
    studies = [part for part in le2023.PARTS.values() if isinstance(part, ExperimentsPart)]
    models = {
        str(e.model): e.model for s in studies for e in s.experiments(StudySettings()).values()
    }
    assert len(models) > 20
    for model in models.values():
        skeleton(model)
    with pytest.raises(InputError, match="cutof"):  # control
        skeleton({**models.popitem()[1], "cutof": 8.0})


# --- trainability -----------------------------------------------------------------------------


def test_lie_algebras_that_are_known():
    x, y, z = 1j * PAULIS
    assert lie_dimension([x, y]) == 3
    assert lie_dimension([z]) == 1
    assert lie_dimension([np.kron(x, np.eye(2)), np.kron(np.eye(2), z)]) == 2
    generic = FAMILIES["generic"]
    with enable_x64(True):
        assert lie_dimension(generators(generic, 3, encoding=False)) == 63
        symmetric = FAMILIES["symmetric"]
        chain = generators(symmetric, 3, encoding=False)
    assert len(chain) == 2
    assert lie_dimension(chain) == 4  # su(2) of two spin-½ multiplets, and a phase


def test_variance_of_gradients_falls_with_qubits_for_generic_circuits():
    generic = FAMILIES["generic"]
    two, six = (gradient_variance(generic, n, 8, 0) for n in (2, 6))
    assert two > 4 * six


def test_spectrum_ends_at_the_number_of_encodings():
    """Le et al. Eq. 2: a gate of half angle adds a frequency of at most one per encoding."""
    for family in FAMILIES.values():
        with enable_x64(True):
            amplitudes = spectrum(family, 2, 1, 0)
        assert np.all(amplitudes[5:] < 1e-9)
        assert amplitudes[1] > 1e-3


@pytest.mark.slow
def test_deep_circuits_are_expressive_and_shallow_ones_less():
    generic = FAMILIES["generic"]
    shallow, deep = (expressibility(generic, 4, depth, 0) for depth in (1, 6))
    assert deep < 0.1
    assert deep < shallow


# --- hardware ---------------------------------------------------------------------------------


def test_parts_of_the_hardware_study_are_checked(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", "hardware", "sots", "--quick"]) == 2
    assert "did you mean `shots`" in capsys.readouterr().err


def test_subjects_without_data_say_what_is_missing(tmp_path, monkeypatch):
    read_frames.cache_clear()
    monkeypatch.setenv("QIFF_DATA", str(tmp_path))
    assert "qiff data fetch rmd17" in SMALL_MODELS["ethanol local"].missing()
    assert SMALL_MODELS["LiH siVQLM"].missing() == ""


def measurement(energy, forces, variance):
    return Measurement(
        energy=energy,
        forces=forces,
        energy_error=0.1,
        covariance=variance * np.eye(forces.size),
        n_circuits=1,
        n_shots=1,
    )


def test_errors_of_measurements():
    exact = [Prediction(1.0, np.zeros((2, 3))), Prediction(2.0, np.ones((2, 3)))]
    found = [
        measurement(1.3, np.full((2, 3), 0.2), 0.01),
        measurement(1.6, np.ones((2, 3)), 0.04),
    ]
    errors = Errors(exact, found)
    np.testing.assert_allclose(errors.energies, [0.3, -0.4])
    np.testing.assert_allclose(errors.by_geometry, [0.2, 0.0])
    np.testing.assert_allclose([errors.energy, errors.forces], np.sqrt([0.125, 0.02]))
    assert errors.largest == pytest.approx(0.4)
    np.testing.assert_allclose(errors.in_errors[[0, 1, 7, 8]], [3, 2, 4, 0])
    assert standard_error(found) == pytest.approx(np.sqrt(0.025))


@pytest.mark.slow
def test_the_hardware_study_writes_a_report_and_keeps_what_is_done(tmp_path, monkeypatch):
    carry_out = lambda out: reproduce(hardware.PARTS, ["training"], out, TINY, lambda *args: None)
    text = carry_out(tmp_path / "one")["training"].read_text()
    assert "| shift rules, 100 shots | 20 |" in text
    monkeypatch.delattr(hardware.training, "_train")
    assert carry_out(tmp_path / "one")["training"].read_text() == text
    with pytest.raises(NameError, match="_train"):  # control: elsewhere nothing is done yet
        carry_out(tmp_path / "other")
