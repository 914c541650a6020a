"""Active learning: what is selected, what a folder keeps, and that nothing is labelled twice."""

import dataclasses
from typing import Any

import ase.build
import ase.io
import numpy as np
import pytest

from qiff import InputError
from qiff.cli import main
from qiff.labelling.level import LabelError, Level
from qiff.labelling.store import LabelStore
from qiff.learning import loop
from qiff.learning.exploration import Walk
from qiff.learning.folder import LearnFolder
from qiff.learning.records import error_of, meets
from qiff.learning.selection import SELECTIONS, broken, descriptors, farthest, n_fragments
from qiff.learning.settings import Exploration, Learn, Targets
from qiff.learning.work import Work
from qiff.run.config import parse_settings
from qiff.run.templates import template


@pytest.fixture
def frames():
    """Ethanol, moved at random."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(6):
        found.append(ase.build.molecule("CH3CH2OH"))
        found[-1].positions += 0.05 * rng.standard_normal((9, 3))
    return found


# --- selection ------------------------------------------------------------------------------


def test_descriptors_are_those_of_the_rotated_and_reordered_molecule(frames):
    atoms = frames[0]
    turned = atoms[[5, 4, 3, 8, 7, 6, 0, 1, 2]]
    turned.rotate(70, (1, 2, 3))
    turned.positions *= -1
    one, same, other = descriptors([atoms, turned, frames[1]])
    np.testing.assert_allclose(same, one, atol=1e-12)
    assert np.abs(other - one).max() > 0.01  # the control: another geometry


def test_descriptors_of_a_cell_do_not_depend_on_how_it_is_repeated():
    crystal = ase.build.bulk("Si", cubic=True)
    one, many = descriptors([crystal, crystal * (2, 1, 1)])
    np.testing.assert_allclose(many, np.sqrt(2) * one, rtol=1e-9)


def test_the_farthest_points_are_chosen_one_by_one():
    line = np.array([[0.0], [1.0], [9.0], [10.0], [4.0]])
    assert farthest(line, np.array([[0.5]]), 3) == [3, 4, 2]
    assert farthest(line, np.zeros((0, 1)), 2) == [0, 3]
    assert farthest(np.zeros((4, 1)), np.zeros((0, 1)), 3) == [0]  # no copies


def test_only_uncertain_frames_are_selected_and_random_ones_are_others(frames):
    uncertainties = np.array([0.01, 0.2, 0.3, 0.01, 0.4, 0.05])
    arguments = (frames, uncertainties, frames[:1], 0.1)
    assert sorted(SELECTIONS["uncertain"](*arguments, 3, 0)) == [1, 2, 4]
    assert set(SELECTIONS["uncertain"](*arguments, 2, 0)) < {1, 2, 4}
    few = (frames, uncertainties, frames[:1], 0.35)
    assert set(SELECTIONS["uncertain"](*few, 2, 0)) < {1, 2, 4, 5}  # twice as many take part
    assert SELECTIONS["uncertain"](frames, uncertainties, frames, 0.1, 3, 0) == []  # all are known
    drawn = {tuple(SELECTIONS["random"](*arguments, 3, seed)) for seed in range(20)}
    assert len(drawn) > 5


def test_broken_frames_are_found(frames):
    start = ase.build.molecule("CH3CH2OH")
    assert not any(broken(atoms, start) for atoms in frames)
    apart, close = start.copy(), start.copy()
    apart.positions[-1] += [6, 6, 6]
    close.positions[-1] = close.positions[-2] + [0.3, 0, 0]
    assert "2 fragments, not 1" in broken(apart, start)
    assert "Å apart" in broken(close, start)
    assert not broken(apart, apart)  # two molecules from the beginning
    assert n_fragments(ase.build.bulk("Si")) == 1


# --- settings -------------------------------------------------------------------------------


def test_the_template_is_the_defaults_spelled_out():
    found = parse_settings(Learn, template("learn"), "template")
    assert found == Learn(("smiles:CCO",), output="learned/ethanol")
    assert found.threshold == pytest.approx(0.045)
    explore = Exploration(temperatures=(300.0, 500.0))
    assert [explore.temperature(n) for n in (1, 2, 3)] == [300, 500, 500]


def test_one_setting_leaves_the_others_of_its_table_at_their_defaults():
    text = 'structures = ["smiles:O"]\n[train]\nsteps = 7\n[model]\nn_circuits = 2\n'
    found, default = parse_settings(Learn, text, "learn.toml"), Learn(("smiles:O",))
    assert found.train == dataclasses.replace(default.train, steps=7)
    assert found.model == {**default.model, "n_circuits": 2}
    text = text.replace("n_circuits = 2", 'kind = "classical"')
    other = parse_settings(Learn, text, "learn.toml")
    assert other.model == {"kind": "classical"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("structures=[]", "must name a file or a SMILES, but is empty"),
        ("label.level=gfn9", "`gfn9` is not known; known: gfn1 or gfn2"),
        ("label.budget=1", "`label.budget` must be at least 10, but is 1"),
        ("explore.start=middle", "`middle` is not known; known: modes, random"),
        ("explore.temperatures=[]", "`explore.temperatures` must be at least one"),
        ("explore.temperatures=[0]", "`explore.temperatures` must be positive, but is 0"),
        ("explore.timestep=0", "`explore.timestep` must be positive"),
        ("select.method=best", "`best` is not known; known: random, uncertain"),
        ("targets.forces=-1", "`targets.forces` must be positive"),
        ("members=1", "`members` must be at least 2, but is 1"),
        ("final_steps=0", "`final_steps` must be at least 1"),
        ("trian.steps=1", "key `trian` is not known; did you mean `train`"),
    ],
)
def test_a_mistake_in_the_config_is_one_line(change, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["learn", "--smiles", "O", "--set", change]) == 2
    found = capsys.readouterr().err
    assert message in found
    assert found.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_learned_from_is_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["learn"]) == 2
    assert "name a config, or structures" in capsys.readouterr().err
    assert main(["learn", "nothing.xyz"]) == 2
    assert "nothing.xyz: no such file" in capsys.readouterr().err
    assert main(["learn", "--smiles", "O", "--set", "label.settings.charge=1.5"]) == 2
    assert "charge" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_is_not_used_for_something_else(tmp_path):
    settings = Learn(("smiles:O",), output=str(tmp_path))
    folder = LearnFolder(tmp_path)
    folder.begin(settings, resume=False, overwrite=False)
    folder.begin(settings, resume=True, overwrite=False)
    with pytest.raises(InputError, match=r"resume it \(--resume\), replace it"):
        folder.begin(settings, resume=False, overwrite=False)
    other = dataclasses.replace(settings, targets=Targets(forces=0.02))
    with pytest.raises(InputError, match=r"`targets.forces` is not what it began with"):
        folder.begin(other, resume=True, overwrite=False)
    for file in (folder.labels, folder.metrics, folder.model):
        file.write_text("of before")
    folder.begin(other, resume=False, overwrite=True)
    assert not any(file.exists() for file in (folder.labels, folder.metrics, folder.model))
    folder.labels.write_text("of before")
    folder.config.unlink()  # a process that replaced it was killed
    with pytest.raises(InputError, match=r"config\.toml is gone; replace what is in the folder"):
        folder.begin(other, resume=True, overwrite=False)
    with pytest.raises(InputError, match="already holds something learned"):
        folder.begin(other, resume=False, overwrite=False)
    folder.begin(other, resume=False, overwrite=True)
    assert not folder.labels.exists()


def test_errors_meet_the_targets_or_not():
    targets = Targets(forces=0.01, energy=0.002)
    assert meets({"forces_mae": 0.01, "energy_mae": 0.002}, targets)
    assert not meets({"forces_mae": 0.011, "energy_mae": 0.002}, targets)
    assert not meets({}, targets)
    periodic = {"energy_mae": 0.1, "energy_per_atom_mae": 0.001}
    assert error_of(periodic, "energy") == 0.001


# --- labels ---------------------------------------------------------------------------------


def counting(calls: list) -> Level:
    """A level that counts its calculations, and fails where the first atom is far from 0."""

    def label(atoms):
        calls.append(atoms)
        if atoms.positions[0, 0] > 5:
            raise LabelError("too far")
        return {"energy": float(atoms.positions.sum()), "forces": -atoms.positions}

    return Level("a test", label, lambda: "test 1")


def test_a_store_labels_every_geometry_once(frames, tmp_path):
    calls = []
    store = LabelStore(tmp_path / "labels.jsonl", counting(calls))
    frames[0].info["chosen"] = "here"
    found = store.label([*frames, frames[0]])
    assert len(found.frames) == 7
    assert len(calls) == len(store) == 6
    assert found.frames[6].info == {"chosen": "here"}
    again = LabelStore(tmp_path / "labels.jsonl", counting(calls))
    assert again(frames[3])["energy"] == found.frames[3].get_potential_energy()
    assert len(calls) == 6
    moved = frames[0].copy()
    moved.positions[0, 0] += 1e-9
    again(moved)
    assert len(calls) == 7  # the control: another geometry, however near


def test_a_failed_calculation_is_kept_and_not_repeated(frames, tmp_path):
    calls = []
    far = frames[0].copy()
    far.positions += 10
    for again in (False, True):
        store = LabelStore(tmp_path / "labels.jsonl", counting(calls))
        assert len(store) == 3 * again
        found = store.label([frames[1], far, frames[2]])
        assert len(found.frames) == 2
        assert found.failures == {1: "too far"}
        with pytest.raises(LabelError, match="too far"):
            store(far)
        assert (len(calls), len(store), store.n_failed) == (3, 3, 1)


def test_a_journal_of_another_level_is_refused(tmp_path):
    LabelStore(tmp_path / "labels.jsonl", counting([]))
    other = dataclasses.replace(counting([]), description="another test")
    with pytest.raises(InputError, match="other settings"):
        LabelStore(tmp_path / "labels.jsonl", other)


# --- the end of the loop --------------------------------------------------------------------


@pytest.mark.parametrize("n_frames", [0, 6])
def test_the_loop_ends_when_every_trajectory_breaks_at_once(
    frames, n_frames, tmp_path, monkeypatch
):
    walked = Walk(frames[:n_frames], 0.01 * n_frames, "2 fragments, not 1")
    for name, found in (
        ("load", None),
        ("walk", walked),
        ("force_uncertainties", np.full(2 * n_frames, 0.1)),
        ("evaluate", {"forces_mae": 1.0, "energy_mae": 1.0}),
    ):
        monkeypatch.setattr(loop, name, lambda *args, found=found: found)
    settings = Learn(("smiles:CCO",), explore=Exploration(n_walkers=2), output=str(tmp_path))
    store, shown = LabelStore(tmp_path / "labels.jsonl", counting([])), []
    work = Work(settings, LearnFolder(tmp_path), store, lambda *args: shown.append(args))
    generation, model = work.folder.generation(1), tmp_path / "model.qiff"
    ensemble: Any = None
    if n_frames:  # control
        walks = loop._explore(work, generation, ensemble, frames, model)
        assert loop._check(work, generation, ensemble, walks)["end"] == ""
        return
    assert loop._next(work, generation, frames, model) == (
        model,
        "every trajectory broke at once",
    )
    assert generation.record["broken"] == ["2 fragments, not 1"] * 2
    assert generation.record["n_selected"] == len(store) == 0
