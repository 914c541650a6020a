"""Dynamics with a cell: neighbours, conservation, constant pressure, constraints, files."""

from dataclasses import dataclass
from typing import Any, ClassVar

import ase
import ase.units
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.constraints import FixAtoms, FixBondLength
from ase.md.verlet import VelocityVerlet
from hypothesis import given, settings
from hypothesis import strategies as st

import qiff
from qiff import Calculator, Dynamics, InputError, run_dynamics, simulate
from qiff.atoms.neighbours import VerletList, pairs_within
from qiff.atoms.rigid import n_rigid
from qiff.dynamics import barostats, integrator
from qiff.dynamics.forces import ForceEvaluator
from qiff.dynamics.statistics import read_samples, sampler, samples_csv, standard_error
from qiff.dynamics.trajectory import read_trajectory
from qiff.dynamics.velocities import degrees_of_freedom
from qiff.model.potential import AbstractSinglePotential, ScaleShiftSettings
from qiff.model.predict import enable_x64
from qiff.report.dynamics import dynamics_line, save_dynamics

CONFIG = {"kind": "local", "elements": ["C", "H"], "n_qubits": 2, "n_layers": 1, "n_circuits": 1}
CONFIG |= {"n_basis": 4, "entangling": False, "cutoff": 3.0}


def local(precision: str = "float64") -> qiff.AbstractPotential:
    with enable_x64(precision == "float64"):
        energies = {"C": -10.0, "H": -1.0}
        settings = ScaleShiftSettings(scale=1.0, reference_energies=energies)
        return qiff.ScaleShift(qiff.build(CONFIG, jax.random.key(0)), settings)


def box(pbc: bool | list[bool] = True) -> ase.Atoms:
    """Atoms in a triclinic cell shorter than twice the cutoff."""
    cell = np.array([[5.0, 0, 0], [0.4, 5.5, 0], [-0.3, 0.6, 4.8]])
    sites = np.stack(np.meshgrid(*3 * [[0.1, 0.6]], indexing="ij"), -1).reshape(-1, 3)
    atoms = ase.Atoms("CHCHCHCH", scaled_positions=sites, cell=cell, pbc=pbc)
    atoms.rattle(0.2, seed=1)
    return atoms


@pytest.fixture(scope="module")
def potential():
    return local()


# --- neighbours -------------------------------------------------------------------------------


def pairs_of(verlet: VerletList) -> set[tuple[int, ...]]:
    """Pairs and images, of atoms where they are."""
    table, moved = verlet.table, np.asarray(verlet.translations)
    assert table.shifts is not None
    first, column = np.nonzero(table.mask)
    second = table.neighbours[first, column]
    images = table.shifts[first, column] + moved[first] - moved[second]
    return {(*map(int, row),) for row in np.column_stack([first, second, images])}


def missing(verlet: VerletList, positions: Any, cell: Any, cutoff: float, pbc: Any) -> bool:
    """Whether a pair within the cutoff is not listed."""
    found = pairs_within(cutoff, positions, cell, pbc)
    rows = np.column_stack([found.first, found.second, found.images])
    return not {(*map(int, row),) for row in rows} <= pairs_of(verlet)


def moved(seed: int, size: float) -> tuple[Any, ...]:
    """A list, and atoms and cell that have changed since; atoms need not be in the cell."""
    rng = np.random.default_rng(seed)
    pbc = rng.random(3) < 0.8
    pbc[rng.integers(3)] = True
    cell = 5 * np.eye(3) + rng.normal(size=(3, 3))
    positions = rng.uniform(-1, 2, (6, 3)) @ cell
    deformation = np.eye(3) + size * rng.normal(size=(3, 3)) * (rng.random() < 0.7)
    if rng.random() < 0.5:
        deformation = (1 - abs(size)) * np.eye(3)
    away = rng.normal(size=(6, 3)) * size
    verlet = VerletList.of(positions, cell, pbc, 2.5, 0.8)
    return verlet, positions @ deformation + away, cell @ deformation, pbc


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.floats(0.001, 0.3))
def test_a_list_that_says_it_is_complete_is(seed, size):
    verlet, positions, cell, pbc = moved(seed, size)
    with enable_x64(True):
        complete = bool(verlet.is_complete(jnp.asarray(positions), jnp.asarray(cell)))
    assert not (complete and missing(verlet, positions, cell, 2.5, pbc))


