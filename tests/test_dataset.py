"""Reading: formats, units, labels, splits; and every mistake a file can hold."""

import json

import ase
import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from qiff import InputError, Source, read, split, stack
from qiff.atoms.data.dataset import file_hash, write
from qiff.atoms.data.formats import locate
from qiff.atoms.graph import graph
from qiff.atoms.properties import labels
from qiff.atoms.reference import fit_reference

HARTREE, BOHR = 27.211386, 0.529177


def water(energy=-10.0, shift=0.0):
    atoms = ase.Atoms("OHH", [[0, 0, 0], [0.96, 0.1, 0], [-0.2, 0.94 + shift, 0]])
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=np.full((3, 3), 0.5))
    return atoms


def many(n_frames):
    return [ase.Atoms() for _ in range(n_frames)]


@pytest.fixture
def frames():
    return [water(-10.0 - i, 0.01 * i) for i in range(10)]


@pytest.fixture
def arrays(frames):
    return {
        "coords": np.array([atoms.positions for atoms in frames]),
        "energies": np.array([atoms.get_potential_energy() for atoms in frames]),
        "forces": np.array([atoms.get_forces() for atoms in frames]),
        "nuclear_charges": frames[0].numbers,
    }


def test_extxyz_round_trip(frames, tmp_path):
    write(tmp_path / "a.xyz", frames)
    found = read(Source(str(tmp_path / "a.xyz")), need_energy=True, need_forces=True)
    for before, after in zip(frames, found, strict=True):
        np.testing.assert_allclose(after.positions, before.positions)
        assert labels(after)["energy"] == before.get_potential_energy()
        np.testing.assert_allclose(labels(after)["forces"], before.get_forces())


def test_units_are_converted_once(frames, tmp_path):
    write(tmp_path / "a.xyz", frames)
    source = Source(str(tmp_path / "a.xyz"), energy_unit="Hartree", length_unit="Bohr")
    (first, *_) = read(source)
    np.testing.assert_allclose(first.positions, frames[0].positions * BOHR, rtol=1e-6)
    np.testing.assert_allclose(labels(first)["energy"], -10 * HARTREE, rtol=1e-6)
    np.testing.assert_allclose(labels(first)["forces"], 0.5 * HARTREE / BOHR, rtol=1e-6)


def test_label_keys_are_looked_up_in_order(tmp_path):
    atoms = water(energy=-1.0)
    atoms.info |= {"REF_energy": -2.0, "dft": -3.0}
    ase.io.write(tmp_path / "a.xyz", atoms)
    path = str(tmp_path / "a.xyz")
    assert labels(read(Source(path))[0])["energy"] == -2.0
    assert labels(read(Source(path, energy_key="dft"))[0])["energy"] == -3.0
    with pytest.raises(InputError, match=r"frame 0: has no energy label `dftt`; keys found: .*dft"):
        read(Source(path, energy_key="dftt"))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(arrays, frames, tmp_path, save):
    save(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match="does not declare its units"):
        read(Source(str(tmp_path / "a.npz")))
    source = Source(str(tmp_path / "a.npz"), energy_unit="kcal/mol", length_unit="Angstrom")
    (first, *rest) = read(source)
    assert len(rest) == 9
    np.testing.assert_allclose(labels(first)["energy"], -10 * 0.0433641, rtol=1e-6)


def test_rmd17_as_published(rmd17):
    path = str(rmd17 / "rmd17_ethanol_train_01.npz")
    with pytest.raises(InputError, match="does not declare its units"):
        read(Source(path))
    frames = read(Source(path, "kcal/mol", "Angstrom"), need_energy=True, need_forces=True)
    assert len(frames) == 1000
    assert {atoms.get_chemical_formula() for atoms in frames} == {"C2H6O"}
    energies = np.array([labels(atoms)["energy"] for atoms in frames])
    assert -4215 < energies.mean() < -4205  # eV, PBE/def2-SVP
    assert np.abs([labels(atoms)["forces"].sum(0) for atoms in frames]).max() < 6e-6


