"""Labels of many structures: resumed, each once, failures kept apart; the command; geometries."""

import collections
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import ase.build
import ase.io
import ase.units
import numpy as np
import pytest
from ase.calculators.emt import EMT

from qiff import InputError
from qiff._checks import RunError
from qiff.cli import main
from qiff.labelling.batch import label_frames
from qiff.labelling.level import LabelError, Level
from qiff.labelling.sampling import (
    conformers,
    hessian_by_differences,
    normal_mode_displacements,
    relax,
)

SEEN: collections.Counter[float] = collections.Counter()


@dataclass(frozen=True)
class Spring:
    """A harmonic bond of length 1 Å; fails beyond a length, and counts its calls."""

    longest: float = 9.0

    def __call__(self, atoms):
        length = atoms.get_distance(0, 1)
        SEEN[round(length, 6)] += 1
        if length > self.longest:
            raise LabelError(f"a bond of {length:.3f} Å breaks.")
        axis = atoms.get_distance(0, 1, vector=True) / length
        forces = 10 * (length - 1) * np.array([axis, -axis])
        return {"energy": 5 * (length - 1) ** 2, "forces": forces}

    def check(self, atoms):
        if len(atoms) != 2:
            raise InputError(f"two atoms are needed, but there are {len(atoms)}.")


def level(longest: float = 9.0) -> Level:
    spring = Spring(longest)
    return Level("spring", spring, lambda: "by hand 1.0", {"longest": longest}, spring.check)


def pairs(n: int = 8) -> list[ase.Atoms]:
    lengths = np.linspace(0.9, 1.6, n)
    return [ase.Atoms("H2", [[0, 0, 0], [0, 0, x]], info={"n": i}) for i, x in enumerate(lengths)]


@pytest.fixture(autouse=True)
def count():
    SEEN.clear()


def interrupted_after(n):
    def after_label(n_done):
        if n_done == n:
            raise KeyboardInterrupt

    return after_label


def test_frames_are_labelled_copies_in_order_and_failures_have_reasons(tmp_path):
    frames, counts = pairs(), []
    found = label_frames(level(1.4), frames, tmp_path / "journal", after_label=counts.append)
    assert [atoms.info["n"] for atoms in found.frames] == [0, 1, 2, 3, 4, 5]
    assert list(found.failures) == [6, 7]
    assert found.failures[7] == "a bond of 1.600 Å breaks."
    assert counts == list(range(9))
    for atoms in found.frames:
        expected = 5 * (atoms.get_distance(0, 1) - 1) ** 2
        assert atoms.get_potential_energy() == pytest.approx(expected)
    assert all(atoms.calc is None for atoms in frames)


def test_a_second_call_repeats_no_label_and_no_failure(tmp_path):
    journal = tmp_path / "journal"
    backwards = lambda function, items: map(function, reversed(list(items)))
    with pytest.raises(KeyboardInterrupt):
        label_frames(level(1.4), pairs(), journal, backwards, interrupted_after(4))
    assert len(SEEN) == 4
    with journal.open("a") as file:
        file.write('{"index": 3, "fra')  # cut short by a kill
    counts = []
    resumed = label_frames(level(1.4), pairs(), journal, after_label=counts.append)
    assert counts == [4, 5, 6, 7, 8]
    assert set(SEEN.values()) == {1}
    assert len(SEEN) == 8
    label_frames(level(1.4), pairs(), journal)
    assert set(SEEN.values()) == {1}
    at_once = label_frames(level(1.4), pairs(), tmp_path / "other")
    assert set(SEEN.values()) == {2}  # control: calls are counted
    assert resumed.failures == at_once.failures
    assert list(resumed.failures) == [6, 7]
    for one, other in zip(resumed.frames, at_once.frames, strict=True):
        assert one == other
        assert one.info == other.info
        np.testing.assert_array_equal(one.get_forces(), other.get_forces())


def test_functions_and_items_of_the_map_can_be_pickled(tmp_path):
    def elsewhere(function, items):
        for item in items:
            there, argument = pickle.loads(pickle.dumps((function, item)))
            yield pickle.loads(pickle.dumps(there(argument)))

    found = label_frames(level(1.4), pairs(), tmp_path / "journal", elsewhere)
    assert len(found.frames) == 6


