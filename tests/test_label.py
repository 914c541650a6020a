"""Reference data: real PySCF calculations, resumable, checked against independent numbers."""

import collections
import json
import pickle
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from types import SimpleNamespace

import ase
import ase.io
import ase.units
import numpy as np
import pytest

from qiff._checks import InputError, MissingExtraError, RunError
from qiff.cli import main
from qiff.labelling.engines import pyscf as engine
from qiff.labelling.engines.fci import FCI
from qiff.labelling.level import Level
from qiff.labelling.maker import make
from qiff.labelling.recipes import MP2, PBE0, RECIPES, Recipe
from qiff.labelling.samplers import Listed, Sampling, Trajectory
from qiff.labelling.sampling import normal_mode_displacements


def lines(path):
    return path.read_text().splitlines()


def frames_of(path):
    frames = ase.io.read(path, ":")
    assert isinstance(frames, list)
    return frames


def frame_of(path, index):
    return frames_of(path)[index]


def killed_after(n_frames):
    """Called after each label; interrupts as soon as so many frames are finished."""

    def after_label(n_done):
        if n_done == n_frames:
            raise KeyboardInterrupt

    return after_label


@pytest.fixture
def pyscf():
    return pytest.importorskip("pyscf")


@pytest.mark.slow
def test_lih_resumes_after_a_kill_and_equals_one_go(pyscf, tmp_path):
    sampling = Sampling(n_frames=4)
    path, part = tmp_path / "lih.xyz", tmp_path / "lih.xyz.part"
    with pytest.raises(KeyboardInterrupt):
        make("lih", path, sampling, killed_after(2))
    assert not path.exists()
    assert len(lines(part)) == 3  # the header and two labels
    with part.open("a") as file:
        file.write('{"index": 2, "fra')  # cut short by the kill
    counts = []
    make("lih", path, sampling, counts.append)
    assert counts == [2, 3, 4]
    assert not part.exists()
    make("lih", tmp_path / "again.xyz", sampling)
    for one, other in zip(frames_of(path), frames_of(tmp_path / "again.xyz"), strict=True):
        assert np.array_equal(one.positions, other.positions)
        np.testing.assert_allclose(one.get_potential_energy(), other.get_potential_energy())
        np.testing.assert_allclose(one.get_forces(), other.get_forces(), atol=1e-7)
    assert json.loads(path.with_suffix(".json").read_text())["n_frames"] == 4


def test_lih_reproduces_the_bundled_curve(pyscf):
    label = FCI.label
    bundled = frame_of("src/qiff/atoms/data/bundled/lih.xyz", 40)
    found = label(bundled)
    np.testing.assert_allclose(found["energy"], bundled.get_potential_energy(), atol=1e-7)
    np.testing.assert_allclose(found["forces"], bundled.get_forces(), atol=1e-5)


@pytest.mark.slow
def test_lih_agrees_with_dense_diagonalisation(pyscf):
    """FCI against the full matrix of the Hamiltonian in the space of determinants."""
    from pyscf import ao2mo, fci, gto, scf

    atoms = ase.Atoms("LiH", [[0, 0, 0], [0, 0, 1.6]])
    molecule = gto.M(atom="Li 0 0 0; H 0 0 1.6", basis="sto-3g", verbose=0)
    field = scf.RHF(molecule).run()
    assert field.mo_coeff is not None
    h1 = field.mo_coeff.T @ field.get_hcore() @ field.mo_coeff
    h2 = ao2mo.kernel(molecule, field.mo_coeff)
    _, hamiltonian = fci.direct_spin1.pspace(h1, h2, 6, 4, np=15**2)
    lowest = np.linalg.eigvalsh(hamiltonian)[0] + molecule.energy_nuc()
    energy = FCI.label(atoms)["energy"]
    np.testing.assert_allclose(energy, lowest * ase.units.Hartree, atol=1e-7)