def test_lists_are_used_for_a_while_and_a_cell_that_shrinks_counts():
    complete, without_cell = 0, 0
    for seed in range(100):
        verlet, positions, cell, pbc = moved(seed, 0.05)
        still = eqx.tree_at(lambda v: (v.positions, v.cell), verlet, (positions, cell))
        with enable_x64(True):
            complete += bool(verlet.is_complete(jnp.asarray(positions), jnp.asarray(cell)))
            assert bool(still.is_complete(jnp.asarray(positions), jnp.asarray(cell)))
    assert complete > 30
    for seed in range(100):  # control: a bound that knows affine motion, but not the cell
        verlet, _, _, pbc = moved(seed, 0.0)
        shrunk = 0.7
        positions, cell = shrunk * np.asarray(verlet.positions), shrunk * np.asarray(verlet.cell)
        without_cell += missing(verlet, positions, cell, 2.5, pbc)
        with enable_x64(True):
            assert not verlet.is_complete(jnp.asarray(positions), jnp.asarray(cell))
    assert without_cell > 50


def test_a_wider_table_holds_the_same_neighbours():
    atoms = box()
    of = lambda width: VerletList.of(atoms.positions, atoms.cell.array, atoms.pbc, 3.0, 1.0, width)
    narrow, wide, again = of(0), of(100), of(of(0).table.mask.shape[1])
    assert wide.table.mask.shape[1] == 100
    assert pairs_of(wide) == pairs_of(narrow)
    assert again.table.mask.shape == narrow.table.mask.shape
    assert pairs_of(wide) != set()


# --- conservation -----------------------------------------------------------------------------


def test_nve_agrees_with_ase(potential):
    atoms = box()
    dynamics = Dynamics(timestep=0.5, steps=50, interval=5, temperature=600.0)
    states = list(simulate(potential, atoms, dynamics))
    reference = atoms.copy()
    reference.calc = Calculator(potential)
    reference.set_momenta(states[0].momenta)
    driver = VelocityVerlet(reference, 0.5 * ase.units.fs)
    for state in states[1:]:
        driver.run(5)
        np.testing.assert_allclose(state.positions, reference.positions, atol=1e-8)
        np.testing.assert_allclose(state.momenta, reference.get_momenta(), atol=1e-8)
        assert state.stress is not None
        np.testing.assert_allclose(state.stress, reference.get_stress(), atol=1e-8)
        assert float(state.energy) == pytest.approx(reference.get_potential_energy(), abs=1e-8)
    assert np.abs(states[-1].positions - atoms.positions).max() > 0.1


def drift_and_momentum(potential, tmp_path) -> tuple[float, float]:
    dynamics = Dynamics(timestep=0.5, steps=1500, interval=10, temperature=600.0)
    _, report = run_dynamics(potential, box(), dynamics, tmp_path / "nve.xyz")
    assert report.drift is not None
    assert report.spread is not None
    assert report.momentum_change is not None
    return abs(report.drift) + report.spread, report.momentum_change


def test_nve_conserves_energy_and_momentum(potential, tmp_path, monkeypatch):
    lost, momentum = drift_and_momentum(potential, tmp_path)
    assert lost < 0.5  # meV/atom, and per ps
    assert momentum < 1e-10
    right = ForceEvaluator.__call__

    def wrong(self, positions, cell):
        found = right(self, positions, cell)
        return found._replace(forces=1.05 * found.forces)

    monkeypatch.setattr(ForceEvaluator, "__call__", wrong)
    jax.clear_caches()
    assert drift_and_momentum(potential, tmp_path)[0] > 10 * lost  # control
    jax.clear_caches()