def test_sgdml_names_and_units(arrays, tmp_path):
    renamed = {"R": arrays["coords"], "E": arrays["energies"], "F": arrays["forces"]}
    units = {"z": arrays["nuclear_charges"], "e_unit": "kcal/mol", "r_unit": "Ang"}
    np.savez(tmp_path / "a.npz", **renamed, **units)
    (first, *_) = read(Source(str(tmp_path / "a.npz")))
    np.testing.assert_allclose(labels(first)["energy"], -10 * 0.0433641, rtol=1e-6)


def test_folder_of_npy(arrays, tmp_path):
    np.save(tmp_path / "Positions.npy", arrays["coords"])
    np.save(tmp_path / "Energy.npy", arrays["energies"][:, None])
    source = Source(str(tmp_path), "eV", "Angstrom", elements=("O", "H", "H"))
    found = read(source, need_energy=True)
    assert found[3].get_chemical_formula() == "H2O"
    assert "forces" not in labels(found[3])
    assert len(file_hash(str(tmp_path))) == 64
    with pytest.raises(InputError, match="does not name its elements; set `elements`"):
        read(Source(str(tmp_path), "eV", "Angstrom"))
    with pytest.raises(InputError, match=r"positions must have shape \(10, 2, 3\)"):
        read(Source(str(tmp_path), "eV", "Angstrom", elements=("O", "H")))


def test_bundled_sets_have_labels_and_provenance():
    sizes = {"water": 1001, "lih": 181, "ammonia": 501, "water-dimer": 1501, "water-dimer-cut": 141}
    for name, n_frames in sizes.items():
        found = read(Source(f"bundled:{name}"), need_energy=True, need_forces=True)
        provenance = json.loads(locate(f"bundled:{name}").with_suffix(".json").read_text())
        assert len(found) == n_frames == provenance["n_frames"]
        assert {"level", "program", "sampling", "units"} <= provenance.keys()
        net = [np.abs(labels(atoms)["forces"].sum(0)).max() for atoms in found]
        assert max(net) < 1e-6


def test_bundled_forces_are_the_slope_of_the_energies():
    """The LiH curve, by an eighth of an Å: what the forces say is what the energies do."""
    found = read(Source("bundled:lih"))
    length = np.array([atoms.get_distance(0, 1) for atoms in found])
    energy = np.array([labels(atoms)["energy"] for atoms in found])
    pull = np.array([labels(atoms)["forces"][0, 2] for atoms in found])
    work = np.concatenate([[0], np.cumsum((pull[1:] + pull[:-1]) / 2 * np.diff(length))])
    np.testing.assert_allclose(energy - energy[0], work, atol=2e-2)
    assert np.ptp(energy) > 4


# --- mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"path": "absent.xyz"}, "absent.xyz: no such file"),
        ({"path": "bundled:watr"}, "did you mean `water`"),
        ({"path": "a", "energy_unit": "hartree"}, "did you mean `Hartree`"),
        ({"path": "a", "length_unit": "furlong"}, "Length unit `furlong` is not known; known: Ang"),
        ({"path": "a", "elements": ("Hx",)}, "Element `Hx`"),
    ],
)
def test_wrong_sources_are_refused(source, message):
    with pytest.raises(InputError, match=message):
        read(Source(**source))


def test_empty_and_broken_files_are_refused(tmp_path):
    (tmp_path / "empty.xyz").write_text("")
    with pytest.raises(InputError, match=r"empty\.xyz: has no frames"):
        read(Source(str(tmp_path / "empty.xyz")))
    (tmp_path / "broken.xyz").write_text("3\n\nO 0 0 0\nH 0 0\n")
    with pytest.raises(InputError, match=r"broken\.xyz: frame 0: has 2 atoms, but announces 3"):
        read(Source(str(tmp_path / "broken.xyz")))
    (tmp_path / "broken.cif").write_text("3\n\nO 0 0 0\nH 0 0\n")
    message = r"broken\.cif: cannot be read as a structure file \(.+\); check its format\.$"
    with pytest.raises(InputError, match=message):
        read(Source(str(tmp_path / "broken.cif")))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(InputError, match=r"broken\.npz` is corrupt"):
        read(Source(str(tmp_path / "broken.npz")))