@pytest.mark.slow
def test_water_forces_are_the_slope_of_the_energy(pyscf):
    label = PBE0.label
    atoms = frame_of("src/qiff/atoms/data/bundled/water.xyz", 5)
    forces = label(atoms)["forces"]
    ahead, behind = atoms.copy(), atoms.copy()
    ahead.positions[1, 0] += 1e-3
    behind.positions[1, 0] -= 1e-3
    slope = (label(ahead)["energy"] - label(behind)["energy"]) / 2e-3
    np.testing.assert_allclose(forces[1, 0], -slope, atol=1e-4)


@pytest.mark.parametrize("index", [0, pytest.param(7, marks=pytest.mark.slow)])
def test_bundled_water_is_what_the_recipe_gives(pyscf, index):
    atoms = frame_of("src/qiff/atoms/data/bundled/water.xyz", index)
    found = PBE0.label(atoms)
    np.testing.assert_allclose(found["energy"], atoms.get_potential_energy(), atol=1e-6)
    np.testing.assert_allclose(found["forces"], atoms.get_forces(), atol=1e-5)


def test_wigner_samples_have_the_variance_of_the_quantum_oscillator():
    """A diatomic on a spring along x: against the textbook variance, and the classical limit."""
    atoms = ase.Atoms("H2", [[0, 0, 0], [0.74, 0, 0]])
    spring = 36.0  # eV/Å²
    hessian = np.zeros((6, 6))
    hessian[np.ix_([0, 3], [0, 3])] = spring * np.array([[1, -1], [-1, 1]])
    reduced = 1.008 / 2
    omega = np.sqrt(spring / reduced)
    hbar = ase.units._hbar * ase.units.J * ase.units.s
    for temperature in (300.0, 1e5):
        quantum = hbar / (2 * reduced * omega)
        wanted = quantum / np.tanh(hbar * omega / (2 * ase.units.kB * temperature))
        rng = np.random.default_rng(0)
        steps = normal_mode_displacements(atoms, hessian, temperature, 40000, rng)
        stretch = steps[:, 1, 0] - steps[:, 0, 0]
        np.testing.assert_allclose(stretch.var(), wanted, rtol=0.03)
    np.testing.assert_allclose(wanted, ase.units.kB * temperature / spring, rtol=0.01)


# --- a level of theory that costs nothing ------------------------------------------------------


def spring(atoms):
    """A harmonic bond of 10 eV/Å² and length 1 Å, with charges as a third result."""
    bond = atoms.positions[1] - atoms.positions[0]
    length = np.linalg.norm(bond)
    pull = 10 * (length - 1) * bond / length
    energy = 5 * float(length - 1) ** 2
    forces = np.array([pull, -pull])
    return {"energy": energy, "forces": forces, "charges": np.array([length, -length])}


class Counted:
    """Labels by `spring`, and counts how often each geometry was labelled."""

    def __init__(self):
        self.seen = collections.Counter()

    def __call__(self, atoms):
        self.seen[atoms.positions.tobytes()] += 1
        return spring(atoms)


def pairs(sampling):
    lengths = 1 + 0.1 * np.random.default_rng(sampling.seed).random(sampling.n_frames)
    return [ase.Atoms("H2", [[0, 0, 0], [0, length, 0]]) for length in lengths]


MOVING = Trajectory(lambda: ase.Atoms("H2", [[0, 0, 0], [1.1, 0, 0]]), 0.5, 40, 200, 20.0)


def on_a_spring(sampler, n_frames, label=spring):
    level = Level("spring", label, lambda: "by hand")
    return Recipe(level, "as tested", n_frames, ("n_frames", "temperature", "seed"), sampler)


def shuffled(function, items):
    """A `map` that takes the items in an order of its own."""
    items = list(items)
    return [function(items[i]) for i in np.random.default_rng(5).permutation(len(items))]


def threaded(function, items):
    """A `map` whose results arrive as they are finished."""

    def slowly(item):
        time.sleep(0.01 * (item[0] % 3))
        return function(item)

    with ThreadPoolExecutor(4) as pool:
        yield from (done.result() for done in as_completed(pool.submit(slowly, i) for i in items))


