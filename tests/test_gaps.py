"""Data with gaps, copies, weights and isolated atoms: what is there is used, and it is said."""

import json
from typing import Any

import ase
import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

import qiff
from qiff import InputError, Training
from qiff.atoms.data.dataset import write
from qiff.atoms.data.split import equal_frames
from qiff.atoms.properties import PROPERTIES, labels
from qiff.atoms.reference import fit_reference
from qiff.cli import main
from qiff.model.build import build_for, with_references_of
from qiff.report.tables import error_lines
from qiff.run.config import Data, Run, read_config
from qiff.run.prepare import prepare
from qiff.run.train import train
from qiff.training.comparison import compared
from qiff.training.metrics import errors

MODEL = {"kind": "diatomic", "elements": ["Li", "H"], "n_layers": 1}
FRAMES = qiff.read(qiff.Source("bundled:lih"))[::6]


def labelled(atoms: ase.Atoms, **kept: Any) -> ase.Atoms:
    copy = atoms.copy()
    copy.calc = SinglePointCalculator(copy, **kept)
    return copy


def without(atoms: ase.Atoms, key: str) -> ase.Atoms:
    return labelled(atoms, **{k: v for k, v in labels(atoms).items() if k != key})


def lone(symbol: str, energy: float) -> ase.Atoms:
    atoms = labelled(ase.Atoms(symbol), energy=energy)
    atoms.info["config_type"] = "isolated_atom"
    return atoms


def run(path: Any, folder: Any = "unused", **data: Any) -> Run:
    sizes: Any = {"train": 20, "valid": 6, "test": 4, **data}
    training = Training(steps=2, batch_size=4, evaluate_every=1, forces_weight=0.0)
    return Run(Data(str(path), **sizes), MODEL, training, str(folder))


@pytest.fixture(scope="module")
def potential():
    return build_for(FRAMES, MODEL, seed=0)


@pytest.fixture
def gaps() -> list[ase.Atoms]:
    """Every third frame lacks its energy."""
    return [without(atoms, "energy") if i % 3 == 0 else atoms for i, atoms in enumerate(FRAMES)]


def test_what_some_frames_lack_is_counted_and_the_others_are_compared(tmp_path, potential, gaps):
    write(tmp_path / "a.xyz", gaps)
    n_lacking = sum("energy" not in labels(atoms) for atoms in gaps)
    wanted = [f"{n_lacking} of {len(gaps)} frames have no energy; the others are used"]
    assert prepare(run(tmp_path / "a.xyz")).notes == wanted
    with pytest.raises(InputError, match="frame 0: has no energy label"):
        prepare(run(tmp_path / "a.xyz", strict=True))
    predictions = qiff.predict(potential, gaps)
    some, all_of = compared(predictions, gaps), compared(predictions, FRAMES)
    assert some["energy"].indices == [i for i in range(len(gaps)) if i % 3]
    chosen = [all_of["energy"].errors[i] for i in some["energy"].indices]
    np.testing.assert_allclose(some["energy"].errors, chosen)
    found = errors(predictions, gaps)
    assert found["energy_n_frames"] == len(chosen)
    assert "forces_n_frames" not in found
    assert found["energy_mae"] != errors(predictions, FRAMES)["energy_mae"]  # control
    lines = error_lines({"all": found})
    assert lines[-1] == f"all    labels: energy of {len(chosen)} of {len(gaps)} frames"


@pytest.mark.slow
def test_a_run_with_gaps_is_trained_and_counts_them(tmp_path, gaps):
    write(tmp_path / "a.xyz", gaps)
    metrics = train(run(tmp_path / "a.xyz", tmp_path / "run"))
    assert "have no energy" in metrics["notes"][0]
    assert np.isfinite(metrics["train"]["energy_mae"])
    parts = [metrics[name] for name in ("train", "valid", "test")]
    assert sum(part.get("energy_n_frames", part["n_frames"]) for part in parts) < 30


