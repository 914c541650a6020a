"""Reference data: real PySCF calculations, resumable, checked against independent numbers."""

import json
import sys

import ase
import ase.io
import ase.units
import numpy as np
import pytest

from qiff._checks import InputError, MissingExtraError
from qiff.cli import main
from qiff.labelling import level
from qiff.labelling.label import RECIPES, Recipe, make
from qiff.labelling.sampling import Sampling, Trajectory, wigner


def every_frame(frames, **count):
    return frames


def lines(path):
    return path.read_text().splitlines()


@pytest.fixture
def pyscf():
    return pytest.importorskip("pyscf")


def test_lih_resumes_after_a_kill_and_equals_one_go(pyscf, tmp_path):
    sampling = Sampling(n_frames=4)

    def killed_at_the_third(frames, **count):
        for _, frame in zip(range(2), frames, strict=False):
            yield frame
        raise KeyboardInterrupt

    path, part = tmp_path / "lih.xyz", tmp_path / "lih.xyz.part"
    with pytest.raises(KeyboardInterrupt):
        make("lih", path, sampling, killed_at_the_third)
    assert not path.exists()
    assert len(lines(part)) == 3  # the header and two labels
    with part.open("a") as file:
        file.write('{"energy": -21')  # cut short by the kill
    done = []
    make("lih", path, sampling, lambda frames, **count: done.append(count) or frames)
    assert done == [{"completed": 2, "total": 4}]
    assert not part.exists()
    make("lih", tmp_path / "again.xyz", sampling, every_frame)
    for one, other in zip(
        *(ase.io.read(p, ":") for p in (path, tmp_path / "again.xyz")), strict=True
    ):
        assert np.array_equal(one.positions, other.positions)
        np.testing.assert_allclose(one.get_potential_energy(), other.get_potential_energy())
        np.testing.assert_allclose(one.get_forces(), other.get_forces(), atol=1e-7)
    assert json.loads(path.with_suffix(".json").read_text())["n_frames"] == 4


def test_lih_reproduces_the_bundled_curve(pyscf):
    label = level.fci_label
    bundled = ase.io.read("src/qiff/atoms/data/bundled/lih.xyz", 40)
    energy, forces = label(bundled)
    np.testing.assert_allclose(energy, bundled.get_potential_energy(), atol=1e-7)
    np.testing.assert_allclose(forces, bundled.get_forces(), atol=1e-5)


def test_lih_agrees_with_dense_diagonalisation(pyscf):
    """FCI against the full matrix of the Hamiltonian in the space of determinants."""
    from pyscf import ao2mo, fci, gto, scf

    atoms = ase.Atoms("LiH", [[0, 0, 0], [0, 0, 1.6]])
    molecule = gto.M(atom="Li 0 0 0; H 0 0 1.6", basis="sto-3g", verbose=0)
    field = scf.RHF(molecule).run()
    h1 = field.mo_coeff.T @ field.get_hcore() @ field.mo_coeff
    h2 = ao2mo.kernel(molecule, field.mo_coeff)
    _, hamiltonian = fci.direct_spin1.pspace(h1, h2, 6, 4, np=15**2)
    lowest = np.linalg.eigvalsh(hamiltonian)[0] + molecule.energy_nuc()
    energy, _ = level.fci_label(atoms)
    np.testing.assert_allclose(energy, lowest * ase.units.Hartree, atol=1e-7)


@pytest.mark.slow
def test_water_forces_are_the_slope_of_the_energy(pyscf):
    label = level.pbe0_label
    atoms = ase.io.read("src/qiff/atoms/data/bundled/water.xyz", 5)
    _, forces = label(atoms)
    ahead, behind = atoms.copy(), atoms.copy()
    ahead.positions[1, 0] += 1e-3
    behind.positions[1, 0] -= 1e-3
    slope = (label(ahead)[0] - label(behind)[0]) / 2e-3
    np.testing.assert_allclose(forces[1, 0], -slope, atol=1e-4)


def test_bundled_water_is_what_the_recipe_gives(pyscf):
    for index in (0, 7):
        atoms = ase.io.read("src/qiff/atoms/data/bundled/water.xyz", index)
        energy, forces = level.pbe0_label(atoms)
        np.testing.assert_allclose(energy, atoms.get_potential_energy(), atol=1e-6)
        np.testing.assert_allclose(forces, atoms.get_forces(), atol=1e-5)


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
        steps = wigner(atoms, hessian, temperature, 40000, rng)
        stretch = steps[:, 1, 0] - steps[:, 0, 0]
        np.testing.assert_allclose(stretch.var(), wanted, rtol=0.03)
    np.testing.assert_allclose(wanted, ase.units.kB * temperature / spring, rtol=0.01)