@pytest.mark.parametrize("other_map", [shuffled, threaded])
def test_any_map_gives_the_same_data_set(tmp_path, monkeypatch, other_map):
    monkeypatch.setitem(RECIPES, "spring", on_a_spring(Listed(pairs), 9))
    order = []

    def watched(function, items):
        for index, atoms in other_map(function, items):
            order.append(index)
            yield index, atoms

    make("spring", tmp_path / "one.xyz", Sampling())
    make("spring", tmp_path / "two.xyz", Sampling(), map=watched)
    assert sorted(order) == list(range(9)) != order  # control: they came in another order
    for suffix in (".xyz", ".json"):
        one, two = ((tmp_path / name).with_suffix(suffix) for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
    make("spring", tmp_path / "three.xyz", Sampling(seed=1))
    assert (tmp_path / "three.xyz").read_bytes() != (tmp_path / "one.xyz").read_bytes()  # control


def test_functions_and_items_of_the_map_can_be_pickled(tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, "spring", on_a_spring(Listed(pairs), 3))

    def elsewhere(function, items):
        for item in items:
            there, argument = pickle.loads(pickle.dumps((function, item)))
            yield pickle.loads(pickle.dumps(there(argument)))

    make("spring", tmp_path / "one.xyz", Sampling())
    make("spring", tmp_path / "two.xyz", Sampling(), map=elsewhere)
    assert (tmp_path / "one.xyz").read_bytes() == (tmp_path / "two.xyz").read_bytes()


def test_listed_frames_resume_in_any_order_and_are_labelled_once(tmp_path, monkeypatch):
    counted = Counted()
    monkeypatch.setitem(RECIPES, "spring", on_a_spring(Listed(pairs), 9, counted))
    path, part = tmp_path / "spring.xyz", tmp_path / "spring.xyz.part"
    lazily = lambda function, items: (function(item) for item in reversed(list(items)))
    with pytest.raises(KeyboardInterrupt):
        make("spring", path, Sampling(), killed_after(4), lazily)
    header, *records = lines(part)
    assert [json.loads(record)["index"] for record in records] == [8, 7, 6, 5]
    twice = json.loads(records[1])
    twice["frame"]["results"]["energy"] = 99.0
    part.write_text("\n".join([header, *records, json.dumps(twice)]) + '\n{"index": 2, "fr')
    make("spring", path, Sampling())
    assert len(counted.seen) == 9
    assert set(counted.seen.values()) == {1}
    make("spring", tmp_path / "again.xyz", Sampling())
    assert (tmp_path / "again.xyz").read_bytes() == path.read_bytes()  # the duplicate is ignored
    assert set(counted.seen.values()) == {2}  # control: labels are counted


def test_every_result_of_a_level_is_kept(tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, "spring", on_a_spring(Listed(pairs), 2))
    path = tmp_path / "spring.xyz"
    with pytest.raises(KeyboardInterrupt):
        make("spring", path, Sampling(), killed_after(1))
    make("spring", path, Sampling())
    for atoms in frames_of(path):
        assert atoms.get_charges()[0] == pytest.approx(atoms.get_distance(0, 1))


def test_a_frame_that_the_map_lost_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, "spring", on_a_spring(Listed(pairs), 5))
    path = tmp_path / "spring.xyz"
    lossy = lambda function, items: map(function, list(items)[1:])
    with pytest.raises(RunError, match="4 of 5 frames were labelled; run the same command again"):
        make("spring", path, Sampling(), map=lossy)
    assert not path.exists()
    make("spring", path, Sampling())
    assert len(frames_of(path)) == 5


