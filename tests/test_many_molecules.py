"""Data sets of many molecules: random growth, frames with intact bonds, splits by molecule."""

import json

import ase
import ase.units
import numpy as np
import pytest

from qiff._checks import InputError, RunError
from qiff.atoms.data.dataset import read
from qiff.atoms.data.formats import locate
from qiff.atoms.data.smiles import molecule_of
from qiff.atoms.data.source import Source
from qiff.atoms.data.split import split
from qiff.labelling.growth import grown, scaffold
from qiff.labelling.level import Level
from qiff.labelling.maker import make
from qiff.labelling.molecules import ForceField, Molecules, bonded, other_bonds
from qiff.labelling.recipes import RECIPES, Recipe
from qiff.labelling.samplers import Sampling
from qiff.labelling.sampling import conformers, hessian_by_differences, relax
from qiff.run.config import Data, Run
from qiff.run.prepare import prepare


@pytest.fixture
def rdkit():
    return pytest.importorskip("rdkit.Chem", reason="needs RDKit")


@pytest.fixture
def tblite():
    return pytest.importorskip("tblite", reason="needs tblite")


# --- molecules -------------------------------------------------------------------------------


def test_grown_molecules_are_different_neutral_and_the_same_for_a_seed(rdkit):
    found = grown(60, seed=3)
    assert len(set(found)) == 60
    assert found == grown(80, seed=3)[:60]
    assert found != grown(60, seed=4)  # control
    for smiles in found:
        molecule = rdkit.MolFromSmiles(smiles)
        assert rdkit.MolToSmiles(molecule) == smiles
        assert molecule.GetNumAtoms() <= 12
        assert {atom.GetSymbol() for atom in molecule.GetAtoms()} <= {"C", "N", "O"}
        assert not rdkit.GetFormalCharge(molecule)
        assert not molecule.HasSubstructMatch(rdkit.MolFromSmarts("OO"))
    assert max(rdkit.MolFromSmiles(s).GetNumAtoms() for s in grown(20, seed=3, most=5)) == 5


def test_scaffolds(rdkit):
    assert scaffold("CCc1ccccc1") == scaffold("Oc1ccccc1") == "c1ccccc1"
    assert scaffold("CC(O)C") == scaffold("CC(N)C") == "CC(C)C"  # a skeleton where no ring is
    assert scaffold("CCCC") != scaffold("CC(C)C")


def test_broken_and_new_bonds_are_found(rdkit):
    atoms = conformers("CCO", 1, seed=0)[0]
    bonds = bonded("CCO")
    assert not other_bonds(atoms, bonds)
    far, near = atoms.copy(), atoms.copy()
    far.set_distance(2, 8, 1.5, fix=0)
    assert other_bonds(far, bonds) == "a bond H-O is broken"
    near.set_distance(3, 4, 0.6, fix=0)
    assert other_bonds(near, bonds) == "a bond H-H is formed"


def test_forces_of_the_force_field_are_the_slope_of_its_energy(rdkit):
    field, atoms = ForceField("CCO"), conformers("CCO", 1, seed=0)[0]
    atoms.positions += np.random.default_rng(0).normal(scale=0.05, size=(9, 3))
    energies = []
    for step in (1e-4, -1e-4):
        moved = atoms.copy()
        moved.positions[2, 1] += step
        energies.append(field(moved)["energy"])
    slope = (energies[0] - energies[1]) / 2e-4
    np.testing.assert_allclose(field(atoms)["forces"][2, 1], -slope, atol=1e-5)


def test_a_relaxation_with_an_estimate_of_the_hessian_needs_fewer_labels(rdkit):
    """The field itself, softened: an estimate need not be right."""
    field, atoms = ForceField("CCO"), conformers("CCO", 1, seed=0)[0]
    hessian = hessian_by_differences(atoms, field)
    atoms.positions += np.random.default_rng(0).normal(scale=0.05, size=(9, 3))
    counts, energies = [], []
    for estimate in (0.8 * hessian, None):
        calls = []
        count = lambda a, calls=calls: calls.append(1) or field(a)
        energies.append(field(relax(atoms, count, 0.01, estimate))["energy"])
        counts.append(len(calls))
    assert counts[0] < counts[1] / 2
    assert energies[0] == pytest.approx(energies[1], abs=1e-3)


# --- the data sets ---------------------------------------------------------------------------


