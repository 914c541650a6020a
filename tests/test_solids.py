"""Equation of state, elastic constants and phonons of crystals."""

from typing import Any

import ase
import ase.units
import jax
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.phonons import Phonons
from ase.stress import get_elasticity_tensor

import qiff
from qiff import InputError, elastic_constants, equation_of_state
from qiff._checks import RunError
from qiff.dynamics.relaxation import relaxed
from qiff.dynamics.solids import LARGEST_FORCE, ElasticConstants
from qiff.model.predict import enable_x64

SHIFTED = np.array([0.05, 0.03, -0.02])
RANDOM = {"kind": "local", "elements": ["C"], "n_layers": 1, "n_circuits": 1, "n_basis": 3}


@pytest.fixture(scope="module")
def calculator() -> qiff.Calculator:
    """A potential with random weights, under which fcc crystals of this size have a minimum."""
    with enable_x64(True):
        potential = qiff.build(RANDOM | {"cutoff": 4.0}, jax.random.key(7))
        leaves, structure = jax.tree.flatten(potential)
        rng = np.random.default_rng(3)
        weights = [jax.numpy.asarray(rng.normal(size=leaf.shape)) for leaf in leaves]
    return qiff.Calculator(jax.tree.unflatten(structure, weights))


def test_the_bulk_modulus_is_that_of_the_elastic_constants():
    for crystal in (bulk("Cu"), bulk("Cu", "hcp", a=2.55, c=4.1)):
        by_strain = elastic_constants(EMT(), crystal)
        by_volume = equation_of_state(EMT(), by_strain.atoms)
        assert by_strain.bulk_modulus == pytest.approx(by_volume.bulk_modulus, rel=5e-3)
        assert by_strain.atoms.get_volume() == pytest.approx(by_volume.volume, rel=1e-3)
        assert by_strain.atoms.get_potential_energy() == pytest.approx(by_volume.energy, abs=1e-3)
    wide = equation_of_state(EMT(), bulk("Cu"), np.linspace(0.5, 2.0, 7).tolist())  # control
    narrow = equation_of_state(EMT(), bulk("Cu"))
    assert wide.bulk_modulus != pytest.approx(narrow.bulk_modulus, rel=0.05)


def test_the_equation_of_state_is_at_the_minimum_of_the_energy():
    found = equation_of_state(EMT(), bulk("Cu", a=3.5))
    lattice = (4 * found.volume) ** (1 / 3)

    def energy(a: float) -> float:
        crystal = bulk("Cu", a=a)
        crystal.calc = EMT()
        return crystal.get_potential_energy()

    assert energy(lattice) == pytest.approx(found.energy, abs=1e-5)
    assert energy(lattice) < min(energy(lattice - 0.01), energy(lattice + 0.01))
    curvature = (energy(1.001 * lattice) - 2 * energy(lattice) + energy(0.999 * lattice)) / 1e-6
    expected = curvature / (9 * found.volume) / ase.units.GPa
    assert found.bulk_modulus == pytest.approx(expected, rel=5e-3)


def test_constants_of_a_cubic_crystal_are_those_of_ase():
    found = elastic_constants(EMT(), bulk("Cu"), step=1e-3)
    full = get_elasticity_tensor(found.atoms, h=1e-3) / ase.units.GPa
    c11, c12, c44 = found.cubic
    np.testing.assert_allclose(found.tensor, found.tensor.T, atol=1e-3 * c11)
    assert c11 == pytest.approx(full[0, 0, 0, 0], rel=1e-3)
    assert c12 == pytest.approx(full[0, 0, 1, 1], rel=1e-3)
    assert c44 == pytest.approx(full[1, 2, 1, 2], rel=1e-2)
    assert found.bulk_modulus == pytest.approx((c11 + 2 * c12) / 3)
    assert c11 > c12 > 0
    assert c44 > 0


def test_what_is_not_cubic_has_no_cubic_constants():
    found = elastic_constants(EMT(), bulk("Cu", "hcp", a=2.55, c=4.1))
    c = found.tensor
    np.testing.assert_allclose(c, c.T, atol=0.2)
    assert c[5, 5] == pytest.approx((c[0, 0] - c[0, 1]) / 2, rel=5e-3)  # of hexagonal symmetry
    with pytest.raises(InputError, match="of a cubic crystal along x, y and z, but constants"):
        _ = found.cubic
    turned = bulk("Cu", cubic=True)
    turned.rotate(30, "z", rotate_cell=True)
    with pytest.raises(InputError, match="read `tensor`"):
        _ = elastic_constants(EMT(), turned).cubic


