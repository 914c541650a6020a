"""Radial distributions, density and pressure of frames."""

import ase
import ase.units
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.geometry.rdf import get_rdf

from qiff import InputError, block_mean, density, pressure, radial_distribution

CELL = np.array([[5.0, 0.0, 0.0], [1.5, 4.5, 0.0], [-1.0, 0.8, 4.0]])
R_MAX, N_BINS = 6.0, 12  # more than the whole cell
EDGES = np.linspace(0, R_MAX, N_BINS + 1)
SHELLS = 4 / 3 * np.pi * np.diff(EDGES**3)


def scattered(rng: np.random.Generator, symbols: str, cell: np.ndarray = CELL) -> ase.Atoms:
    """Atoms without correlation; some of them are outside of the cell."""
    n_atoms = len(ase.Atoms(symbols))
    return ase.Atoms(symbols, rng.uniform(-1, 2, (n_atoms, 3)) @ cell, cell=cell, pbc=True)


def images_of_itself(cell: np.ndarray) -> np.ndarray:
    """How many periodic images of an atom are in each bin around it."""
    steps = np.indices((9, 9, 9)).reshape(3, -1).T - 4
    distances = np.linalg.norm(steps @ cell, axis=1)
    return np.histogram(distances[distances > 0], EDGES)[0]


def deviation(frames: list[ase.Atoms], expected: np.ndarray, *elements: str) -> float:
    """Of the mean g(r) of a hundred parts, in standard errors, root mean square over the bins."""
    size = len(frames) // 100
    parts = [frames[k * size : (k + 1) * size] for k in range(100)]
    each = np.array([radial_distribution(part, R_MAX, N_BINS, *elements).g for part in parts])
    error = each.std(0, ddof=1) / 10
    return float(np.sqrt(np.mean(((each.mean(0) - expected) / error) ** 2)))


def test_an_ideal_gas_has_no_correlations_but_with_its_own_images():
    rng = np.random.default_rng(1)
    frames = [scattered(rng, "ArArArHeHe") for _ in range(400)]
    volume = frames[0].get_volume()
    itself = images_of_itself(CELL) * volume / SHELLS
    assert itself.any()
    assert deviation(frames, 1 - 1 / 5 + itself / 5) < 2
    assert deviation(frames, 1 - 1 / 3 + itself / 3, "Ar", "Ar") < 2
    assert deviation(frames, np.ones(N_BINS), "Ar", "He") < 2
    assert deviation(frames, np.ones(N_BINS)) > 4  # control


def test_volumes_are_those_of_each_frame():
    rng = np.random.default_rng(2)
    frames = [scattered(rng, "Ar5He5", rng.uniform(1.0, 2.0) * CELL) for _ in range(400)]
    assert deviation(frames, np.ones(N_BINS), "Ar", "He") < 2
    mean = np.mean([atoms.get_volume() for atoms in frames])
    wrong = np.mean([mean / atoms.get_volume() for atoms in frames])
    assert deviation(frames, np.full(N_BINS, wrong), "Ar", "He") > 2  # control: of the mean volume


@pytest.mark.parametrize("cubic", [True, False])
def test_an_atom_of_an_fcc_crystal_has_twelve_neighbours(cubic):
    a = 4.0
    crystal = bulk("Al", "fcc", a=a, cubic=cubic)
    per_volume = len(crystal) / crystal.get_volume()
    neighbours = lambda r: (
        np.sum(radial_distribution([crystal], r, 40).g * np.diff(np.linspace(0, r, 41) ** 3))
        * (4 / 3 * np.pi * per_volume)
    )
    assert neighbours(0.99 * a) == pytest.approx(12)
    assert neighbours(1.01 * a) == pytest.approx(18)
    assert neighbours(0.70 * a) == 0  # control: before the first shell


def test_distributions_are_those_of_ase():
    rng = np.random.default_rng(3)
    frames = [scattered(rng, "C3H5", 2.5 * CELL) for _ in range(3)]
    for elements in ((), ("C", "H"), ("H", "H")):
        wanted = [get_rdf(a, 4.0, 20, elements=elements or None) for a in frames]
        found = radial_distribution(frames, 4.0, 20, *elements)
        np.testing.assert_allclose(found.g, np.mean([g for g, _ in wanted], axis=0))
        np.testing.assert_allclose(found.centres, wanted[0][1])
    one, other = (radial_distribution(frames, 4.0, 20, *pair).g for pair in ("CH", "HC"))
    np.testing.assert_allclose(one, other)


def test_what_has_no_distribution_is_refused():
    def raises(frames, message, r_max=3.0, n_bins=5, first=None):
        with pytest.raises(InputError, match=message):
            radial_distribution(frames, r_max, n_bins, first)

    crystal, molecule = bulk("Al"), ase.Atoms("H2", [[0, 0, 0], [0, 0, 0.7]])
    raises([], "at least one frame, but is empty")
    raises([crystal, molecule], "periodic in a cell with a volume, but frame 1 is not")
    raises([crystal], "atoms of He, but frame 0 has none", first="He")
    raises([crystal], "`r_max` must be positive, but is 0", r_max=0.0)
    raises([crystal], "`n_bins` must be at least 1, but is 0", n_bins=0)
    molecule.pbc = True
    raises([molecule], r"frame 0: is periodic .* zero or linearly dependent")


def test_the_density_of_a_crystal_is_that_of_the_element():
    gold = bulk("Au", "fcc", a=4.0782)
    np.testing.assert_allclose(density([gold, gold * 2]), 19.28, atol=0.01)


def test_the_pressure_of_a_gas_without_forces_is_that_of_its_motion():
    rng = np.random.default_rng(4)
    gas = scattered(rng, "Ar20", 10 * CELL)
    gas.calc = SinglePointCalculator(gas, stress=np.zeros(6))
    gas.set_momenta(rng.normal(size=(20, 3)))
    ideal = 20 * ase.units.kB * gas.get_temperature() / gas.get_volume() / ase.units.GPa
    np.testing.assert_allclose(pressure([gas]), ideal)
    np.testing.assert_allclose(pressure([gas], float(gas.get_temperature())), ideal)
    assert abs(pressure([gas], 0.0)[0]) < 1e-12 < ideal  # control
    gas.calc = None
    with pytest.raises(InputError, match="must have a stress, but frame 0 has none"):
        pressure([gas])


def test_the_pressure_is_minus_the_slope_of_the_energy():
    crystal, step = bulk("Cu", a=3.5), 1e-4
    crystal.calc = EMT()
    energies, volumes = [], []
    for factor in (1 - step, 1 + step):
        scaled = crystal.copy()
        scaled.set_cell(factor * crystal.cell.array, scale_atoms=True)
        scaled.calc = EMT()
        energies.append(scaled.get_potential_energy())
        volumes.append(scaled.get_volume())
    slope = -np.diff(energies) / np.diff(volumes) / ase.units.GPa
    np.testing.assert_allclose(pressure([crystal]), slope, rtol=1e-5)
    assert slope > 0  # compressed


def test_the_error_of_a_mean_is_that_of_blocks():
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(2000, 100))
    found = [block_mean(values) for values in noise]
    errors = np.array([mean.error for mean in found])
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(0.1, rel=0.05)
    repeated = [block_mean(np.repeat(values, 100)) for values in noise[:200]]
    np.testing.assert_allclose([m.error for m in repeated], errors[:200])  # correlated values
    assert np.isnan(block_mean(np.ones(1)).error)
    with pytest.raises(InputError, match="`values` must have at least one entry"):
        block_mean(np.ones(0))