def test_organic_resumes_within_a_molecule_and_equals_one_go(rdkit, tblite, tmp_path):
    def killed(n_done):
        if n_done == 11:
            raise KeyboardInterrupt

    path, again = tmp_path / "organic.xyz", tmp_path / "again.xyz"
    with pytest.raises(KeyboardInterrupt):
        make("organic", path, Sampling(15), killed)
    make("organic", path, Sampling(15))
    make("organic", again, Sampling(15), map=lambda f, items: map(f, reversed(list(items))))
    assert path.read_bytes() == again.read_bytes()
    assert path.with_suffix(".json").read_bytes() == again.with_suffix(".json").read_bytes()
    frames = read(Source(str(path)), need_energy=True, need_forces=True)
    provenance = json.loads(path.with_suffix(".json").read_text())
    assert len(frames) + sum(provenance.get("left_out", {}).values()) == 15
    assert "RDKit" in provenance["program"]
    assert list(dict.fromkeys(a.info["smiles"] for a in frames)) == grown(2, 0)
    for atoms in frames:
        assert atoms.info["scaffold"] == scaffold(atoms.info["smiles"])
        assert not other_bonds(atoms, bonded(atoms.info["smiles"]))
        assert np.array_equal(atoms.positions, atoms.positions.round(4))
    largest = [np.abs(a.get_forces()).max() for a in frames if a.info["smiles"] == grown(1, 0)[0]]
    assert largest[0] < 0.06 < min(largest[2:])  # relaxed, then displaced
    make("organic", again, Sampling(2, seed=1))
    assert path.read_bytes() != again.read_bytes()  # control


def test_organic_can_have_smaller_molecules_and_fewer_frames_of_each(rdkit, tblite, tmp_path):
    make("organic", path := tmp_path / "small.xyz", Sampling(9, n_heavy=4, n_each=3))
    provenance = json.loads(path.with_suffix(".json").read_text())
    assert (provenance["n_heavy"], provenance["n_each"], provenance["n_frames"]) == (4, 3, 9)
    frames = read(Source(str(path)))
    assert len(frames) + sum(provenance.get("left_out", {}).values()) == 9
    assert list(dict.fromkeys(a.info["smiles"] for a in frames)) == grown(3, 0, 4)
    assert max(np.count_nonzero(atoms.numbers > 1) for atoms in frames) <= 4
    with pytest.raises(InputError, match=r"hardly more than 3 molecules of up to 1 heavy .* but 9"):
        make("organic", tmp_path / "none.xyz", Sampling(9, n_heavy=1, n_each=1))
    assert {path.name for path in tmp_path.iterdir()} == {"small.xyz", "small.json"}


def test_what_a_recipe_does_not_use_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"`seed` does not change .* depends on `n_frames` alone"):
        make("lih", tmp_path / "lih.xyz", Sampling(seed=1))
    with pytest.raises(InputError, match="`n_each` does not change"):
        make("alkanes", tmp_path / "alkanes.xyz", Sampling(n_each=3))
    assert not any(tmp_path.iterdir())


def only(*smiles):
    """A recipe of some molecules at the level of the force field."""
    label = lambda atoms: ForceField(atoms.info["smiles"])(atoms)
    sampler = Molecules(lambda sampling: [molecule_of(name)[0] for name in smiles], 5)
    level = Level("MMFF94", label, lambda: "RDKit")
    return Recipe(level, "as tested", 20, ("n_frames", "seed"), sampler)


def test_what_is_left_out_is_counted_with_its_reason(rdkit, tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, "two", only("CCO", "CC"))
    monkeypatch.setattr("qiff.labelling.molecules._LARGEST_FORCE", 4.0)
    make("two", tmp_path / "two.xyz", Sampling(20))
    frames = read(Source(str(tmp_path / "two.xyz")))
    left_out = json.loads((tmp_path / "two.json").read_text())["left_out"]
    assert left_out == {"a force is above 4 eV/Å": 20 - len(frames)}
    assert 0 < len(frames) < 20
    assert max(np.linalg.norm(a.get_forces(), axis=1).max() for a in frames) < 4

    monkeypatch.setattr("qiff.labelling.molecules._CLOSEST", 9.0)
    with pytest.raises(RunError, match="every frame is left out: molecule: a bond C-O is formed"):
        make("two", tmp_path / "none.xyz", Sampling(4))
    assert not (tmp_path / "none.xyz").exists()


def test_alkanes_are_trained_on_small_and_tested_on_all(rdkit):
    molecules = RECIPES["alkanes"].sampler.start(Sampling(320), lambda atoms: {})
    sizes = lambda part: sorted({a.numbers.tolist().count(6) for a in molecules if part(a)})
    assert sizes(lambda a: a.info.get("part") == "test") == list(range(4, 16))
    assert sizes(lambda a: "part" not in a.info) == list(range(4, 9))
    assert all(
        a.numbers.tolist().count(1) == 2 * a.info["smiles"].count("C") + 2 for a in molecules
    )


