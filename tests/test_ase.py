"""The ASE calculator: copies, processes, threads, changing atoms, and what ASE does with it."""

import copy
import multiprocessing
import pickle
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import ase
import jax
import numpy as np
import pytest
from ase.calculators.calculator import PropertyNotImplementedError
from ase.db import connect
from ase.mep import NEB
from ase.optimize import FIRE

import qiff
from qiff import InputError
from qiff._precision import enable_x64
from qiff.atoms.data.dataset import write
from qiff.cli import main
from qiff.interfaces.ase import Calculator

from .laws.examples import POTENTIAL_EXAMPLES, every

PAGE = (Path(__file__).parent.parent / "docs" / "ase.md").read_text()
MODEL = {"kind": "triatomic", "elements": ["O", "H", "H"], "n_layers": 2}
WATER = ase.Atoms("OHH", [[0, 0, 0.1], [0.8, 0, 0.6], [-0.75, 0.1, 0.55]])


def random_model(seed: int, double: bool = True) -> qiff.AbstractPotential:
    with enable_x64(double):
        return qiff.build(MODEL, jax.random.key(seed))


@pytest.fixture(scope="module")
def potential() -> qiff.AbstractPotential:
    return random_model(0)


def rattled(seed: int) -> ase.Atoms:
    atoms = WATER.copy()
    atoms.rattle(0.1, seed=seed)
    return atoms


# --- a cell around a molecule -----------------------------------------------------------------


def test_a_cell_around_a_molecule_is_ignored_when_that_is_asked_for(potential):
    boxed = WATER.copy()
    boxed.set_cell([12.0, 12.0, 12.0])
    boxed.pbc = True
    boxed.calc = Calculator(potential)
    with pytest.raises(InputError, match=r"isolated=True.*--isolated"):  # control
        boxed.get_potential_energy()
    boxed.calc = calculator = Calculator(potential, isolated=True)
    expected = qiff.predict(potential, WATER)
    assert boxed.get_potential_energy() == pytest.approx(expected.energy, rel=1e-12)
    np.testing.assert_allclose(boxed.get_forces(), expected.forces, atol=1e-12)
    assert not calculator.calculation_required(boxed, ["energy", "forces"])
    assert np.all(boxed.pbc)
    with pytest.raises(PropertyNotImplementedError):
        boxed.get_stress()


def test_commands_ignore_the_cell_when_that_is_asked_for(potential, tmp_path, capsys):
    boxed = WATER.copy()
    boxed.set_cell([12.0, 12.0, 12.0])
    boxed.pbc = True
    write(tmp_path / "in.xyz", [boxed])
    qiff.save(potential, tmp_path / "model.qiff")
    command = ["predict", *(str(tmp_path / name) for name in ("model.qiff", "in.xyz", "out.xyz"))]
    assert main(command) == 2
    assert "--isolated" in capsys.readouterr().err
    assert main([*command, "--isolated"]) == 0
    (found,) = qiff.read(qiff.Source(str(tmp_path / "out.xyz")))
    assert not np.any(found.pbc)
    expected = qiff.predict(potential, WATER).energy
    assert found.get_potential_energy() == pytest.approx(expected, abs=1e-6)


# --- copies -----------------------------------------------------------------------------------


def pickled(thing):
    return pickle.loads(pickle.dumps(thing))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled])