def test_a_structure_that_the_map_lost_is_an_error(tmp_path):
    journal = tmp_path / "journal"
    lossy = lambda function, items: map(function, list(items)[1:])
    with pytest.raises(RunError, match="journal: 7 of 8 frames were labelled; run the same comm"):
        label_frames(level(), pairs(), journal, lossy)
    assert len(label_frames(level(), pairs(), journal).frames) == 8
    assert set(SEEN.values()) == {1}


def charged():
    frames = pairs()
    frames[3].info["charge"] = 1
    return frames


def shifted():
    frames = pairs()
    frames[3].positions[0, 0] += 1e-9
    return frames


@pytest.mark.parametrize(
    ("other", "frames"),
    [(level(1.3), pairs), (level(1.4), shifted), (level(1.4), charged), (level(1.4), pairs)],
    ids=["settings", "positions", "charge", "control"],
)
def test_the_journal_of_another_computation_is_refused(tmp_path, request, other, frames):
    journal = tmp_path / "journal"
    label_frames(level(1.4), pairs(), journal)
    before = journal.read_bytes()
    if "control" in request.node.name:
        label_frames(other, frames(), journal)
    else:
        with pytest.raises(InputError, match="journal: belongs to a computation with other sett"):
            label_frames(other, frames(), journal)
    assert journal.read_bytes() == before


@pytest.mark.parametrize(
    "text", ["notes", "{}\nmore", '{"provenance": 1, "start": []}\n{"n', "", "\0"]
)
def test_a_file_that_is_no_journal_is_left_as_it_is(tmp_path, text):
    journal = tmp_path / "journal"
    journal.write_text(text)
    with pytest.raises(InputError, match=r"journal: (is not a partial data set|belongs to a comp)"):
        label_frames(level(), pairs(), journal)
    assert journal.read_text() == text


def test_a_structure_that_the_level_cannot_describe_stops_before_the_first_label(tmp_path):
    journal = tmp_path / "journal"
    with pytest.raises(InputError, match="frame 8: two atoms are needed, but there are 1"):
        label_frames(level(), [*pairs(), ase.Atoms("H")], journal)
    assert not SEEN
    assert not journal.exists()


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def crystals(tmp_path, monkeypatch) -> Path:
    """Ten crystals of copper and, last, one of an element that EMT does not have."""
    monkeypatch.chdir(tmp_path)
    frames = []
    for index in range(10):
        atoms = ase.build.bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=index)
        frames.append(atoms)
    frames.append(ase.build.bulk("Si", cubic=True))
    path = tmp_path / "crystals.xyz"
    ase.io.write(path, frames)
    return path


def frames_in(path: Path | str) -> list[ase.Atoms]:
    return cast(list[ase.Atoms], ase.io.read(path, ":"))


LABEL = ["--level", "ase.calculators.emt:EMT"]


def test_the_command_writes_labels_failures_and_provenance(crystals, capsys):
    assert main(["label", str(crystals), "out.xyz", *LABEL]) == 0
    out, error = capsys.readouterr()
    assert out == "10 frames, ase.calculators.emt:EMT: out.xyz, provenance: out.json\n"
    assert "1 of 11 structures have no labels: out.failed.xyz; the first, frame 10: ase." in error
    assert "labels/s" in error
    frames, given = frames_in("out.xyz"), frames_in(crystals)[:10]
    for one, other in zip(frames, given, strict=True):
        other.calc = EMT()
        np.testing.assert_allclose(one.get_potential_energy(), other.get_potential_energy())
        np.testing.assert_allclose(one.get_forces(), other.get_forces(), atol=1e-7)
        np.testing.assert_allclose(one.get_stress(), other.get_stress(), atol=1e-7)
    (failed,) = frames_in("out.failed.xyz")
    assert failed.info["frame"] == 10
    assert "NotImplementedError: No EMT-potential for Si" in failed.info["failure"]
    provenance = json.loads(Path("out.json").read_text())
    assert provenance == {
        "level": "ase.calculators.emt:EMT",
        "program": f"ase {ase.__version__}",
        "source": str(crystals),
        "frames": 10,
        "failed": 1,
        "units": {"length": "Angstrom", "energy": "eV"},
    }
    assert {path.name for path in Path().iterdir()} == {
        *("crystals.xyz", "out.xyz", "out.json", "out.failed.xyz")
    }


def refused(capsys, *arguments: str, code: int = 2) -> str:
    capsys.readouterr()
    assert main(["label", *arguments]) == code
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("qiff: ")]
    return line