def test_positions_are_relaxed_under_strain():
    crystal, step = bulk("Cu", "hcp", a=2.55, c=4.1), 5e-3
    found = elastic_constants(EMT(), crystal, step)

    def energy(strain: float, largest_force: float) -> float:
        strained = found.atoms.copy()
        deformation = np.diag([1 + strain, 1 - strain, 1])
        strained.set_cell(found.atoms.cell.array @ deformation, scale_atoms=True)
        return relaxed(strained, EMT(), largest_force).get_potential_energy()

    def shear(largest_force: float) -> float:
        energies = [energy(strain, largest_force) for strain in (-step, 0.0, step)]
        second = np.diff(energies, 2)[0] / step**2
        return second / found.atoms.get_volume() / ase.units.GPa

    c = found.tensor
    expected = c[0, 0] + c[1, 1] - c[0, 1] - c[1, 0]
    assert shear(LARGEST_FORCE) == pytest.approx(expected, rel=1e-2)
    assert shear(1e3) > 1.05 * expected  # control: nothing is relaxed


def test_internal_positions_and_cell_are_relaxed_first():
    moved = bulk("Cu", cubic=True)
    moved.positions[0] += SHIFTED
    moved.set_cell(moved.cell.array @ np.diag([1.01, 1.0, 0.99]), scale_atoms=True)
    before = moved.copy()
    cubic = elastic_constants(EMT(), moved).cubic
    np.testing.assert_allclose(cubic, elastic_constants(EMT(), bulk("Cu")).cubic, rtol=5e-3)
    assert moved == before


def test_any_potential_has_them(calculator):
    crystal = bulk("C", "fcc", a=3.3)
    by_volume = equation_of_state(calculator, crystal, np.linspace(0.99, 1.01, 5).tolist())
    by_strain = elastic_constants(calculator, crystal)
    assert by_strain.bulk_modulus == pytest.approx(by_volume.bulk_modulus, rel=1e-2)
    c11, c12, c44 = by_strain.cubic
    assert by_strain.bulk_modulus == pytest.approx((c11 + 2 * c12) / 3)
    assert c44 > 0


class Tethered(AseCalculator):
    """A calculator plus springs to points in space, under which the whole crystal cannot move."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 (ASE's interface)

    def __init__(self, inner: AseCalculator, start: ase.Atoms):
        super().__init__()
        self.inner, self.start = inner, start.positions.copy()

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        current: Any = self.atoms
        springs = self.start - current.positions
        self.results = {"energy": 0.0, "forces": self.inner.get_forces(current) + springs}


def test_phonons_have_three_acoustic_modes(calculator, tmp_path):
    crystal, size = bulk("C", "diamond", a=3.57), (2, 2, 2)

    def at_gamma(calculator: AseCalculator, name: str) -> np.ndarray:
        phonons = Phonons(crystal, calculator, supercell=size, name=str(tmp_path / name))
        phonons.run()
        phonons.read("standard", acoustic=False)  # without imposing the sum rule
        found: Any = phonons.band_structure([[0, 0, 0], [0.5, 0, 0]], verbose=False)
        assert found.shape == (2, 6)
        return np.sort(np.abs(found[0]))

    free = at_gamma(calculator, "free")
    assert free[2] < 1e-4 * free[3]
    tethered = at_gamma(Tethered(calculator, crystal * size), "tethered")
    assert tethered[2] > 1e-2 * tethered[3]  # control


def test_what_is_no_crystal_is_refused():
    slab = bulk("Cu")
    slab.pbc = (True, True, False)
    for function in (equation_of_state, elastic_constants):
        with pytest.raises(InputError, match="periodic in three directions, but have pbc"):
            function(EMT(), slab)
    with pytest.raises(InputError, match="`volumes` must be at least 5, but are 3"):
        equation_of_state(EMT(), bulk("Cu"), (0.9, 1.0, 1.1))
    with pytest.raises(InputError, match="`step` must be positive"):
        elastic_constants(EMT(), bulk("Cu"), 0.0)


def test_a_crystal_without_a_minimum_is_an_error(monkeypatch):
    with pytest.raises(RunError, match="no minimum between the volumes"):
        equation_of_state(EMT(), bulk("Cu"), (0.8, 0.82, 0.84, 0.86, 0.88))
    monkeypatch.setattr("qiff.dynamics.relaxation._MAX_STEPS", 1)
    with pytest.raises(RunError, match="not relaxed after 1 steps"):
        elastic_constants(EMT(), bulk("Cu", a=3.4))


def test_the_cell_relaxes_with_the_positions():
    crystal = relaxed(bulk("Cu", a=3.4), EMT(), 1e-4, FrechetCellFilter)
    assert np.abs(crystal.get_stress()).max() < 1e-4
    fixed = relaxed(bulk("Cu", a=3.4), EMT(), 1e-4)
    assert np.abs(fixed.get_stress()).max() > 1e-2  # control


def test_mean_constants_are_those_of_a_cubic_tensor():
    tensor = np.zeros((6, 6))
    tensor[:3, :3] = 50.0
    tensor[range(6), range(6)] = [100.0, 101.0, 99.0, 30.0, 31.0, 29.0]
    found = ElasticConstants(tensor, bulk("Cu"))
    assert found.cubic == pytest.approx((100, 50, 30))
    assert found.bulk_modulus == pytest.approx(200 / 3)