def test_copies_of_a_calculator_that_has_computed(potential, copied):
    atoms = WATER.copy()
    atoms.calc = Calculator(potential)
    energy = atoms.get_potential_energy()
    other = copied(atoms.calc)
    assert other.get_property("energy", WATER, allow_calculation=False) == energy  # kept
    moved = rattled(1)
    expected = qiff.predict(potential, moved).energy
    assert other.get_potential_energy(moved) == expected != energy
    assert atoms.calc.results["energy"] == energy  # each has results of its own
    assert atoms.get_potential_energy() == energy


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_copies_of_atoms_that_carry_a_calculator(potential, copied):
    atoms = WATER.copy()
    atoms.calc = Calculator(potential, isolated=True)
    energy = atoms.get_potential_energy()
    other = copied(atoms)
    assert other.calc is not atoms.calc
    other.positions[0, 0] += 0.1
    assert other.get_potential_energy() == qiff.predict(potential, other).energy != energy
    assert other.calc.isolated
    assert atoms.get_potential_energy() == energy


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(e, marks=[pytest.mark.slow] * (e.name not in ("lithium hydride", "ensemble")))
        for e in every(POTENTIAL_EXAMPLES)
    ],
    ids=lambda example: example.name,
)
def test_every_potential_can_be_pickled(example):
    potential = example.random()
    again = pickled(Calculator(potential)).potential
    assert jax.tree.structure(again) == jax.tree.structure(potential)  # so it is not compiled anew
    for leaf, expected in zip(*map(jax.tree.leaves, (again, potential)), strict=True):
        assert leaf.dtype == expected.dtype
        assert np.array_equal(leaf, expected)


# --- processes and threads --------------------------------------------------------------------


def energy_of(atoms: ase.Atoms) -> float:
    return atoms.get_potential_energy()


@pytest.mark.slow
def test_spawned_processes_compute(potential):
    frames = [rattled(seed) for seed in range(4)]
    for atoms in frames:
        atoms.calc = Calculator(potential)
    energy_of(frames[0])
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.map_async(energy_of, frames).get(timeout=300)
    expected = [found.energy for found in qiff.predict(potential, frames)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


FORKING = """
import os, warnings, qiff, jax
from qiff._precision import enable_x64
warnings.simplefilter("ignore")

def child():
    if os.fork():
        return os.wait()
    try:
        with enable_x64(True):
            print(float(jax.numpy.ones(3).sum()), flush=True)
    except qiff.RunError as error:
        print(error, flush=True)
    os._exit(0)

child()  # control: JAX has not started
jax.numpy.ones(3).block_until_ready()
child()
"""


def test_a_process_forked_after_jax_has_started_says_so_and_does_not_hang():
    done = subprocess.run(
        [sys.executable, "-c", FORKING], capture_output=True, text=True, check=True, timeout=300
    )
    before, after = done.stdout.splitlines()
    assert before == "3.0"
    assert re.match(r"JAX had started before this process was forked.*\"spawn\"", after)


@pytest.mark.parametrize("locked", [True, False])
def test_threads_that_share_a_calculator_take_turns(potential, locked, monkeypatch):
    def slow(self, *arguments) -> None:
        calculate(self, *arguments)
        time.sleep(0.002)

    calculate = Calculator.calculate
    monkeypatch.setattr(Calculator, "calculate", slow)

    def energy(atoms: ase.Atoms) -> float:
        try:
            return calculator.get_potential_energy(atoms)
        except (PropertyNotImplementedError, AttributeError, TypeError):  # another thread's doing
            return np.nan

    calculator: Any = Calculator(potential)
    frames = [rattled(seed) for seed in range(40)]
    if not locked:
        monkeypatch.setattr(calculator, "_lock", nullcontext())  # control
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(energy, frames))
    expected = [found.energy for found in qiff.predict(potential, frames)]
    assert np.allclose(found, expected, rtol=0, atol=1e-12) == locked


# --- other atoms, other calculators -----------------------------------------------------------


def test_two_calculators_side_by_side(potential):
    both = [potential, random_model(1)]
    calculators = [Calculator(each) for each in both]
    for seed in range(3):
        atoms = rattled(seed)
        energies = [qiff.predict(each, atoms).energy for each in both]
        assert [each.get_potential_energy(atoms) for each in calculators] == energies
        assert energies[0] != energies[1]