def test_mistakes_of_the_command_are_one_line(crystals, capsys):
    path = str(crystals)
    assert "did you mean `EMT`" in refused(capsys, path, "a.xyz", "--level", LABEL[1] + "T")
    assert "`--setting` needs key=value" in refused(capsys, path, "a.xyz", "--setting", "charge")
    assert "is the input as well" in refused(capsys, path, path, *LABEL)
    assert "must end in .xyz or .extxyz" in refused(capsys, path, "a.traj", *LABEL)
    assert "no such file" in refused(capsys, "none.xyz", "a.xyz", *LABEL)
    for name in ("a.xyz", "a.json", "a.failed.xyz"):
        Path(name).write_text("kept")
        line = refused(capsys, path, "a.xyz", *LABEL)
        assert f"{name}: exists; choose another OUT.xyz or delete it first" in line
        assert Path(name).read_text() == "kept"
        Path(name).unlink()
    line = refused(capsys, f"{path}@-1", "a.xyz", *LABEL, code=1)
    assert "1 of 1 structures have no labels: a.failed.xyz; the first, frame 0: " in line
    assert {file.name for file in Path().iterdir()} == {"crystals.xyz", "a.failed.xyz"}


def test_settings_of_the_command_reach_the_level(crystals, capsys):
    pytest.importorskip("tblite", reason="needs tblite")
    ase.io.write("water.xyz", ase.build.molecule("H2O"))
    options = ["--charge", "1", "--multiplicity", "2", "--setting", "accuracy=0.1"]
    assert main(["label", "water.xyz", "out.xyz", "--level", "gfn1", *options]) == 0
    found = json.loads(Path("out.json").read_text())["settings"]
    assert found["charge"] == 1
    assert found["multiplicity"] == 2
    assert found["accuracy"] == 0.1
    assert "`multiplicity` 3 does not fit" in refused(
        capsys, "water.xyz", "b.xyz", "--charge", "1", "--multiplicity", "3"
    )


SLEEPING = '''
import os, time
from ase.calculators.calculator import Calculator, all_changes

class Sleeping(Calculator):
    """Notes every call in a file."""

    implemented_properties = ["energy", "forces"]

    def calculate(self, atoms=None, properties=(), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        length = self.atoms.get_distance(0, 1)
        with open(os.environ["CALLS"], "a") as file:
            file.write(f"{length:.6f}\\n")
        time.sleep(0.02)
        self.results = {"energy": length, "forces": 0 * self.atoms.positions}
'''


@pytest.mark.slow
def test_a_killed_command_resumes_and_labels_nothing_twice(tmp_path):
    (tmp_path / "sleeping.py").write_text(SLEEPING)
    ase.io.write(tmp_path / "in.xyz", pairs(60))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "CALLS": str(tmp_path / "calls")}

    def start(out: str) -> subprocess.Popen:
        arguments = ["label", "in.xyz", out, "--level", "sleeping:Sleeping"]
        command = [sys.executable, "-m", "qiff.cli", *arguments]
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL, text=True
        )

    def n_lines(name: str) -> int:
        path = tmp_path / name
        return path.read_bytes().count(b"\n") if path.exists() else 0

    rng, kills = random.Random(0), 0
    for reached in (4, 15, 31, 50):
        process = start("out.xyz")
        while n_lines("out.xyz.part") < reached and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.04 * rng.random())
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills == 4
    assert not (tmp_path / "out.xyz").exists()
    assert start("out.xyz").wait() == 0
    calls = collections.Counter((tmp_path / "calls").read_text().split())
    assert len(calls) == 60
    assert 60 <= calls.total() <= 60 + kills  # only the label under way is repeated
    assert start("again.xyz").wait() == 0
    assert (tmp_path / "out.xyz").read_bytes() == (tmp_path / "again.xyz").read_bytes()


# --- geometries -----------------------------------------------------------------------------------


def emt_label(atoms):
    atoms = atoms.copy()
    atoms.calc = EMT()
    return {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}


@pytest.mark.parametrize("length", [1.0, 1.1])
def test_hessians_are_those_of_a_spring_by_any_map(length):
    axis = np.array([2.0, -1.0, 2.0]) / 3
    atoms = ase.Atoms("H2", [[0, 0, 0], length * axis])
    along = np.outer(axis, axis)
    block = 10 * along + 10 * (1 - 1 / length) * (np.eye(3) - along)
    expected = np.block([[block, -block], [-block, block]])
    backwards = lambda function, items: map(function, reversed(list(items)))
    for other_map in (map, backwards):
        found = hessian_by_differences(atoms, Spring(), other_map)
        np.testing.assert_allclose(found, expected, atol=2e-3)