def test_frames_without_an_energy_do_not_count_for_references(potential):
    gaps = [without(FRAMES[0], "energy"), *FRAMES[1:]]
    assert fit_reference(gaps) == fit_reference(FRAMES[1:])
    found = with_references_of(potential, gaps).config()
    assert found == with_references_of(potential, FRAMES[1:]).config()
    with pytest.raises(InputError, match="must have an energy, one at least"):
        fit_reference([without(atoms, "energy") for atoms in FRAMES])


def test_no_label_at_all_in_a_part_is_one_clear_line(tmp_path):
    write(tmp_path / "a.xyz", [without(atoms, "energy") for atoms in FRAMES])
    with pytest.raises(InputError, match="frame 0: has no energy label; keys found: forces"):
        prepare(run(tmp_path / "a.xyz"))
    write(tmp_path / "a.xyz", [FRAMES[0], *(without(atoms, "energy") for atoms in FRAMES[1:])])
    with pytest.raises(InputError, match=r"no frame of the (train|valid) part has energy to learn"):
        prepare(run(tmp_path / "a.xyz"))


def test_weights_are_of_frames_and_of_properties():
    frames = [labelled(atoms, **labels(atoms)) for atoms in FRAMES[:3]]
    frames[0].info |= {"config_weight": 2.0, "weight": 3.0}
    frames[1].info |= {"config_energy_weight": 0.5, "config_forces_weight": 4.0}
    found = qiff.stack(frames).weights
    assert found.keys() == {"energy", "forces"}
    np.testing.assert_allclose(found["energy"], [6, 0.5, 1])
    np.testing.assert_allclose(found["forces"], [6, 4, 1])
    assert not qiff.stack(FRAMES[:3]).weights
    for wrong in (-1.0, "heavy", np.nan):
        frames[2].info["config_weight"] = wrong
        with pytest.raises(InputError, match="frame 2: `config_weight` must be a number of at lea"):
            qiff.stack(frames)


@pytest.mark.parametrize("name", [n for one in PROPERTIES.values() for n in one.weight_names])
def test_every_name_of_a_weight_is_read(name):
    (one,) = [one for one in PROPERTIES.values() if name in one.weight_names]
    atoms = ase.Atoms("Si2", [[0, 0, 0], [0, 0, 2]], cell=[5, 5, 5], pbc=True, info={name: 0.25})
    atoms.calc = SinglePointCalculator(
        atoms, energy=1.0, forces=np.zeros((2, 3)), stress=np.zeros(6)
    )
    found = qiff.stack([atoms], cutoff=3.0).weights
    assert {key: values.tolist() for key, values in found.items()} == {one.key: [0.25]}


def test_copies_are_counted_and_so_are_those_in_several_parts(tmp_path):
    write(tmp_path / "a.xyz", [*FRAMES, *FRAMES])
    prepared = prepare(run(tmp_path / "a.xyz"))
    (note,) = prepared.notes
    assert note.startswith(f"{len(FRAMES)} of {2 * len(FRAMES)} frames are copies of others; ")
    assert "copies" not in " ".join(prepare(run("bundled:lih")).notes)  # control
    assert equal_frames([FRAMES[0], FRAMES[1], FRAMES[0]]) == [[0, 2]]
    moved = FRAMES[0].copy()
    moved.positions += 1e-4
    assert not equal_frames([FRAMES[0], moved])


