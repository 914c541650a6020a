"""Training: learns, is deterministic, resumes bit for bit, stops where it should."""

import csv
import dataclasses
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from optax import contrib

import qiff
from qiff import InputError, RunError, Training
from qiff.atoms.data.dataset import write
from qiff.atoms.data.split import Split
from qiff.atoms.frames import Frames
from qiff.atoms.properties import labels
from qiff.model.build import build_for, with_references_of
from qiff.model.derivatives import energy
from qiff.quantum.engine import ENGINES
from qiff.run.config import Data, Run
from qiff.run.folder import FILES, RunFolder
from qiff.run.resume import progress
from qiff.run.train import train
from qiff.training import optimisers
from qiff.training.batches import pieces, steps_at_once, taken
from qiff.training.checkpoint import PREFIX, read_arrays
from qiff.training.comparison import compared
from qiff.training.fit import HistoryRow, _validate, fit, initial_state
from qiff.training.loss import Loss, relative
from qiff.training.metrics import errors
from qiff.training.migrations import FORMAT
from qiff.training.optimisers import OPTIMISERS, clipped

FRAMES = qiff.read(qiff.Source("bundled:lih"))
MODEL = {"kind": "diatomic", "elements": ["Li", "H"], "n_layers": 2}


def run(folder, steps=80, seed=0, **training) -> Run:
    settings = {"steps": steps, "batch_size": 16, "evaluate_every": 20, "learning_rate": 0.1}
    settings |= {"average": 0.9, "forces_weight": 0.0}  # forces compile three times as long
    return Run(
        data=Data("bundled:lih", train=40, valid=10, test=20),
        model=MODEL,
        train=Training(**(settings | training)),
        output=str(folder),
        seed=seed,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "lih"
    train(run(folder))
    return folder


def same_weights(a, b) -> bool:
    return all(map(np.array_equal, *(jax.tree.leaves(qiff.load(path)) for path in (a, b))))


def test_run_folder_is_complete(trained):
    assert {path.name for path in trained.iterdir()} == set(FILES) - {"uncertainty.png"}
    metrics = json.loads((trained / "metrics.json").read_text())
    for part, n_frames in (("train", 40), ("valid", 10), ("test", 20)):
        found = metrics[part]
        assert found["n_frames"] == n_frames
        for name in ("energy_mae", "energy_rmse", "forces_mae", "forces_rmse"):
            assert 0 < found[name] < 10
    assert metrics["n_weights"] == sum(
        w.size for w in jax.tree.leaves(qiff.load(trained / "model.qiff"))
    )
    assert metrics["steps"] == 80
    assert metrics["seconds"] > 0
    config = tomllib.loads((trained / "config.toml").read_text())
    assert {"qiff", "jax"} <= config["provenance"]["versions"].keys()
    assert len(config["provenance"]["data_sha256"]) == 64
    parts = json.loads((trained / "split.json").read_text())
    assert sum(map(len, parts.values())) == 70
    rows = list(csv.DictReader((trained / "history.csv").open()))
    assert [row["step"] for row in rows] == ["20", "40", "60", "80"]
    assert all(0 < float(row["energy_mae"]) < float(row["energy_rmse"]) for row in rows)
    assert re.search(r"step 80 .*  energy \d+ meV", (trained / "train.log").read_text())
    for name in ("parity.png", "learning.png"):
        assert (trained / name).read_bytes().startswith(b"\x89PNG")
    assert "Predictions on the test part" in (trained / "report.html").read_text()


def test_energies_of_the_training_part_have_no_mean_error(trained):
    parts = json.loads((trained / "split.json").read_text())
    frames = [qiff.read(qiff.Source("bundled:lih"))[i] for i in parts["train"]]
    means = []
    for name in ("model.qiff", "last.qiff"):
        predictions = qiff.predict(qiff.load(trained / name), frames)
        pairs = zip(predictions, frames, strict=True)
        means.append(np.mean([p.energy - a.get_potential_energy() for p, a in pairs]))
    assert abs(means[0]) < 1e-9
    assert abs(means[1]) > 1e-6  # control: the fit alone leaves one


def test_same_seed_same_model_other_seed_other_model(trained, tmp_path):
    train(run(tmp_path / "same"))
    train(run(tmp_path / "other", seed=1))
    assert same_weights(trained / "model.qiff", tmp_path / "same" / "model.qiff")
    assert not same_weights(trained / "model.qiff", tmp_path / "other" / "model.qiff")


def test_interrupted_and_resumed_is_bit_for_bit_the_same(trained, tmp_path):
    def interrupt(state):
        if state.step == 40:
            raise KeyboardInterrupt

    config = run(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        train(config, after_validation=interrupt)
    seen = []
    train(config, resume=True, after_validation=lambda state: seen.append(state.step))
    assert seen == [40, 60, 80]
    for name in ("model.qiff", "last.qiff"):
        assert same_weights(trained / name, tmp_path / "run" / name)
    table = lambda folder: (folder / "history.csv").read_text()
    assert table(trained) == table(tmp_path / "run")
    metrics = lambda folder: json.loads((folder / "metrics.json").read_text())["test"]
    assert metrics(trained) == metrics(tmp_path / "run")


def test_the_state_of_an_earlier_format_is_one_clear_line(tmp_path):
    config, folder = run(tmp_path / "run", steps=20), tmp_path / "run"
    train(config)
    header, arrays = read_arrays(folder / "state.npz")
    members: Any = {**arrays, "header": json.dumps(header | {"format": f"{PREFIX}{FORMAT - 1}"})}
    np.savez(folder / "state.npz", **members)
    qiff.rewrite_checksum(folder / "state.npz")
    with pytest.raises(InputError, match=rf"is of format {FORMAT - 1}, but .* reads {FORMAT};"):
        train(config, resume=True)


def test_resume_before_the_first_checkpoint_starts_afresh(trained, tmp_path):
    def interrupt(state):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(run(tmp_path / "run"), after_validation=interrupt)
    train(run(tmp_path / "run"), resume=True)
    assert same_weights(trained / "model.qiff", tmp_path / "run" / "model.qiff")


def test_a_run_is_not_replaced_by_accident(trained):
    before = {path.name: path.read_bytes() for path in trained.iterdir()}
    with pytest.raises(InputError, match=r"already holds a run; .*--resume.*--overwrite"):
        train(run(trained))
    with pytest.raises(InputError, match=r"cannot resume, `train\.steps` is not what"):
        train(run(trained, steps=90), resume=True)
    with pytest.raises(InputError, match="holds no run to resume"):
        train(run(trained / "none"), resume=True)
    assert before == {path.name: path.read_bytes() for path in trained.iterdir()}


def test_other_data_cannot_be_resumed_with(trained, tmp_path):
    path = tmp_path / "lih.xyz"
    write(path, qiff.read(qiff.Source("bundled:lih")))
    config = Run(Data(str(path), train=40, valid=10, test=20), MODEL, output=str(tmp_path / "run"))
    with pytest.raises(KeyboardInterrupt):
        train(config, after_validation=_interrupt)
    write(path, qiff.read(qiff.Source("bundled:lih"))[::-1])
    with pytest.raises(InputError, match="is not the data that the run"):
        train(config, resume=True)


def _interrupt(state):
    raise KeyboardInterrupt


def test_a_folder_has_a_config_only_when_it_has_a_split(tmp_path, monkeypatch):
    """So whatever moment a run is killed at, it is resumed or begun with all of its files."""
    written, folder = [], RunFolder(tmp_path / "run")
    monkeypatch.setattr(
        "qiff.run.folder.atomic_write", lambda path, content: written.append(path.name)
    )
    folder.begin(run(tmp_path / "run"), Split(*[np.arange(2)] * 3))
    assert written == ["split.json", "config.toml"]
    folder.path.mkdir()
    (folder.path / "split.json").touch()
    folder.check_free()


@pytest.mark.parametrize(
    "changes",
    [
        {"history": None},
        {"history": [[1]]},
        {"history": [[1, 2, "x", 4, {}]]},
        {"history": [[1e999, 2, 3, 4, {}]]},
        {"history": [[1, 2, 3, {}]]},
        {"history": {"a": 1}},
        {"seconds": "long"},
    ],
)
def test_a_state_whose_history_was_edited_is_one_clear_line(changes):
    header = {"history": [[20, 0.5, 0.4, 0.01, {"energy_mae": 0.1}]], "seconds": 3}
    row = HistoryRow(20, 0.5, 0.4, 0.01, {"energy_mae": 0.1})
    assert progress(header, Path("state.npz")) == ((row,), 3.0)
    with pytest.raises(InputError, match=r"state\.npz: has no history that can .*anew"):
        progress(header | changes, Path("state.npz"))


# --- fine-tuning ------------------------------------------------------------------------------


def test_fine_tuning_starts_from_the_weights_of_a_model(trained, tmp_path):
    start = trained / "model.qiff"
    config = dataclasses.replace(
        run(tmp_path / "run", steps=1, evaluate_every=1, learning_rate=1e-9), start=str(start)
    )
    train(config)
    for before, after in zip(leaves(start), leaves(tmp_path / "run" / "model.qiff"), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-8)
    fresh = jax.tree.leaves(qiff.build(MODEL, jax.random.key(0)))
    assert max(np.abs(a - b).max() for a, b in zip(fresh, leaves(start), strict=True)) > 1e-3
    train(config, resume=True)
    start_of_another = dataclasses.replace(config, start=str(tmp_path / "copy.qiff"))
    (tmp_path / "copy.qiff").write_bytes(start.read_bytes())
    with pytest.raises(InputError, match="cannot resume, `start` is not what"):
        train(start_of_another, resume=True)


def test_reference_energies_move_to_the_frames_that_are_fine_tuned_on(trained):
    frames = qiff.read(qiff.Source("bundled:lih"))[::10]
    for atoms in frames:
        labels(atoms)["energy"] += 100.0
    potential = qiff.load(trained / "model.qiff")
    assert isinstance(potential, qiff.ScaleShift)
    moved = with_references_of(potential, frames)
    off = [
        np.mean([p.energy - labels(a)["energy"] for p, a in zip(found, frames, strict=True)])
        for found in (qiff.predict(potential, frames), qiff.predict(moved, frames))
    ]
    assert abs(off[1]) < 1e-8
    assert abs(off[0]) > 90  # control


@pytest.mark.slow
def test_an_ensemble_starts_from_the_weights_of_each_member(tmp_path):
    config = dataclasses.replace(run(tmp_path / "first", steps=2), members=2)
    train(config)
    start = tmp_path / "first" / "model.qiff"
    states = []
    again = dataclasses.replace(config, start=str(start), output=str(tmp_path / "second"))
    train(again, after_validation=states.append)
    before, begun = qiff.load(start), states[0].best
    for one, other, another in zip(
        before.members, begun.members, before.members[::-1], strict=True
    ):
        weights = jax.tree.leaves(one)
        assert all(map(np.array_equal, weights, jax.tree.leaves(other)))
        assert not all(map(np.array_equal, weights, jax.tree.leaves(another)))  # control


def test_models_that_cannot_be_started_from_are_refused(trained, tmp_path):
    fine = dataclasses.replace(run(tmp_path / "run"), start=str(trained / "model.qiff"))
    with pytest.raises(InputError, match=r"but its `n_layers` is 2, not 3"):
        train(dataclasses.replace(fine, model=MODEL | {"n_layers": 3}))
    qiff.save(qiff.build(MODEL, jax.random.key(0)), tmp_path / "bare.qiff")
    with pytest.raises(InputError, match="must be a model that `qiff train` wrote"):
        train(dataclasses.replace(fine, start=str(tmp_path / "bare.qiff")))
    with pytest.raises(InputError, match="no such file"):
        train(dataclasses.replace(fine, start=str(tmp_path / "none.qiff")))
    with pytest.raises(InputError, match="as many members as the run, 2, but has 1"):
        train(dataclasses.replace(fine, members=2))
    assert not (tmp_path / "run").exists()


def test_a_start_that_was_replaced_cannot_be_resumed_with(trained, tmp_path):
    start = tmp_path / "start.qiff"
    start.write_bytes((trained / "model.qiff").read_bytes())
    config = dataclasses.replace(run(tmp_path / "run", steps=2), start=str(start))
    with pytest.raises(KeyboardInterrupt):
        train(config, after_validation=_interrupt)
    qiff.save(jax.tree.map(lambda weights: 2 * weights, qiff.load(start)), start)
    with pytest.raises(InputError, match="is not the model that the run in"):
        train(config, resume=True)


def test_nan_stops_with_a_message_and_the_last_good_model(tmp_path, monkeypatch):
    folder = tmp_path / "run"

    def poison(state):
        if state.step == 20:
            monkeypatch.setattr("qiff.training.fit._validate", lambda *args: (np.nan, {}))

    with pytest.raises(RunError, match="became nan or infinite between steps 20 and 40"):
        train(run(folder), after_validation=poison)
    assert np.all(np.isfinite(np.concatenate([np.ravel(w) for w in leaves(folder / "model.qiff")])))
    assert not (folder / "metrics.json").exists()


def leaves(path):
    return jax.tree.leaves(qiff.load(path))


def test_divergence_is_seen_by_the_loss_itself(tmp_path):
    with pytest.raises(RunError, match="between steps 0 and 20"):
        train(run(tmp_path / "run", learning_rate=1e300, clip=1e300))


def test_early_stopping_and_best_is_kept(tmp_path):
    metrics = train(run(tmp_path / "run", steps=400, learning_rate=2.0, patience=2))
    assert metrics["steps"] < 400
    rows = list(csv.DictReader((tmp_path / "run" / "history.csv").open()))
    losses = [float(row["valid_loss"]) for row in rows]
    assert len(losses) - 1 - int(np.argmin(losses)) == 2
    best, last = (qiff.load(tmp_path / "run" / name) for name in ("model.qiff", "last.qiff"))
    frames = qiff.read(qiff.Source("bundled:lih"))
    found = {
        name: errors(qiff.predict(p, frames), frames) for name, p in (("b", best), ("l", last))
    }
    assert found["b"] != found["l"]


@pytest.mark.parametrize(("average", "share"), [(0.0, 0.0), (0.9999, 0.3)])
def test_a_slow_average_soon_forgets_what_the_weights_began_as(average, share):
    frames = qiff.read(qiff.Source("bundled:lih"))[::7]
    training = Training(60, 8, learning_rate=0.03, average=average, forces_weight=0.0)
    start = initial_state(qiff.build_for(frames, MODEL, seed=0), training)
    parts = qiff.stack(frames[:16]), qiff.stack(frames[16:])
    weights = fit(start, *parts, training, seed=0).weights
    far = lambda other: np.linalg.norm(
        np.concatenate(jax.tree.leaves(jax.tree.map(np.subtract, weights.potential, other)), None)
    )
    # a constant decay would leave 0.9999**60, more than 99 %
    assert far(weights.average) <= share * far(start.weights.potential)


def test_a_short_training_beats_the_mean_by_far(trained):
    energies = [labels(atoms)["energy"] for atoms in qiff.read(qiff.Source("bundled:lih"))]
    deviation = np.abs(np.array(energies) - np.mean(energies)).mean()
    metrics = json.loads((trained / "metrics.json").read_text())
    assert metrics["test"]["energy_mae"] < 0.5 * deviation


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.0, 1.0)])
def test_training_on_forces_lowers_their_error(trained, tmp_path, weights):
    energy_weight, forces_weight = weights
    config = run(tmp_path / "run", energy_weight=energy_weight, forces_weight=forces_weight)
    forces_mae = train(config)["test"]["forces_mae"]
    assert forces_mae < json.loads((trained / "metrics.json").read_text())["test"]["forces_mae"]


