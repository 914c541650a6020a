"""Ensembles: members do not know of each other, their spread is calibrated and checked."""

import dataclasses
import json

import ase
import jax
import numpy as np
import pytest

import qiff
from qiff import InputError, RunError, Training
from qiff.atoms.data.dataset import labels, write
from qiff.cli import main
from qiff.model.build import build_ensemble_for
from qiff.run.config import Data, Run
from qiff.run.train import train
from qiff.training.calibration import Deviations, calibrated, reliability
from qiff.training.loss import Loss, relative

FRAMES = qiff.read(qiff.Source("bundled:lih"), need_forces=True)[::7]
LIH = {"kind": "diatomic", "elements": ["Li", "H"], "n_layers": 2}


@pytest.fixture(scope="module")
def ensemble():
    return build_ensemble_for(FRAMES, LIH, members=3, seed=5)


def test_energy_and_forces_are_the_means_of_the_members(ensemble):
    whole = qiff.predict(ensemble, FRAMES[0])
    members = [qiff.predict(member, FRAMES[0]) for member in ensemble.members]
    np.testing.assert_allclose(whole.energy, np.mean([m.energy for m in members]), rtol=1e-13)
    np.testing.assert_allclose(whole.forces, np.mean([m.forces for m in members], 0), atol=1e-12)
    assert abs(whole.energy - members[0].energy) > 1e-3  # control


def fitted(potential, training):
    train_part, valid_part = qiff.stack(FRAMES[:16]), qiff.stack(FRAMES[16:])
    return qiff.fit(
        qiff.initial_state(potential, training), train_part, valid_part, training, seed=2
    )


@pytest.mark.parametrize("gradient", ["derivative", pytest.param("spsa", marks=pytest.mark.slow)])
def test_members_trained_together_are_those_trained_alone(ensemble, gradient):
    """Clipping and Muon see one member at a time: the norms that they divide by are its own."""
    settings = {"clip": 0.1, "average": 0.5, "forces_weight": 0.0, "gradient": gradient}
    training = Training(6, 4, "muon", 0.01, **settings)
    together, losses = fitted(ensemble, training), []
    for n, start in enumerate(ensemble.members):
        alone = fitted(qiff.build_for(FRAMES, LIH, seed=5 + n), training)
        for name in ("potential", "average"):
            member = getattr(together.weights, name).members[n]
            found, expected = map(jax.tree.leaves, (member, getattr(alone.weights, name)))
            for a, b, before in zip(found, expected, jax.tree.leaves(start), strict=True):
                np.testing.assert_allclose(a, b, atol=1e-10)
                assert np.abs(a - before).max() > 1e-4  # control: they were trained
        losses.append(alone.history[0].loss)
    np.testing.assert_allclose(together.history[0].loss, np.mean(losses), rtol=1e-10)


def test_control_the_loss_of_the_mean_is_another_one(ensemble):
    frames = relative(qiff.stack(FRAMES), ensemble)
    loss = jax.jit(Loss({"energy": 1.0}))
    with qiff.precision(ensemble):
        of_mean, *alone = (float(loss(p, frames)) for p in (ensemble, *ensemble.members))
    assert of_mean < 0.99 * np.mean(alone)


# --- uncertainty ------------------------------------------------------------------------------


def test_uncertainty_is_the_spread_of_the_members_times_the_calibration(ensemble):
    scaled = qiff.Ensemble(ensemble.members, {"energy": 2.0, "forces": 3.0})
    members = [qiff.predict(member, FRAMES[1]) for member in ensemble.members]
    found = qiff.uncertainty(scaled, FRAMES[1])
    np.testing.assert_allclose(found.energy, 2 * np.std([m.energy for m in members], ddof=1))
    variance = np.var([m.forces for m in members], axis=0, ddof=1).mean(-1)
    np.testing.assert_allclose(found.forces, 3 * np.sqrt(variance))
    turned = FRAMES[1].copy()
    turned.rotate(40, [1, 2, 3])
    np.testing.assert_allclose(qiff.uncertainty(scaled, turned).forces, found.forces, rtol=1e-8)