def test_trajectory_resumes_after_a_kill_and_equals_one_go(tmp_path, monkeypatch):
    counted = Counted()
    monkeypatch.setitem(RECIPES, "spring", on_a_spring(MOVING, 6, counted))
    sampling = Sampling(temperature=500.0)
    path = tmp_path / "spring.xyz"
    with pytest.raises(KeyboardInterrupt):
        make("spring", path, sampling, killed_after(3))
    make("spring", path, sampling)
    n_labels = counted.seen.total()
    counted.seen.clear()
    make("spring", tmp_path / "again.xyz", sampling)
    assert n_labels == counted.seen.total()  # the frame before the kill is not labelled again
    assert path.read_bytes() == (tmp_path / "again.xyz").read_bytes()
    frames = frames_of(path)
    assert len(frames) == 6
    assert all("momenta" not in atoms.arrays for atoms in frames)
    assert np.ptp([atoms.get_distance(0, 1) for atoms in frames]) > 0.01


@pytest.mark.slow
def test_trajectory_is_at_the_temperature():
    """Equipartition on a stiff bond: half a kT of potential energy."""
    sampling = Sampling(500, temperature=500.0, seed=2)
    start = MOVING.start(sampling, spring)
    frames = MOVING.frames(sampling, spring, start, {}, map)
    mean = np.mean([atoms.get_potential_energy() for _, atoms in frames])
    # a bond in space feels 2 kT ln(length) besides, which adds a tenth here
    np.testing.assert_allclose(mean, ase.units.kB * 500 / 2, rtol=0.2)


def test_a_mean_field_that_did_not_converge_is_an_error_with_the_geometry():
    field = SimpleNamespace(
        converged=True, mol=SimpleNamespace(tostring=lambda: "H 0 0 0\nH 0 0 9")
    )
    assert engine.converged(field) is field
    field.converged = False
    with pytest.raises(RunError, match="the mean field did not converge at H 0 0 0; H 0 0 9"):
        engine.converged(field)


@pytest.mark.slow
def test_mp2_forces_are_the_slope_of_the_energy(pyscf):
    atoms = ase.Atoms("OHH", [[0, 0, 0], [0.96, 0.1, 0], [-0.2, 0.93, 0.1]])
    forces = MP2.label(atoms)["forces"]
    energies = []
    for step in (1e-3, -1e-3):
        moved = atoms.copy()
        moved.positions[1, 0] += step
        energies.append(MP2.label(moved)["energy"])
    np.testing.assert_allclose(forces[1, 0], -(energies[0] - energies[1]) / 2e-3, atol=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        "water-dimer",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("ammonia", "water-dimer-cut")),
    ],
)
def test_more_bundled_sets_are_what_their_level_gives(pyscf, name):
    label = RECIPES[name].level.label
    atoms = frame_of(f"src/qiff/atoms/data/bundled/{name}.xyz", 3)
    found = label(atoms)
    np.testing.assert_allclose(found["energy"], atoms.get_potential_energy(), atol=1e-6)
    np.testing.assert_allclose(found["forces"], atoms.get_forces(), atol=1e-5)


def test_mistakes(pyscf, tmp_path, capsys, monkeypatch):
    path = tmp_path / "lih.xyz"
    part = tmp_path / "lih.xyz.part"
    lines_before_indices = '{"provenance": {}, "start": []}\n{"energy": -1.0, "numbers": [1]}\n'
    part.write_text('{"provenance": {}, "start": []}\n')
    with pytest.raises(InputError, match="other settings"):
        make("lih", path, Sampling(2))
    for text in ("no json\n", "", "[]\n", "{}\n", lines_before_indices):
        part.write_text(text)
        with pytest.raises(InputError, match="is not a partial data set; delete it first"):
            make("lih", path, Sampling(2))
    for wrong in ({"n_frames": -1}, {"temperature": 0.0}):
        with pytest.raises(InputError, match=r"`(n_frames|temperature)` must be"):
            replace(Sampling(), **wrong)
    path.write_text("kept")
    assert main(["data", "make", "lih", "--out", str(path)]) == 2
    assert path.read_text() == "kept"
    monkeypatch.setitem(sys.modules, "pyscf", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'qiff\[label\]'"):
        make("lih", path, Sampling(2))