def test_frames_without_forces_serve_energy_training_alone(tmp_path):
    frames = qiff.read(qiff.Source("bundled:lih"))
    for atoms in frames:
        del labels(atoms)["forces"]
    stacked = qiff.stack(frames, "float64")
    potential = qiff.ScaleShift(
        qiff.build(MODEL, jax.random.key(0)),
        qiff.ScaleShiftSettings(scale=1.0, reference_energies={"Li": -200.0, "H": -10.0}),
    )
    alone = Training(steps=2, forces_weight=0.0)
    assert fit(initial_state(potential, alone), stacked, stacked, alone, seed=0).step == 2
    assert errors(qiff.predict(potential, frames), frames)["forces_mae"] is None
    with pytest.raises(InputError, match="must have forces"):
        fit(
            initial_state(potential, Training(steps=2)), stacked, stacked, Training(steps=2), seed=0
        )


def test_a_property_without_labels_cannot_be_learned(trained, tmp_path):
    config = run(tmp_path / "run", stress_weight=1.0)
    message = r"no frame of the train part has stress to .* `train\.stress_weight` to 0"
    with pytest.raises(InputError, match=message):
        train(config)
    assert not (tmp_path / "run").exists()
    potential, stacked = qiff.load(trained / "model.qiff"), qiff.stack(FRAMES[:4])
    with pytest.raises(InputError, match=r"must have stress to learn from.*`stress_weight` to 0"):
        Loss({"energy": 1.0, "stress": 1.0})(potential, stacked)
    with qiff.precision(potential):
        assert Loss({"energy": 1.0, "stress": 0.0})(potential, stacked) > 0  # control
        labelled = Frames(stacked.graph, {**stacked.labels, "stress": np.zeros((4, 6))})
        with pytest.raises(InputError, match="`stress_weight` must be 0: without a cell"):
            Loss({"stress": 1.0})(potential, labelled)