@pytest.mark.slow
def test_neighbours_are_listed_anew_before_one_is_missed(potential, monkeypatch):
    dynamics = Dynamics("nvt", temperature=2000.0, timestep=1.0, steps=150, interval=50)
    positions = lambda: np.array([s.positions for s in simulate(potential, box(), dynamics)])
    found = positions()
    monkeypatch.setattr(integrator, "_SKIN", 6.0)  # all of them are listed
    np.testing.assert_allclose(positions(), found, atol=1e-7)
    monkeypatch.setattr(integrator, "_SKIN", 0.05)
    np.testing.assert_allclose(positions(), found, atol=1e-7)
    monkeypatch.setattr(VerletList, "is_complete", lambda *_: jnp.array(True))
    jax.clear_caches()
    never = positions()  # control
    jax.clear_caches()
    assert np.abs(never[-1] - found[-1]).max() > 0.1


@pytest.mark.slow
def test_positions_are_rounded_near_the_cell_alone():
    """A potential in float32 sees atoms that left the cell as if they had not."""
    potential, start, dynamics = local("float32"), box(), Dynamics(steps=1)
    far = start.copy()
    far.positions += np.array([[1000, 0, 0]] * 8) @ start.cell.array
    near, away = (next(simulate(potential, atoms, dynamics)) for atoms in (start, far))
    np.testing.assert_allclose(away.forces, near.forces, atol=1e-5)
    rounded = far.positions.astype("float32").astype(float) - far.positions
    assert np.abs(rounded).max() > 1e-5  # control


@pytest.mark.slow
def test_atoms_leave_the_cell_and_nothing_changes(potential):
    """Positions are not wrapped, and the choice of images does not matter."""
    dynamics, start = Dynamics("nvt", timestep=1.0, steps=40, temperature=900.0), box()
    shifted = start.copy()
    shifted.positions += np.array([[3, 0, -2], [0, 7, 0]] * 4) @ start.cell.array
    away = shifted.positions - start.positions
    pairs = zip(
        simulate(potential, start, dynamics), simulate(potential, shifted, dynamics), strict=True
    )
    for one, other in pairs:
        np.testing.assert_allclose(other.positions - away, one.positions, atol=1e-9)


@pytest.mark.slow
def test_a_cell_that_is_periodic_in_part_has_no_rotation_to_remove(potential):
    slab = box([True, True, False])
    slab.set_cell([*slab.cell.array[:2], [0, 0, 0]])
    assert n_rigid(slab) == n_rigid(box()) == 3
    assert n_rigid(box(False)) == 6
    assert degrees_of_freedom(slab, True) == 3 * len(slab) - 3
    states = list(simulate(potential, slab, Dynamics(steps=20)))
    assert states[0].stress is None
    np.testing.assert_allclose(states[-1].momenta.sum(0), 0, atol=1e-12)
    sample = sampler(slab, Dynamics())(states[0])
    assert sample.temperature == pytest.approx(300)
    assert sample.pressure is sample.volume is None


# --- constant pressure ------------------------------------------------------------------------

THERMAL = ase.units.kB * 300.0
STIFFNESS = 5.0


@dataclass(frozen=True)
class GasSettings:
    kind: str = "gas"