def test_atoms_may_change_between_calls(potential):
    calculator, atoms = Calculator(potential), WATER.copy()
    before = calculator.get_potential_energy(atoms)
    again = atoms[[1, 0, 2]]
    assert calculator.get_potential_energy(again) == pytest.approx(before, rel=1e-12)
    atoms.calc = calculator
    atoms.numbers[2] = 9
    for _ in range(2):
        with pytest.raises(InputError, match="F"):
            atoms.get_potential_energy()
        atoms.positions[2] += 0.1  # what failed has not left anything behind that computes
    atoms.numbers[2] = 1
    assert atoms.get_potential_energy() == qiff.predict(potential, atoms).energy
    atoms.positions[0, 0] = np.nan
    with pytest.raises(InputError, match="must be finite"):
        atoms.get_potential_energy()
    atoms.positions[0, 0] = 0.0
    assert atoms.get_potential_energy() == qiff.predict(potential, atoms).energy


# --- conventions and tools of ASE -------------------------------------------------------------


def test_the_conventions_of_calculators(potential):
    atoms = WATER.copy()
    atoms.calc = calculator = Calculator(potential)
    energy = atoms.get_potential_energy()
    assert atoms.get_potential_energy(force_consistent=True) == energy
    assert atoms.get_potential_energies().sum() == pytest.approx(energy, rel=1e-12)
    forces = atoms.get_forces()
    forces[:] = 0.0
    assert np.abs(atoms.get_forces()).max() > 0  # results are given as copies
    assert not calculator.calculation_required(atoms, ["energy", "forces"])
    assert set(calculator.export_properties()) >= {"energy", "free_energy", "forces"}
    for name in ("stress", "stresses", "dipole"):
        with pytest.raises(PropertyNotImplementedError):
            calculator.get_property(name, atoms)
    step, slope = 1e-4, np.zeros(2)
    for k, sign in enumerate((1, -1)):
        moved = WATER.copy()
        moved.positions[1, 0] += sign * step
        slope[k] = calculator.get_potential_energy(moved)
    expected = qiff.predict(potential, WATER).forces[1, 0]
    assert (slope[1] - slope[0]) / (2 * step) == pytest.approx(expected, abs=1e-6)
    assert calculator.calculation_required(atoms, ["energy"])
    calculator.reset()
    assert atoms.get_potential_energy() == energy


def test_a_database_keeps_what_was_computed_in_single_precision(tmp_path):
    atoms = WATER.copy()
    atoms.calc = Calculator(random_model(0, double=False))
    forces = atoms.get_forces()
    database: Any = connect(tmp_path / "water.db")
    with database:
        database.write(atoms, name="water")
        row = database.get(name="water")
    assert row.calculator == "calculator"
    assert row.energy == atoms.get_potential_energy()
    np.testing.assert_array_equal(row.toatoms().get_forces(), forces)


def test_fire_lowers_the_energy(potential):
    atoms = WATER.copy()
    atoms.calc = Calculator(potential)
    before = atoms.get_potential_energy()
    FIRE(cast(Any, atoms), logfile=cast(Any, None)).run(fmax=0.0, steps=5)
    assert atoms.get_potential_energy() < before
    assert atoms.get_potential_energy() == qiff.predict(potential, atoms).energy


@pytest.mark.parametrize("shared", [True, False])
def test_images_of_a_band_have_one_calculator_or_one_each(potential, shared):
    images = [WATER.copy() for _ in range(5)]
    images[-1].positions[1:] += 0.3
    calculator = Calculator(potential)
    for image in images:
        image.calc = calculator if shared else Calculator(potential)
    band = NEB(images, allow_shared_calculator=shared, method="improvedtangent")
    band.interpolate()
    band.get_forces()
    energies: Any = band.energies
    expected = [qiff.predict(potential, image).energy for image in images[1:-1]]
    np.testing.assert_allclose(energies[1:-1], expected, rtol=1e-12)


@pytest.mark.slow
def test_the_examples_of_the_page_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "docs/ase.md", "exec", dont_inherit=True), names)
    assert Path("frames.db").exists()
    assert 0.08 < names["barrier"] < 0.2  # eV: measured 0.14
    assert names["stretch"] == pytest.approx(3700, rel=0.05)  # 1/cm: measured 3650, anharmonic
    assert names["optical"] == pytest.approx(0.064, rel=0.05)  # eV: as measured