def test_files_of_arrays_without_what_is_needed_are_refused(arrays, tmp_path):
    path = tmp_path / "a.npz"
    with path.open("wb") as file:
        np.save(file, arrays["coords"])
    with pytest.raises(InputError, match=r"a\.npz: is not an \.npz archive\.$"):
        read(Source(str(path)))
    del arrays["coords"]
    np.savez(path, **arrays)
    message = (
        "no array of positions `coords or r or positions .*`; found: energies, forces, nuclear"
    )
    with pytest.raises(InputError, match=message):
        read(Source(str(path), "eV", "Angstrom"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no array of positions .*; found: none"):
        read(Source(str(tmp_path / "empty"), "eV", "Angstrom"))


def test_pickled_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", coords=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match=r"array of positions `coords` .* pickled objects"):
        read(Source(str(tmp_path / "a.npz")))
    np.save(tmp_path / "Positions.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="pickled objects"):
        read(Source(str(tmp_path)))


def test_missing_labels_are_listed(tmp_path):
    atoms = water()
    atoms.calc = None
    atoms.info["total"] = 1.0
    ase.io.write(tmp_path / "a.xyz", atoms)
    path = str(tmp_path / "a.xyz")
    with pytest.raises(InputError, match="frame 0: has no energy label; keys found: total"):
        read(Source(path), need_energy=True)
    with pytest.raises(InputError, match="has no forces label"):
        read(Source(path, energy_key="total"), need_energy=True, need_forces=True)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["positions", "energy", "forces"])
def test_numbers_that_are_not_finite_are_refused(frames, tmp_path, where, value):
    if where == "positions":
        frames[4].positions[1, 2] = value
    elif where == "energy":
        frames[4].calc.results["energy"] = value
    else:
        frames[4].calc.results["forces"][0, 0] = value
    frames[4].calc.atoms = frames[4].copy()
    write(tmp_path / "a.xyz", frames)
    with pytest.raises(InputError, match=f"frame 4: `{where}` must be finite"):
        read(Source(str(tmp_path / "a.xyz")))


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ({"REF_energy": "abc"}, "energy must be numbers, but is 'abc'"),
        ({"REF_energy": np.ones(3)}, r"energy must have shape \(\), but has \(3,\)"),
        ({"REF_forces": np.ones(3)}, r"forces must have shape \(3, 3\), but has \(3,\)"),
    ],
)
def test_labels_of_the_wrong_shape_are_refused(tmp_path, label, message):
    atoms = water()
    for key, value in label.items():
        (atoms.arrays if key == "REF_forces" else atoms.info)[key] = value
    ase.io.write(tmp_path / "a.xyz", atoms)
    with pytest.raises(InputError, match=f"frame 0: {message}"):
        read(Source(str(tmp_path / "a.xyz")))


def test_other_columns_of_a_file_are_kept(tmp_path):
    atoms = water()
    atoms.info |= {"name": "sample", "REF_energy": -3.0}
    atoms.set_masses([16, 2, 2])  # pyright: ignore[reportArgumentType] (lists are taken)
    ase.io.write(tmp_path / "a.xyz", atoms, columns=["symbols", "positions", "masses"])
    (found,) = read(Source(str(tmp_path / "a.xyz")))
    assert found.info == {"name": "sample"}
    np.testing.assert_allclose(found.get_masses(), [16, 2, 2])


def test_array_labels_can_be_named(arrays, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays, ccsd=2 * arrays["energies"])
    source = lambda key: Source(str(tmp_path / "a.npz"), "eV", "Angstrom", energy_key=key)
    assert labels(read(source(""))[0])["energy"] == -10
    assert labels(read(source("ccsd"))[0])["energy"] == -20
    with pytest.raises(InputError, match="no array of energy `mp2`; found: coords, energies"):
        read(source("mp2"))


def test_short_names_in_a_folder(arrays, tmp_path):
    for name, key in (
        ("R", "coords"),
        ("E", "energies"),
        ("F", "forces"),
        ("z", "nuclear_charges"),
    ):
        np.save(tmp_path / f"{name}.npy", arrays[key])
    assert len(read(Source(str(tmp_path), "eV", "Angstrom"), need_forces=True)) == 10


def test_impossible_elements_and_positions_in_arrays(arrays, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays | {"nuclear_charges": [800, 1, 1]})
    with pytest.raises(InputError, match="atomic numbers must be from 1 to 118"):
        read(Source(str(tmp_path / "a.npz"), "eV", "Angstrom"))
    np.savez(tmp_path / "a.npz", **arrays | {"coords": np.array(1.0)})
    with pytest.raises(InputError, match="positions must have shape"):
        read(Source(str(tmp_path / "a.npz"), "eV", "Angstrom"))