def stretches(spring: float, temperature: float, *, quantum: bool) -> np.ndarray:
    """Displacements of the length of a bond of H2 along x, spring constant in eV/Å²."""
    atoms = ase.Atoms("H2", [[0, 0, 0], [0.74, 0, 0]])
    hessian = np.zeros((6, 6))
    hessian[np.ix_([0, 3], [0, 3])] = spring * np.array([[1, -1], [-1, 1]])
    rng = np.random.default_rng(1)
    found = normal_mode_displacements(atoms, hessian, temperature, 20000, rng, quantum=quantum)
    np.testing.assert_allclose(found.sum(1), 0, atol=1e-9)  # of equal masses
    return found[:, 1, 0] - found[:, 0, 0]


def test_classical_displacements_have_half_kt_of_energy_a_mode():
    found = stretches(36.0, 300.0, quantum=False)
    energy = 0.5 * 36.0 * np.mean(found**2)
    assert energy == pytest.approx(ase.units.kB * 300 / 2, rel=0.03)
    zero_point = 0.5 * 36.0 * np.mean(stretches(36.0, 300.0, quantum=True) ** 2)
    assert zero_point > 5 * energy  # control


@pytest.mark.parametrize("spring", [1e-5, -2.0])
def test_soft_and_unstable_modes_are_at_50_per_cm(spring):
    omega = 50 * ase.units.invcm / (ase.units._hbar * ase.units.J * ase.units.s)
    expected = ase.units.kB * 300 / (1.008 / 2 * omega**2)
    found = stretches(spring, 300.0, quantum=False).var()
    assert found == pytest.approx(expected, rel=0.03)


def hand(atoms: ase.Atoms, *indices: int) -> float:
    """Sign of the volume that four atoms span."""
    first, *others = atoms.positions[list(indices)]
    return float(np.sign(np.linalg.det(np.array(others) - first)))


def test_conformers_differ_and_keep_the_atoms_and_their_chirality():
    pytest.importorskip("rdkit", reason="needs RDKit")
    found = conformers("CCO", 30, 0)
    angles = sorted(abs(180 - atoms.get_dihedral(0, 1, 2, 8)) for atoms in found)
    np.testing.assert_allclose(angles, [0, 120], atol=5)  # anti and gauche
    again = conformers("smiles:CCO", 30, 0)
    assert [np.array_equal(a.positions, b.positions) for a, b in zip(found, again, strict=True)]
    start = found[1].copy()[[8, 2, 1, 0, 3, 4, 5, 6, 7]]
    start.info["charge"] = 0
    perceived = conformers(start, 30, 1)
    assert len(perceived) == 2
    for atoms in perceived:
        assert np.array_equal(atoms.numbers, start.numbers)
        assert atoms.info == start.info
        assert atoms.get_distance(0, 1) < 1.0  # the bond O-H
    alanines = conformers("C[C@H](N)C(=O)O", 10, 0)
    mirrored = conformers("C[C@@H](N)C(=O)O", 1, 0)
    assert len(alanines) > 2
    assert {hand(atoms, 1, 0, 2, 3) for atoms in alanines} == {-hand(mirrored[0], 1, 0, 2, 3)}


def test_where_no_bonds_are_found_the_structure_is_its_own_conformer():
    pytest.importorskip("rdkit", reason="needs RDKit")
    dimer, other = ase.build.molecule("H2O"), ase.build.molecule("H2O")
    other.translate([3.0, 0, 0])
    dimer += other
    for atoms in (ase.build.bulk("Si"), ase.build.molecule("LiH"), dimer, ase.Atoms("He")):
        (found,) = conformers(atoms, 5, 0)
        assert found == atoms
        assert found is not atoms
    with pytest.raises(InputError, match="smiles:CCX: is not a SMILES"):
        conformers("CCX", 1, 0)


def test_relaxation_keeps_cell_and_charge_and_finds_the_crystal():
    start = ase.build.bulk("Cu", cubic=True)
    perfect = emt_label(start)["energy"]
    start.rattle(0.1, seed=3)
    start.info["charge"] = 0
    before = start.positions.copy()
    found = relax(start, emt_label)
    assert emt_label(found)["energy"] == pytest.approx(perfect, abs=1e-6)
    assert emt_label(start)["energy"] > perfect + 0.05  # control
    assert np.array_equal(start.positions, before)
    assert found.pbc.all()
    assert np.array_equal(found.cell, start.cell)
    assert found.info == {"charge": 0}