@pytest.mark.parametrize(
    "weights", [{"energy": 2.0}, {"forces": 3.0}, {"energy": 2.0, "forces": 3.0}]
)
def test_the_loss_is_a_weighted_sum_of_mean_squares(trained, weights):
    potential, frames = qiff.load(trained / "model.qiff"), FRAMES[:5]
    both = compared(qiff.predict(potential, frames), frames)
    off = {key: np.array(both[key].errors) for key in weights}
    stacked, loss = relative(qiff.stack(frames), potential), Loss(weights)
    with qiff.precision(potential):
        valid_loss, errors = loss.validation(loss.sums(potential, stacked))
        found = [float(loss(potential, stacked)), valid_loss]
    squares = [w * np.mean(off[key] ** 2) for key, w in weights.items()]
    absolutes = [w * np.mean(np.abs(off[key])) ** 2 for key, w in weights.items()]
    np.testing.assert_allclose(found, [sum(squares), sum(absolutes)], rtol=1e-8)
    assert abs(found[0] - found[1]) > 1e-3 * found[0]  # control: they are not the same
    metrics = qiff.evaluate(potential, frames)
    assert {*errors} == {f"{key}_{name}" for key in weights for name in ("mae", "rmse")}
    for name, value in errors.items():
        assert float(value) == pytest.approx(metrics[name], rel=1e-8)