def spring(atoms):
    """A harmonic bond of 10 eV/Å² and length 1 Å: a level of theory that costs nothing."""
    bond = atoms.positions[1] - atoms.positions[0]
    length = np.linalg.norm(bond)
    pull = 10 * (length - 1) * bond / length
    return 5 * (length - 1) ** 2, np.array([pull, -pull])


def on_a_spring(n_frames):
    trajectory = Trajectory(
        lambda: ase.Atoms("H2", [[0, 0, 0], [1.1, 0, 0]]), spring, 0.5, 40, 200, 20.0
    )
    return Recipe("spring", "dynamics", n_frames, ("n_frames", "temperature", "seed"), trajectory)


def test_trajectory_resumes_after_a_kill_and_equals_one_go(pyscf, tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, "spring", on_a_spring(6))
    sampling = Sampling(temperature=500.0)

    def killed_after_three(frames, **count):
        for _, frame in zip(range(3), frames, strict=False):
            yield frame
        raise KeyboardInterrupt

    path = tmp_path / "spring.xyz"
    with pytest.raises(KeyboardInterrupt):
        make("spring", path, sampling, killed_after_three)
    for target in (path, tmp_path / "again.xyz"):
        make("spring", target, sampling, every_frame)
    resumed, again = (ase.io.read(p, ":") for p in (path, tmp_path / "again.xyz"))
    assert len(resumed) == 6
    for one, other in zip(resumed, again, strict=True):
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-7)
        assert "momenta" not in one.arrays
    assert np.ptp([atoms.get_distance(0, 1) for atoms in again]) > 0.01


def test_trajectory_is_at_the_temperature():
    """Equipartition on a stiff bond: half a kT of potential energy."""
    source = on_a_spring(1500).source
    sampling = Sampling(500, temperature=500.0, seed=2)
    frames = list(source.frames(sampling, source.start(sampling), ()))
    mean = np.mean([atoms.get_potential_energy() for atoms in frames])
    # a bond in space feels 2 kT ln(length) besides, which adds a tenth here
    np.testing.assert_allclose(mean, ase.units.kB * 500 / 2, rtol=0.2)


def test_mp2_forces_are_the_slope_of_the_energy(pyscf):
    atoms = ase.Atoms("OHH", [[0, 0, 0], [0.96, 0.1, 0], [-0.2, 0.93, 0.1]])
    _, forces = level.mp2_label(atoms)
    energies = []
    for step in (1e-3, -1e-3):
        moved = atoms.copy()
        moved.positions[1, 0] += step
        energies.append(level.mp2_label(moved)[0])
    np.testing.assert_allclose(forces[1, 0], -(energies[0] - energies[1]) / 2e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["ammonia", "water-dimer", "water-dimer-cut"])
def test_more_bundled_sets_are_what_their_level_gives(pyscf, name):
    label = level.pbe0_label if name == "ammonia" else level.mp2_label
    atoms = ase.io.read(f"src/qiff/atoms/data/bundled/{name}.xyz", 3)
    energy, forces = label(atoms)
    np.testing.assert_allclose(energy, atoms.get_potential_energy(), atol=1e-6)
    np.testing.assert_allclose(forces, atoms.get_forces(), atol=1e-5)


def test_mistakes(pyscf, tmp_path, capsys, monkeypatch):
    path = tmp_path / "lih.xyz"
    part = tmp_path / "lih.xyz.part"
    part.write_text('{"provenance": {}, "start": []}\n')
    with pytest.raises(InputError, match="other settings"):
        make("lih", path, Sampling(2), every_frame)
    part.write_text("no json\n")
    with pytest.raises(InputError, match="is not a partial data set"):
        make("lih", path, Sampling(2), every_frame)
    for wrong in ({"n_frames": -1}, {"temperature": 0.0}):
        with pytest.raises(InputError, match=r"`(n_frames|temperature)` must be"):
            Sampling(**wrong)
    path.write_text("kept")
    assert main(["data", "make", "lih", "--out", str(path)]) == 2
    assert path.read_text() == "kept"
    monkeypatch.setitem(sys.modules, "pyscf", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'qiff\[label\]'"):
        make("lih", path, Sampling(2), every_frame)