def test_members_that_are_alike_are_certain_and_cannot_be_calibrated(ensemble):
    alike = qiff.Ensemble([ensemble.members[0]] * 3)
    certain, spread = (qiff.uncertainty(e, FRAMES[:2]) for e in (alike, ensemble))
    for none, some in zip(certain, spread, strict=True):
        np.testing.assert_allclose([none.energy, *none.forces], 0, atol=1e-9)
        assert min(some.energy, *some.forces) > 1e-3  # control
    with pytest.raises(InputError, match="must have members that differ in their energy"):
        qiff.calibrated(alike, FRAMES[:2])


def test_calibrated_spread_is_as_large_as_the_errors(ensemble):
    known = qiff.calibrated(ensemble, FRAMES)
    predictions, expected = qiff.predict(known, FRAMES), qiff.uncertainty(known, FRAMES)
    for label in ("energy", "forces"):
        errors = [
            getattr(p, label) - labels(a)[label] for p, a in zip(predictions, FRAMES, strict=True)
        ]
        spread = [getattr(u, label) for u in expected]
        np.testing.assert_allclose(np.mean(np.square(errors)), np.mean(np.square(spread)))
        assert known.calibration[label] != 1
    again = qiff.calibrated(known, FRAMES)
    np.testing.assert_allclose(list(again.calibration.values()), list(known.calibration.values()))


def test_without_forces_only_energies_are_calibrated(ensemble):
    frames = qiff.read(qiff.Source("bundled:lih"))[:24:6]
    for atoms in frames:
        del atoms.calc.results["forces"]
    factors = calibrated(ensemble, frames).calibration
    assert factors["forces"] == 1
    assert factors["energy"] != 1
    assert "forces_z_rms" not in qiff.evaluate(ensemble, frames)


def test_reliability_of_gaussian_errors():
    rng = np.random.default_rng(0)
    expected = np.exp(rng.normal(size=4000))
    errors = expected[:, None] * rng.normal(size=(4000, 3))
    good, narrow, blind = (
        reliability({"forces": Deviations(errors, sigma)})
        for sigma in (expected, expected / 2, rng.permutation(expected))
    )
    np.testing.assert_allclose(good["forces_coverage_1sigma"], 0.683, atol=0.01)
    np.testing.assert_allclose(good["forces_coverage_2sigma"], 0.954, atol=0.01)
    np.testing.assert_allclose(good["forces_z_rms"], 1, atol=0.02)
    assert good["forces_rank_correlation"] > 0.8
    np.testing.assert_allclose(narrow["forces_z_rms"], 2, atol=0.04)  # controls
    assert narrow["forces_coverage_1sigma"] < 0.5
    assert abs(blind["forces_rank_correlation"]) < 0.05


def test_reliability_of_almost_nothing_is_not_made_up():
    found = reliability({"energy": Deviations(np.zeros((2, 1)), np.zeros(2))})
    assert found["energy_coverage_1sigma"] == 1
    assert found["energy_z_rms"] is None
    assert found["energy_rank_correlation"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"potentials": [LIH]}, "`potentials` must be at least two, but are 1"),
        ({"potentials": [LIH, LIH | {"n_layers": 3}]}, "must differ in their weights alone"),
        ({"calibration": {"force": 1.0}}, "Calibration of `force` is not known; did you mean"),
        ({"calibration": {"forces": 0.0}}, r"`calibration\.forces` must be positive"),
        ({"calibration": {"forces": "a"}}, r"`calibration\.forces` must be float"),
    ],
)
def test_wrong_ensembles_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        qiff.build({"kind": "ensemble", "potentials": [LIH] * 2} | change, jax.random.key(0))


def test_a_single_potential_has_no_spread(ensemble):
    with pytest.raises(InputError, match="`potential` must be an ensemble"):
        qiff.uncertainty(ensemble.members[0], FRAMES[0])


def test_the_calculator_gives_standard_deviations_when_asked(ensemble):
    atoms = ase.Atoms(FRAMES[0].symbols, FRAMES[0].positions)
    atoms.calc = qiff.Calculator(ensemble)
    atoms.get_forces()
    assert "forces_std" not in atoms.calc.results
    found = atoms.calc.get_property("forces_std", atoms)
    np.testing.assert_allclose(found, qiff.uncertainty(ensemble, atoms).forces)
    assert atoms.calc.results["energy_std"] == qiff.uncertainty(ensemble, atoms).energy
    single = qiff.Calculator(ensemble.members[0])
    assert "forces_std" not in single.implemented_properties  # control


# --- a run ------------------------------------------------------------------------------------


