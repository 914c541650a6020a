"""`rmd17:MOLECULE`: both layouts, units, and a test part that nobody trains on."""

import json

import ase
import numpy as np
import pytest

from qiff import InputError, Source, read, split
from qiff.atoms.data.dataset import file_hash, write
from qiff.atoms.properties import labels
from qiff.cli import main

from .rmd17_folders import KCAL, TEST, TRAIN, write_archive, write_parts


@pytest.fixture(params=[write_parts, write_archive], ids=["parts", "archive"])
def folder(request, tmp_path, monkeypatch):
    monkeypatch.setenv("QIFF_DATA", str(tmp_path))
    return request.param(tmp_path)


def energies(frames):
    return np.array([labels(atoms)["energy"] for atoms in frames])


# --- reading ----------------------------------------------------------------------------------


def test_training_frames_then_test_frames_in_both_layouts(folder):
    frames = read(Source("rmd17:ethanol"), need_energy=True, need_forces=True)
    rows = np.concatenate([TRAIN, TEST])
    np.testing.assert_allclose(energies(frames), KCAL * (-100 - rows), rtol=1e-5)
    forces = np.array([labels(atoms)["forces"][0, 0] for atoms in frames])
    np.testing.assert_allclose(forces, KCAL * (-100 - rows), rtol=1e-5)  # kcal/mol/Å
    parts = [atoms.info["part"] for atoms in frames]
    assert parts == ["train"] * len(TRAIN) + ["test"] * len(TEST)
    assert {atoms.get_chemical_formula() for atoms in frames} == {"H2O"}


def test_one_part_and_another_label(folder):
    frames = read(Source("rmd17:uracil/test", energy_key="old_energies"))
    np.testing.assert_allclose(energies(frames), 2 * KCAL * (-100 - TEST), rtol=1e-5)
    assert (
        file_hash("rmd17:uracil/test") != file_hash("rmd17:uracil/train")
        or (folder / "rmd17" / "splits").exists()
    )


def test_the_hash_sees_every_file(folder):
    before = file_hash("rmd17:benzene")
    (test_file,) = [*folder.rglob("index_test_01.csv"), *folder.rglob("rmd17_benzene_test_01.npz")]
    test_file.write_bytes(test_file.read_bytes() + b"\n")
    assert file_hash("rmd17:benzene") != before