def test_large_errors_count_linearly_with_huber(trained):
    potential, frames = qiff.load(trained / "model.qiff"), FRAMES[:5]
    both = compared(qiff.predict(potential, frames), frames)
    weights, expected, delta = {"energy": 2.0, "forces": 3.0}, 0.0, 1.5
    for key, weight in weights.items():
        size = weight**0.5 * np.abs(both[key].errors)
        assert (size < delta).any()
        assert (size > delta).any()
        expected += np.where(size < delta, size**2, 2 * delta * size - delta**2).mean()
    stacked = relative(qiff.stack(frames), potential)
    with qiff.precision(potential):
        found = [float(Loss(weights, huber=d)(potential, stacked)) for d in (delta, 1e9, 0.0)]
    np.testing.assert_allclose(found[0], expected, rtol=1e-8)
    np.testing.assert_allclose(found[1], found[2], rtol=1e-8)
    assert found[0] < 0.9 * found[2]  # control: squares are not the same


@pytest.mark.parametrize("per_atom", [True, False])
def test_references_that_fit_a_batch_are_those_of_least_squares(per_atom):
    frames = qiff.read(qiff.Source("bundled:organic"))[:60:3]
    model = {"kind": "local", "elements": ["H", "C", "N", "O"], "n_circuits": 1}
    potential = build_for(frames, model, seed=0)
    both = compared(qiff.predict(potential, frames), frames)["energy"]
    counts = np.array([[atoms.symbols.count(symbol) for symbol in "HCNO"] for atoms in frames])
    n_atoms = counts.sum(1)
    rows = np.vstack([counts / n_atoms[:, None], 0.1 * np.eye(4)])
    off = np.array(both.errors)
    references, *_ = np.linalg.lstsq(rows, np.append(off / n_atoms, np.zeros(4)))
    divisor = n_atoms if per_atom else 1
    expected = np.mean(((off - counts @ references) / divisor) ** 2)
    stacked = relative(qiff.stack(frames, cutoff=potential.cutoff), potential)

    def losses(fit_references: bool) -> list[float]:
        loss = Loss({"energy": 1.0}, per_atom, fit_references=fit_references)
        with qiff.precision(potential):
            mean = float(eqx.filter_jit(loss)(potential, stacked))
            _, found = loss.validation(eqx.filter_jit(loss.sums)(potential, stacked))
        return [mean, *(value**2 for name, value in found.items() if name.endswith("rmse"))]

    np.testing.assert_allclose(losses(True), [expected, expected], rtol=1e-8)
    assert losses(False)[0] > 1.01 * expected  # control