def run(folder, model=LIH, **settings) -> Run:
    training = Training(
        40, 16, learning_rate=0.1, average=0.9, evaluate_every=20, forces_weight=0.0
    )
    data = Data("bundled:lih", train=40, valid=10, test=20)
    return Run(data, model, training, str(folder), **({"members": 3} | settings))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensemble") / "run"
    train(run(folder))
    return folder


def test_a_run_trains_calibrates_and_checks_an_ensemble(trained, capsys):
    potential = qiff.load(trained / "model.qiff")
    assert isinstance(potential, qiff.Ensemble)
    assert len(potential.members) == 3
    frames = qiff.read(qiff.Source("bundled:lih"))
    parts = json.loads((trained / "split.json").read_text())
    valid, test = ([frames[i] for i in parts[name]] for name in ("valid", "test"))
    again = calibrated(potential, valid)
    assert again.calibration == pytest.approx(potential.calibration, rel=1e-6)
    metrics = json.loads((trained / "metrics.json").read_text())
    found = qiff.evaluate(potential, test)
    assert found.keys() == metrics["test"].keys()
    for name, value in found.items():
        assert metrics["test"][name] == (value and pytest.approx(value, rel=1e-6)), name
    assert [name for name, value in found.items() if value is None] == ["stress_mae", "stress_rmse"]
    assert 0 < metrics["test"]["forces_coverage_1sigma"] <= 1
    assert (trained / "uncertainty.png").read_bytes().startswith(b"\x89PNG")
    assert main(["report", str(trained)]) == 0
    assert "rank_correlation" in capsys.readouterr().out


def test_a_run_that_was_stopped_ends_bit_for_bit_the_same(trained, tmp_path):
    def interrupt(state):
        if state.step == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(run(tmp_path / "run"), after_validation=interrupt)
    train(run(tmp_path / "run"), resume=True)
    for name in ("model.qiff", "last.qiff"):
        once, twice = (qiff.load(folder / name) for folder in (trained, tmp_path / "run"))
        assert once.calibration == twice.calibration
        assert all(map(np.array_equal, *map(jax.tree.leaves, (once, twice))))


def test_its_circuits_are_those_of_all_members(trained, capsys):
    potential, atoms = qiff.load(trained / "model.qiff"), FRAMES[3]
    found = qiff.hardware.estimate(potential, atoms, qiff.hardware.Exact())
    wanted = qiff.predict(potential, atoms)
    np.testing.assert_allclose(found.energy, wanted.energy, atol=1e-9)
    np.testing.assert_allclose(found.forces, wanted.forces, atol=1e-9)
    single = qiff.hardware.estimate(potential.members[0], atoms, qiff.hardware.Exact())
    assert found.n_circuits == 3 * single.n_circuits
    assert main(["info", str(trained / "model.qiff")]) == 0
    shown = capsys.readouterr().out
    assert "3 members" in shown
    assert "12 spin" in shown


def test_predictions_of_an_ensemble_come_with_standard_deviations(trained, tmp_path):
    write(tmp_path / "in.xyz", qiff.read(qiff.Source("bundled:lih"))[:2])
    model, target = trained / "model.qiff", tmp_path / "out.xyz"
    assert main(["predict", str(model), str(tmp_path / "in.xyz"), str(target)]) == 0
    for atoms in qiff.read(qiff.Source(str(target))):
        expected = qiff.uncertainty(qiff.load(model), atoms)
        np.testing.assert_allclose(atoms.info["energy_std"], expected.energy, rtol=1e-5)
        np.testing.assert_allclose(atoms.arrays["forces_std"], expected.forces, rtol=1e-5)


def test_mistakes_in_a_run(tmp_path):
    with pytest.raises(InputError, match="`members` must be at least 1, but is 0"):
        run(tmp_path, members=0)
    with pytest.raises(InputError, match="`seed` must be at least 0 and below"):
        run(tmp_path, seed=2**63 - 2)
    nested = {"kind": "ensemble", "potentials": [LIH, LIH]}
    with pytest.raises(InputError, match=r"Model `ensemble`: .* set `members`"):
        train(run(tmp_path / "run", nested, members=1))
    diverging = Training(2, 8, learning_rate=1e300, clip=1e300, forces_weight=0.0)
    with pytest.raises(RunError, match="became nan or infinite"):
        train(dataclasses.replace(run(tmp_path / "run"), train=diverging))