def test_without_qiff_data_the_folder_is_data(tmp_path, monkeypatch):
    monkeypatch.delenv("QIFF_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    write_parts(tmp_path / "data", ["toluene"])
    assert len(read(Source("rmd17:toluene"))) == len(TRAIN) + len(TEST)
    with pytest.raises(InputError, match=r"aspirin: is not in data.rmd17; fetch it \(qiff data"):
        read(Source("rmd17:aspirin"))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("rmd17:ethanl", "did you mean `ethanol`"),
        ("rmd17:", "rMD17 molecule `` is not known; known: aspirin, azobenzene"),
        ("rmd17:ethanol/valid", "part `valid` is not known; known: test, train"),
        ("rmd17:ethanol/", "part `` is not known"),
    ],
)
def test_unknown_molecules_and_parts_are_refused(folder, path, message):
    with pytest.raises(InputError, match=message):
        read(Source(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("60\n", r"`index_test_01.csv` must list numbers of frames below 60"),
        ("-1\n", "must list numbers of frames below 60"),
        ("", "must list numbers of frames"),
        ("<html>", "must list numbers of frames"),
        ("5\n2\n", "name a frame twice"),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_damaged_lists_of_frames_are_refused(tmp_path, monkeypatch, text, message):
    monkeypatch.setenv("QIFF_DATA", str(write_archive(tmp_path)))
    (tmp_path / "rmd17" / "splits" / "index_test_01.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read(Source("rmd17:ethanol"))


def test_a_damaged_archive_of_arrays_is_refused(folder):
    for file in folder.rglob("rmd17_ethanol*.npz"):
        file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(InputError, match=r"rmd17:ethanol: .*is corrupt"):
        read(Source("rmd17:ethanol"))


def test_the_real_data(rmd17):
    frames = read(Source("rmd17:ethanol"), need_energy=True, need_forces=True)
    assert [atoms.info["part"] for atoms in frames] == ["train"] * 1000 + ["test"] * 1000
    assert -4215 < energies(frames).mean() < -4205  # eV, PBE/def2-SVP
    parts = split(frames, 950, 50, 1000, seed=0)
    assert sorted(np.concatenate(parts)) == list(range(2000))
    assert list(parts.test) == list(range(1000, 2000))
    seen = {frames[i].positions.tobytes() for i in (*parts.train, *parts.valid)}
    assert not seen & {frames[i].positions.tobytes() for i in parts.test}


# --- the test part ----------------------------------------------------------------------------


def set_apart(n_train, n_test):
    """Frames to test on before, between and after the others."""
    marks = np.random.default_rng(1).permutation(["train"] * n_train + ["test"] * n_test)
    return [ase.Atoms(info={"part": str(mark)}) for mark in marks]


def leaks(frames, parts) -> bool:
    """Whether a frame of the test part is learnt from, or another one tested on."""
    learnt = {frames[i].info["part"] for i in (*parts.train, *parts.valid)}
    return "test" in learnt or "train" in {frames[i].info["part"] for i in parts.test}


@pytest.mark.parametrize("n_train", [25, 100, 950])
def test_nothing_of_the_test_part_is_learnt_from(n_train):
    frames = set_apart(1000, 1000)
    for seed in range(5):
        parts = split(frames, n_train, 50, 1000, seed=seed)
        assert [len(part) for part in parts] == [n_train, 50, 1000]
        assert len(set(np.concatenate(parts))) == n_train + 1050
        assert not leaks(frames, parts)


def test_control_a_plain_shuffle_leaks():
    frames = set_apart(1000, 1000)
    unmarked = [ase.Atoms() for _ in frames]
    assert leaks(frames, split(unmarked, 950, 50, 1000, seed=0))


def test_seeds_change_what_is_learnt_from_and_not_what_is_tested():
    frames = set_apart(100, 40)
    first, second = (split(frames, 50, 10, 20, seed=seed) for seed in (0, 1))
    assert set(first.train) != set(second.train)
    assert np.array_equal(first.test, second.test)
    assert set(split(frames, 20, 10, 20, seed=0).train) < set(first.train)  # nested


def test_fractions_are_of_the_part_they_are_taken_from():
    assert [len(part) for part in split(set_apart(100, 40), 0.8, 0.2, 0.5, seed=0)] == [80, 20, 20]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((96, 5, 40), "at least 1, 1 frames and together at most 100 outside the test part"),
        ((0, 5, 40), "outside the test part of the data, but are 0, 5"),
        ((50, 5, 41), "`test` must be at least 0 frames and together at most 40 in the test part"),
        ((50, 5, -1), "`test` must be a fraction below 1 or a whole number"),
    ],
)
def test_impossible_sizes_are_refused(sizes, message):
    with pytest.raises(InputError, match=message):
        split(set_apart(100, 40), *sizes, seed=0)


def test_a_test_part_alone_trains_nobody():
    with pytest.raises(InputError, match="together at most 0 outside the test part of the data"):
        split(set_apart(0, 40), 10, 5, 5, seed=0)


def test_the_mark_survives_a_file(folder, tmp_path):
    write(tmp_path / "a.xyz", read(Source("rmd17:ethanol")))
    frames = read(Source(str(tmp_path / "a.xyz")))
    assert not leaks(frames, split(frames, 20, 5, 10, seed=3))


CONFIG = """
output = "OUTPUT"
[data]
path = "rmd17:ethanol"
train = 20
valid = 5
test = 10
[model]
kind = "triatomic"
elements = ["O", "H", "H"]
n_layers = 1
[train]
steps = 2
forces_weight = 0.0
"""


def test_a_run_tests_on_the_test_part(folder, tmp_path, capsys):
    (tmp_path / "run.toml").write_text(CONFIG.replace("OUTPUT", str(tmp_path / "run")))
    assert main(["train", str(tmp_path / "run.toml")]) == 0
    parts = json.loads((tmp_path / "run" / "split.json").read_text())
    assert parts["test"] == list(range(len(TRAIN), len(TRAIN) + len(TEST)))
    assert max(parts["train"] + parts["valid"]) < len(TRAIN)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]["n_frames"] == 10
    assert main(["data", "info", "rmd17:ethanol"]) == 0
    assert "40" in capsys.readouterr().out