def test_wrong_weights_are_refused():
    with pytest.raises(InputError, match="Property `force` is not known; did you mean `forces`"):
        Loss({"force": 1.0})
    with pytest.raises(InputError, match="`forces_weight` must be at least 0, but is -1"):
        Loss({"energy": 1.0, "forces": -1})
    with pytest.raises(InputError, match=r"`stress_weight` must not all be 0"):
        Loss({"energy": 0.0})
    with pytest.raises(InputError, match="`huber` must be at least 0, but is -1"):
        Loss({"energy": 1.0}, huber=-1)


def test_only_the_first_process_of_a_parallel_run_writes(trained, tmp_path, monkeypatch):
    contents = lambda: {path.name: path.read_bytes() for path in trained.iterdir()}
    before, expected = contents(), json.loads((trained / "metrics.json").read_text())
    monkeypatch.setattr("jax.process_index", lambda: 1)
    for resume in (False, True):  # the first process may have begun already: that is no other run
        found = train(run(trained), resume=resume)
        assert found | {"seconds": 0} == expected | {"seconds": 0}
        assert contents() == before
    train(run(tmp_path / "run", steps=20))
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr("jax.process_index", lambda: 0)
    train(run(tmp_path / "run", steps=20))
    assert {path.name for path in (tmp_path / "run").iterdir()} == before.keys()  # control