class Gas(AbstractSinglePotential):
    r"""An ideal gas in a cell whose shape costs the energy $a (\mathrm{tr}\,hh^T V^{-2/3} - 3)$."""

    Settings: ClassVar = GasSettings
    stiffness: Any
    settings: GasSettings = eqx.field(static=True)

    def __init__(self, stiffness, settings=GasSettings()):
        self.stiffness, self.settings = stiffness, settings

    def __call__(self, graph):
        cell, n_atoms = jnp.asarray(graph.cell), len(graph.numbers)
        shape = jnp.trace(cell @ cell.T) / jnp.abs(jnp.linalg.det(cell)) ** (2 / 3) - 3
        return jnp.full(n_atoms, self.stiffness * shape / n_atoms)

    def reference_energy(self, numbers):
        return 0.0

    @property
    def cutoff(self):
        return 0.1

    @property
    def interaction_range(self):
        return 0.1

    def check(self, numbers):
        pass


def gas(n_atoms: int, coupling: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Volumes in units of $k_B T / P_0$ and energies in those of $k_B T$, in equilibrium."""
    rng = np.random.default_rng(0)
    atoms = ase.Atoms(f"H{n_atoms}", rng.uniform(0, 10, (n_atoms, 3)), cell=3 * [10.0], pbc=True)
    atoms.set_masses(np.full(n_atoms, 1e6))  # pyright: ignore[reportArgumentType]
    pressure = (n_atoms + 1) * THERMAL / 1000.0 / ase.units.GPa
    barostat = {"barostat_time": 100.0, "compressibility": 1 / pressure, "coupling": coupling}
    dynamics = Dynamics("npt", 300.0, 1.0, steps, 20, 0.05, pressure=pressure, **barostat)
    potential = Gas(stiffness=np.array(STIFFNESS * THERMAL))
    samples = list(map(sampler(atoms, dynamics), simulate(potential, atoms, dynamics)))[50:]
    volumes, energies = np.array([[s.volume, s.potential] for s in samples], float).T
    return volumes * (n_atoms + 1) / 1000.0, energies / THERMAL


@pytest.mark.slow
def test_volume_of_an_ideal_gas(monkeypatch):
    r"""$p(V) \propto V^N e^{-P V / k_B T}$: mean and variance are $N + 1$."""
    found, _ = gas(4, "isotropic", 100_000)
    assert found.mean() == pytest.approx(5, abs=4 * standard_error(found))
    assert standard_error(found) < 0.2
    assert found.var() == pytest.approx(5, rel=0.25)
    for sign, mean in ((1, 6), (-1, 4)):  # control: with a term k_B T / V of either sign

        def biased(state, bath, sign=sign):
            term = sign * bath.thermal_energy / jnp.linalg.det(state.cell)
            bath = eqx.tree_at(lambda b: b.pressure, bath, bath.pressure - term)
            return barostats.isotropic(state, bath)

        monkeypatch.setitem(barostats.BAROSTATS, "biased", biased)
        wrong, _ = gas(4, "biased", 100_000)
        assert abs(wrong.mean() - 5) > 4 * standard_error(wrong)
        assert wrong.mean() == pytest.approx(mean, abs=4 * standard_error(wrong))


def shape_energy(stiffness: float) -> float:
    r"""Mean energy of the shape in units of $k_B T$, for the measure invariant under deformations.

    Lengths $e^{x_a}$ with $x_1 + x_2 + x_3 = 0$ have the density $\prod \sinh|x_a - x_b|$.
    """
    x, y = np.meshgrid(*2 * [np.linspace(-4, 4, 801)])
    z = -x - y
    energy = stiffness * (np.exp(2 * x) + np.exp(2 * y) + np.exp(2 * z) - 3)
    density = np.abs(np.sinh(x - y) * np.sinh(y - z) * np.sinh(x - z)) * np.exp(-energy)
    return float((density * energy).sum() / density.sum())


@pytest.mark.slow
def test_shape_and_volume_at_constant_pressure(monkeypatch):
    volumes, energies = gas(8, "anisotropic", 60_000)
    assert volumes.mean() == pytest.approx(9, abs=4 * standard_error(volumes))
    exact = shape_energy(STIFFNESS)
    assert energies.mean() == pytest.approx(exact, abs=4 * standard_error(energies))
    assert standard_error(energies) < 0.15
    assert np.abs(gas(8, "isotropic", 1200)[1]).max() < 1e-9  # the shape is kept

    def diagonal(state, bath):  # control: only lengths change, two degrees of freedom
        free = barostats.anisotropic(state, bath)
        assert free.cell is not None
        scales = jnp.diag(jnp.asarray(free.cell)) / jnp.diag(state.cell)
        of = lambda s: (s.positions, s.momenta, s.cell)
        after = state.positions * scales, state.momenta / scales, state.cell * scales
        return eqx.tree_at(of, state, after)

    monkeypatch.setitem(barostats.BAROSTATS, "diagonal", diagonal)
    _, wrong = gas(8, "diagonal", 60_000)
    assert abs(wrong.mean() - exact) > 5 * standard_error(wrong)


def test_constant_pressure_needs_a_volume(potential):
    dynamics = Dynamics("npt")
    with pytest.raises(InputError, match=r"npt.*all three directions.*\[True, True, False\]"):
        simulate(potential, box([True, True, False]), dynamics)
    with pytest.raises(InputError, match="periodic in all three directions"):
        simulate(potential, box(False), dynamics)
    fixed = box()
    fixed.set_constraint(FixAtoms([0, 1]))
    with pytest.raises(InputError, match=r"npt.* but 2 are fixed"):
        simulate(potential, fixed, dynamics)
    assert len(list(simulate(potential, box(), Dynamics("npt", steps=2)))) == 2


def test_barostat_states_need_a_cell():
    zero = np.zeros((1, 3))
    state = qiff.MDState(zero, zero, np.zeros(()), zero, np.zeros((), int), np.array(True))
    bath = barostats.pressure_bath(jnp.ones((1, 1)), 300.0, 0.0, 0.46, 1000.0, 0.5, seed=0)
    with pytest.raises(TypeError, match="a cell and a stress"):
        barostats.isotropic(state, bath)


# --- start ------------------------------------------------------------------------------------


def test_velocities_of_the_file(potential, tmp_path):
    dynamics = Dynamics(steps=20, interval=10, velocities="file")
    with pytest.raises(InputError, match="have no momenta"):
        simulate(potential, box(), dynamics)
    drawn = Dynamics(steps=20, interval=10, temperature=500.0)
    run_dynamics(potential, box(), drawn, tmp_path / "a.xyz")
    first, last = read_trajectory(tmp_path / "a.xyz")[::2]
    start, *_ = simulate(potential, last, dynamics)
    np.testing.assert_array_equal(start.momenta, last.get_momenta())
    assert sampler(last, dynamics)(start).temperature == pytest.approx(
        last.get_kinetic_energy() * 2 / (3 * (len(last) - 1) * ase.units.kB)
    )
    backwards = last.copy()
    backwards.set_momenta(-last.get_momenta())
    *_, back = simulate(potential, backwards, dynamics)
    np.testing.assert_allclose(back.positions, first.positions, atol=1e-6)
    flying = last.copy()
    flying.set_momenta(last.get_momenta() + flying.get_masses()[:, None] * 0.01)
    expected = flying.get_kinetic_energy() * 2 / (3 * len(last) * ase.units.kB)
    start, *_ = simulate(potential, flying, dynamics)
    assert sampler(flying, dynamics)(start).temperature == pytest.approx(expected)
    flying.arrays["momenta"][0] = np.nan
    with pytest.raises(InputError, match="momenta of the atoms must be finite"):
        simulate(potential, flying, dynamics)


@pytest.mark.parametrize("ensemble", [pytest.param("nve", marks=pytest.mark.slow), "nvt"])
def test_fixed_atoms_do_not_move(potential, tmp_path, ensemble):
    atoms = box()
    atoms.set_constraint(FixAtoms([0, 3, 5]))
    dynamics = Dynamics(ensemble, temperature=400.0, steps=60, interval=20)
    samples, report = run_dynamics(potential, atoms, dynamics, tmp_path / "a.xyz")
    assert report.momentum_change is None
    if ensemble == "nve":
        assert samples[0].temperature == pytest.approx(400.0)
        assert report.drift is not None
        assert samples[-1].total == pytest.approx(samples[0].total, abs=1e-2)
    assert degrees_of_freedom(atoms, True) == 15
    frames = read_trajectory(tmp_path / "a.xyz")
    for frame in frames:
        np.testing.assert_allclose(
            frame.positions[[0, 3, 5]], atoms.positions[[0, 3, 5]], atol=1e-8
        )
        assert not frame.get_momenta()[[0, 3, 5]].any()
        assert not frame.get_forces(apply_constraint=False)[[0, 3, 5]].any()
        assert frame.constraints[0].get_indices().tolist() == [0, 3, 5]
    others = np.abs(frames[-1].positions - atoms.positions).max(1)[[1, 2, 4, 6, 7]]
    assert others.min() > 1e-3  # control
    atoms.set_constraint()
    *_, last = simulate(potential, atoms, dynamics)
    assert np.abs(last.positions - atoms.positions)[[0, 3, 5]].max() > 1e-3


def test_other_constraints_are_refused(potential):
    atoms = box()
    atoms.set_constraint(FixBondLength(0, 1))
    with pytest.raises(InputError, match=r"constraint `FixBondLengths`.*`FixAtoms`.*remove it"):
        simulate(potential, atoms, Dynamics())


# --- files ------------------------------------------------------------------------------------


def test_files_have_cell_stress_pressure_and_volume(potential, tmp_path):
    dynamics = Dynamics("npt", steps=40, timestep=1.0, compressibility=0.05)
    path = tmp_path / "npt.xyz"
    samples, report = run_dynamics(potential, box(), dynamics, path)
    states = list(simulate(potential, box(), dynamics))
    frames = read_trajectory(path)
    for frame, state, sample in zip(frames, states, samples, strict=True):
        assert state.cell is not None
        assert state.stress is not None
        assert frame.cell.array == pytest.approx(np.asarray(state.cell), abs=1e-7)
        np.testing.assert_allclose(frame.get_stress(), state.stress, atol=1e-7)
        np.testing.assert_allclose(frame.get_momenta(), state.momenta, atol=1e-7)
        assert frame.pbc.all()
        found = qiff.predict(potential, frame)
        assert found.stress == pytest.approx(np.asarray(state.stress), abs=1e-6)
        assert found.energy == pytest.approx(float(state.energy), abs=1e-6)
        assert sample.volume == pytest.approx(frame.get_volume())
        ideal = frame.get_stress(include_ideal_gas=True)[:3].mean()
        assert sample.pressure == pytest.approx(-ideal / ase.units.GPa, abs=1e-4)
    assert len({sample.volume for sample in samples}) == len(samples)
    saved = save_dynamics(path, dynamics, samples, report, {})
    header, *_ = samples_csv(samples).splitlines()
    assert header.endswith("temperature_K,pressure_GPa,volume_A3")
    assert read_samples(path.with_suffix(".csv")) == samples
    pressures = np.array([sample.pressure for sample in samples])
    assert saved["mean_pressure"] == pytest.approx(pressures.mean())
    assert saved["pressure_error"] == pytest.approx(standard_error(pressures))
    grams = box().get_masses().sum() / 6.02214076e23
    assert saved["density"] == pytest.approx(grams / (saved["mean_volume"] * 1e-24))
    assert " ± " in dynamics_line("npt", saved)
    assert "g/cm³" in dynamics_line("npt", saved)


def test_standard_error_of_correlated_values():
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=200), 50)
    assert standard_error(values) == pytest.approx(1 / np.sqrt(200), rel=0.5)
    assert values.std() / np.sqrt(len(values)) < 0.3 / np.sqrt(200)  # control
    assert standard_error(values[:1]) == 0