def test_reference_energies_come_from_the_config_or_the_data(tmp_path):
    write(tmp_path / "a.xyz", FRAMES)
    given = {"Li": -200.0, "H": -13.0}
    from_config = prepare(run(tmp_path / "a.xyz", reference_energies=given))
    write(tmp_path / "b.xyz", [lone("Li", -200.0), *FRAMES, lone("H", -13.0)])
    from_data = prepare(run(tmp_path / "b.xyz"))
    assert from_data.notes == [
        "reference energies are those of the isolated atoms Li, H in the data"
    ]
    neither = prepare(run(tmp_path / "a.xyz"))
    energies = [
        p.potential.config()["reference_energies"] for p in (from_config, from_data, neither)
    ]
    assert energies[0] == energies[1] != energies[2]
    with pytest.raises(InputError, match="`reference_energies`: element `Xy` is not known"):
        Data("a.xyz", reference_energies={"Xy": 1.0})
    path = tmp_path / "run.toml"
    path.write_text(
        f'[data]\npath = "{tmp_path}/a.xyz"\nreference_energies = {{ Li = -200.0, H = -13.0 }}\n'
        f"[model]\n{chr(10).join(f'{k} = {json.dumps(v)}' for k, v in MODEL.items())}\n"
    )
    assert read_config(path).data.reference_energies == given
    write(tmp_path / "b.xyz", [without(lone("Li", 0.0), "energy"), *FRAMES])
    with pytest.raises(InputError, match="of type IsolatedAtom must have one atom and an energy"):
        prepare(run(tmp_path / "b.xyz"))


def test_isolated_atoms_are_left_out_of_predictions_and_labels_are_kept(
    potential, tmp_path, capsys
):
    qiff.save(potential, tmp_path / "model.qiff")
    write(tmp_path / "a.xyz", [lone("Li", -200.0), *FRAMES[:3]])
    arguments = [str(tmp_path / name) for name in ("model.qiff", "a.xyz", "out.xyz")]
    assert main(["predict", *arguments]) == 0
    assert "1 frames of isolated atoms are left out" in capsys.readouterr().err
    found = qiff.read(qiff.Source(arguments[2]))  # the labels, not the predictions
    for atoms, wanted in zip(found, FRAMES[:3], strict=True):
        assert labels(atoms)["energy"] == pytest.approx(labels(wanted)["energy"])
        np.testing.assert_allclose(labels(atoms)["forces"], labels(wanted)["forces"], atol=1e-7)
    predicted = qiff.read(qiff.Source(arguments[2], energy_key="energy"))[0]
    assert labels(predicted)["energy"] == pytest.approx(qiff.predict(potential, FRAMES[0]).energy)
    assert main(["evaluate", *arguments[:2], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_frames"] == 3


def test_labels_named_by_options_and_other_results_are_kept_beside_predictions(potential, tmp_path):
    qiff.save(potential, tmp_path / "model.qiff")
    atoms = FRAMES[0].copy()
    atoms.info["dft_energy"], atoms.arrays["dft_forces"] = -210.0, np.ones((2, 3))
    atoms.calc = SinglePointCalculator(atoms, dipole=[0.1, 0, 0], charges=[0.5, -0.5])
    ase.io.write(tmp_path / "a.xyz", atoms)
    arguments = [str(tmp_path / name) for name in ("model.qiff", "a.xyz", "out.xyz")]
    keys = ["--energy-key", "dft_energy", "--forces-key", "dft_forces"]
    assert main(["predict", *arguments, *keys]) == 0
    (found,) = qiff.read(qiff.Source(arguments[2]))
    assert labels(found)["energy"] == -210.0
    np.testing.assert_allclose(labels(found)["forces"], 1.0)
    np.testing.assert_allclose(found.info["dipole"], [0.1, 0, 0])
    np.testing.assert_allclose(found.arrays["charges"], [0.5, -0.5])
    predicted = qiff.read(qiff.Source(arguments[2], energy_key="energy"))[0]
    assert labels(predicted)["energy"] == pytest.approx(qiff.predict(potential, FRAMES[0]).energy)


def test_too_many_qubits_are_one_line_before_anything_is_written(tmp_path):
    model = {"kind": "local", "elements": ["Li", "H"], "cutoff": 4.0, "n_qubits": 28}
    config = Run(Data("bundled:lih"), model, Training(steps=1), str(tmp_path / "run"))
    with pytest.raises(InputError, match="`xla`: it simulates at most 27 qubits, but the circuit"):
        train(config)
    assert not (tmp_path / "run").exists()