def test_float32_trains(tmp_path):
    config = Run(
        **{**vars(run(tmp_path / "run")), "dtype": "float32"},
    )
    train(config)
    assert all(leaf.dtype == np.float32 for leaf in leaves(tmp_path / "run" / "model.qiff"))


def test_the_optimiser_counts_its_steps():
    """Regression: the step number of Adam is a constant in the public demo."""
    stacked = qiff.stack(qiff.read(qiff.Source("bundled:lih"))[:8])
    training = Training(steps=3, forces_weight=0.0)
    potential = qiff.build(MODEL, jax.random.key(0))
    state = fit(initial_state(potential, training), stacked, stacked, training, seed=0)
    counts = [leaf for leaf in jax.tree.leaves(state.weights.optimiser) if leaf.dtype.kind == "i"]
    assert counts
    assert all(int(count) == 3 for count in counts)


def test_the_cost_of_forces_grows_linearly_with_the_batch():
    """Regression: the public demo takes the Jacobian of the whole batch, with quadratic work."""
    frames = qiff.read(qiff.Source("bundled:lih"))

    def growth(function) -> float:
        stacks = [qiff.stack(frames[:n], "float32") for n in (32, 64)]
        lowered = [jax.jit(lambda p, s=s: function(p, s)).lower(potential) for s in stacks]
        costs: list[Any] = [low.compile().cost_analysis() for low in lowered]
        return costs[1]["flops"] / costs[0]["flops"]

    def full_jacobian(potential, stacked):
        energies = lambda positions: jax.vmap(energy, (None, 0))(
            potential, stacked.graph.at(positions)
        )
        return jax.jacrev(energies)(stacked.graph.positions)

    potential = qiff.build(MODEL, jax.random.key(0))
    assert 1.8 < growth(Training().loss) < 2.2
    assert growth(full_jacobian) > 3  # control