def test_the_bundled_part_has_labels_of_its_level(rdkit, tblite):
    frames = read(Source("bundled:organic"), need_energy=True, need_forces=True)
    provenance = json.loads(locate("bundled:organic").with_suffix(".json").read_text())
    drawn = provenance["n_frames"] - sum(provenance["left_out"].values())
    assert len(frames) == -(-drawn // 3) == 294
    assert len({atoms.info["smiles"] for atoms in frames}) == 89
    assert {symbol for atoms in frames for symbol in atoms.symbols} == {"H", "C", "N", "O"}
    label = RECIPES["organic"].level.label
    for atoms in frames[::60]:
        assert not other_bonds(atoms, bonded(atoms.info["smiles"]))
        found = label(atoms)
        assert found["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-5)
        np.testing.assert_allclose(found["forces"], atoms.get_forces(), atol=3e-4)


@pytest.mark.slow
def test_displaced_molecules_are_in_equilibrium(rdkit):
    """Half a kT in each mode, where the level is the field whose modes are taken."""
    recipe = only("CC", "C1CC1", "c1ccccc1")
    start = recipe.sampler.start(Sampling(600), recipe.level.label)
    found = recipe.sampler.frames(Sampling(600), recipe.level.label, start, {}, map)
    frames = [atoms for _, atoms in found if isinstance(atoms, ase.Atoms)]
    for number in range(3):
        relaxed, *same = frames[200 * number : 200 * (number + 1)]
        above = np.mean([a.get_potential_energy() for a in same]) - relaxed.get_potential_energy()
        expected = (3 * len(relaxed) - 6) / 2 * ase.units.kB * 450  # the mean of 300 to 600 K
        assert above == pytest.approx(expected, rel=0.15)
        assert above != pytest.approx(expected * 300 / 450, rel=0.15)  # control


# --- splits ----------------------------------------------------------------------------------


def of_groups(*sizes):
    return [ase.Atoms("H", info={"name": f"g{n}"}) for n, k in enumerate(sizes) for _ in range(k)]


def names(frames, indices, key="name"):
    return {frames[i].info[key] for i in indices}


def crossing(frames, parts, key="name"):
    found = [names(frames, part, key) for part in parts]
    return sum(len(a & b) for n, a in enumerate(found) for b in found[:n])


def test_no_group_is_in_two_parts():
    frames = of_groups(*[7] * 40, *[1] * 20, 50)
    for seed in range(5):
        parts = split(frames, 0.7, 0.1, 0.2, seed, "name")
        assert not crossing(frames, parts)
        assert crossing(frames, split(frames, 0.7, 0.1, 0.2, seed)) > 10  # control
        assert sorted(np.concatenate(parts)) == list(range(len(frames)))
        np.testing.assert_allclose([len(p) for p in parts], [245, 35, 70], atol=7)
    one, other = (split(frames, 0.7, 0.1, 0.2, seed, "name") for seed in (0, 1))
    assert not np.array_equal(one.train, other.train)
    some = split(frames, 70, 14, 21, 0, "name")
    assert not crossing(frames, some)
    assert abs(len(some.train) - 70) <= 50


def test_groups_of_one_frame_are_split_as_without_groups():
    frames = of_groups(*[1] * 30)
    for one, other in zip(
        split(frames, 0.6, 0.2, 0.2, 3, "name"), split(frames, 0.6, 0.2, 0.2, 3), strict=True
    ):
        assert np.array_equal(one, other)


def test_impossible_groups_are_refused():
    frames = of_groups(5, 5)
    with pytest.raises(InputError, match=r"frame 0: has no `smiles` to be grouped by .*: name"):
        split(frames, 0.5, 0.5, 0, 0, "smiles")
    with pytest.raises(InputError, match="`group_by`: 2 groups of frames are too few"):
        split(frames, 0.6, 0.2, 0.2, 0, "name")
    frames = of_groups(5, 5, 5)
    for atoms in frames[::5]:
        atoms.info["part"] = "test"
    with pytest.raises(InputError, match=r"g\d has frames in the .* part, since the data set some"):
        split(frames, 5, 2, 3, 0, "name")
    frames = of_groups(5, 5, 5)
    for atoms in frames[:5]:
        atoms.info["part"] = "test"  # a whole group is no mistake
    assert names(frames, split(frames, 5, 5, 5, 0, "name").test) == {"g0"}


@pytest.mark.slow
def test_a_run_is_split_by_groups():
    model = {"kind": "local", "elements": ["H", "C", "N", "O"], "n_circuits": 1}
    data = Data("bundled:organic@::6", train=0.7, valid=0.1, test=0.2, group_by="scaffold")
    found = prepare(Run(data, model))
    assert all(map(len, found.parts))
    assert not crossing(found.frames, found.parts, "scaffold")