def test_atoms_on_top_of_each_other_are_refused(frames, tmp_path):
    frames[2].positions[1] = frames[2].positions[2] + 0.01
    write(tmp_path / "a.xyz", [atoms.copy() for atoms in frames])
    with pytest.raises(InputError, match=r"frame 2: atoms 1 and 2 are 0\.0173 Å apart"):
        read(Source(str(tmp_path / "a.xyz")))


# --- splits, stacks and references ------------------------------------------------------------


def test_split_is_by_seed_and_disjoint():
    parts = split(many(100), 0.7, 0.1, 0.2, seed=3)
    assert [len(part) for part in parts] == [70, 10, 20]
    assert len(set(np.concatenate(list(parts)))) == 100
    assert np.array_equal(parts.train, split(many(100), 0.7, 0.1, 0.2, seed=3).train)
    assert not np.array_equal(parts.train, split(many(100), 0.7, 0.1, 0.2, seed=4).train)
    assert len(split(many(100), 50, 10, 5, seed=0).test) == 5


@pytest.mark.parametrize("n_frames", range(10, 120))
def test_fractions_that_make_one_always_fit(n_frames):
    for fractions in ((0.8, 0.1, 0.1), (0.7, 0.1, 0.2), (0.6, 0.1, 0.3)):
        parts = split(many(n_frames), *fractions, seed=0)
        assert sum(map(len, parts)) == n_frames
        assert all(abs(len(p) - f * n_frames) <= 1 for p, f in zip(parts, fractions, strict=True))


@pytest.mark.parametrize("size", [float("nan"), float("inf"), -0.1, 40.7])
def test_sizes_that_are_neither_fraction_nor_number_are_refused(size):
    with pytest.raises(InputError, match="`valid` must be a fraction below 1 or a whole number"):
        split(many(100), 0.5, size, 0.1, seed=0)


@pytest.mark.parametrize(
    "sizes", [(0.9, 0.2, 0.1), (50, 60, 0), (0.5, 0.0, 0.5), (0.001, 0.5, 0.1)]
)
def test_impossible_splits_are_refused(sizes):
    with pytest.raises(InputError, match="together at most 100"):
        split(many(100), *sizes, seed=0)


def test_smaller_configurations_are_padded_in_stacks(frames):
    stacked = stack(frames, "float32")
    assert stacked.graph.positions.dtype == np.float32
    assert stacked.labels["forces"].shape == (10, 3, 3)
    assert stacked.labels.keys() == {"energy", "forces"}
    mixed = graph([frames[0], frames[0][:2]], "float64", cutoff=5.0)
    assert mixed.numbers.tolist() == [[8, 1, 1], [8, 1, 0]]
    assert mixed.neighbours.tolist() == [[[1, 2], [0, 2], [0, 1]], [[1, 0], [0, 1], [2, 2]]]
    assert mixed.mask.sum(-1).tolist() == [[2, 2, 2], [1, 1, 0]]
    assert not mixed.positions[1, 2].any()


def test_reference_of_one_molecule_is_the_mean(frames):
    reference = fit_reference(frames)
    assert np.isclose(reference.energies[8] + 2 * reference.energies[1], -14.5)
    assert np.isclose(reference.scale, 4.5)
    with pytest.raises(InputError, match="must have different energies"):
        fit_reference([frames[0]] * 3)


def test_reference_of_several_molecules_is_per_element():
    frames = []
    for symbols in ("OHH", "HH", "OO"):
        atoms = ase.Atoms(symbols, np.arange(3 * len(symbols)).reshape(-1, 3))
        energy = -20.0 * symbols.count("O") - 3.0 * symbols.count("H")
        for noise in (-0.1, 0.1):
            atoms = atoms.copy()
            atoms.calc = SinglePointCalculator(atoms, energy=energy + noise)
            frames.append(atoms)
    reference = fit_reference(frames)
    assert np.isclose(reference.energies[8], -20)
    assert np.isclose(reference.energies[1], -3)
    assert np.isclose(reference.scale, 0.1 * np.mean([1 / 3, 1 / 2, 1 / 2]) ** 0.5)