def test_another_number_of_frames_needs_no_other_program(monkeypatch):
    traced, errors_of = [], Loss._errors
    monkeypatch.setattr(Loss, "_errors", lambda *args: traced.append(0) or errors_of(*args))
    training = Training(steps=4, batch_size=6, evaluate_every=2, forces_weight=0.0)
    potential = qiff.build_for(FRAMES[:20], MODEL, seed=0)
    for n_train, n_valid in ((20, 33), (27, 40)):
        parts = qiff.stack(FRAMES[:n_train]), qiff.stack(FRAMES[40 : 40 + n_valid])
        fit(initial_state(potential, training), *parts, training, seed=0)
        assert len(traced) == 2  # steps and validation
    other = dataclasses.replace(training, batch_size=5)  # control
    fit(initial_state(potential, other), *parts, other, seed=0)
    assert len(traced) > 2


def test_validation_in_pieces_is_that_of_all_frames():
    potential = qiff.build_for(FRAMES[:20], MODEL, seed=0)
    training = Training(forces_weight=0.0)
    frames = relative(qiff.stack(FRAMES[:70]), potential)
    with qiff.precision(potential):
        sums = jax.jit(training.loss.sums)(potential, frames)
        expected, errors = training.loss.validation(sums)
        found, of_pieces = _validate(potential, frames, training, None)
    assert sums["energy"][-1] == 70
    assert [len(piece) for piece in pieces(frames)] == [32, 32, 32]
    assert [len(piece) for piece in pieces(taken(frames, np.arange(5)))] == [5]
    assert found == pytest.approx(expected, rel=1e-12)
    assert of_pieces == pytest.approx(errors, rel=1e-12)


def test_batches_are_put_on_the_devices_some_at_a_time(tmp_path, monkeypatch, trained):
    frames = qiff.stack(FRAMES[:40])
    of_one = sum(leaf.nbytes for leaf in jax.tree.leaves(frames)) // 40
    found = {}
    for limit in (0, 16 * of_one * 6, 1 << 30):
        monkeypatch.setattr("qiff.training.batches.LARGEST", limit)
        found[limit] = steps_at_once(frames, 16, 20)
    assert [*found.values()] == [1, 5, 20]
    monkeypatch.setattr("qiff.training.batches.LARGEST", 16 * of_one * 6)
    train(run(tmp_path / "few"))
    assert same_weights(tmp_path / "few" / "last.qiff", trained / "last.qiff")


def test_a_run_that_reads_its_frames_from_files_is_the_same(trained, tmp_path):
    settings = run(tmp_path / "files")
    settings = dataclasses.replace(settings, data=dataclasses.replace(settings.data, in_memory=0.0))
    seen = []
    train(settings, after_validation=lambda state: seen.append([*Path(settings.output).glob("a*")]))
    assert [[path.name for path in found] for found in seen] == [["arrays-0"]] * len(seen)
    assert not [*Path(settings.output).glob("a*")]
    for name in ("model.qiff", "last.qiff"):
        assert same_weights(tmp_path / "files" / name, trained / name)
    history = (tmp_path / "files" / "history.csv").read_text()
    assert history == (trained / "history.csv").read_text()


@pytest.mark.parametrize("engine", ["native", "xla"])
def test_muon_is_that_of_optax_but_for_rounding(engine, monkeypatch):
    monkeypatch.setattr(optimisers, "choose", lambda: ENGINES[engine])

    def axes(weights):
        numbers = {2: contrib.MuonDimensionNumbers(0, 1), 3: contrib.MuonDimensionNumbers(1, 2)}
        return jax.tree.map(lambda w: numbers.get(w.ndim), weights)

    random, rate = np.random.default_rng(0), optax.cosine_decay_schedule(0.01, 10)
    shapes = {"large": (18, 18), "tall": (3, 20, 8), "vector": (5,), "wide": (8, 21)}
    weights = {name: jnp.asarray(random.normal(size=size)) for name, size in shapes.items()}
    theirs = contrib.muon(rate, muon_weight_dimension_numbers=axes)
    ours = OPTIMISERS["muon"](rate, list(shapes.values()))
    vector, tree_of = ravel_pytree(weights)
    state, their_state = ours.init(vector), theirs.init(weights)
    gradient, found = jax.tree.map(lambda w: w + 1.0, weights), vector
    for _ in range(2):
        found, state = jax.jit(ours.update)(ravel_pytree(gradient)[0], state)
        expected, their_state = jax.jit(theirs.update)(gradient, their_state, weights)
        for name in shapes:
            np.testing.assert_allclose(tree_of(found)[name], expected[name], rtol=1e-4, atol=1e-6)
    adam: Any = optax.adam(rate).update(vector + 1, optax.adam(rate).init(vector))[0]
    assert np.abs(tree_of(adam)["wide"] - tree_of(found)["wide"]).max() > 1e-4


def test_long_gradients_are_scaled_down_as_by_optax():
    gradient = jnp.asarray(np.random.default_rng(0).normal(size=101), "float32")
    scaled: Any = lambda optimiser, given: optimiser.update(given, optax.EmptyState())[0]
    for norm in (1.0, 100.0):
        expected = scaled(optax.clip_by_global_norm(norm), gradient)
        np.testing.assert_allclose(scaled(clipped(norm), gradient), expected, rtol=1e-6)
    assert not np.allclose(scaled(clipped(1.0), gradient), gradient)
    assert not scaled(clipped(1.0), jnp.zeros(101)).any()


def test_muon_fits_circuits_without_entangling_gates():
    """They have matrices without entries."""
    frames = qiff.read(qiff.Source("bundled:water@:8"))
    model = {"kind": "local", "elements": ["H", "O"], "entangling": False, "n_layers": 1}
    potential = qiff.build_for(frames, model, seed=0, dtype="float32")
    assert any(leaf.size == 0 for leaf in jax.tree.leaves(potential))
    settings = Training(steps=2, batch_size=4, optimiser="muon", evaluate_every=2)
    data = qiff.stack(frames, "float32", potential.cutoff)
    fitted = qiff.fit(qiff.initial_state(potential, settings), data, data, settings, seed=0)
    assert np.isfinite(fitted.history[-1].valid_loss)
