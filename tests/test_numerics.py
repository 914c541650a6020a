"""Numbers at their limits: a finite result or an error of one line, never NaN, for every potential.

That predictions in float32 are those in float64 is the law `rounding` of every potential, and
that neighbours vanish smoothly at the cutoff the law `continuity`, see `tests/laws`.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase
import ase.build
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

import qiff
from qiff import Calculator, Dynamics, InputError, RunError, simulate
from qiff._precision import NotFiniteError
from qiff.atoms.data.dataset import write
from qiff.atoms.properties import labels
from qiff.model import generic, predict
from qiff.model.build import skeleton
from qiff.model.predict import check_atoms, enable_x64
from qiff.run.config import Data
from qiff.run.train import train
from qiff.testing import TOLERANCE, in_precision

from .laws.examples import POTENTIAL_EXAMPLES, Example, every
from .test_training import leaves, run

QUICK = {("generic triatomic", "float64"), ("linear in invariants", "float32")}
EXAMPLES = every(POTENTIAL_EXAMPLES)
BY_NAME = {example.name: example for example in EXAMPLES}
OF_ANY_SIZE = [example for example in EXAMPLES if example.any_size]
WITH_A_CUTOFF = [e for e in OF_ANY_SIZE if np.isfinite(e.fresh().cutoff)]
by_name = lambda value: getattr(value, "name", value)
all_potentials = pytest.mark.parametrize("example", EXAMPLES, ids=by_name)
both_precisions = pytest.mark.parametrize(
    ("example", "precision"),
    [
        pytest.param(e, p, marks=[pytest.mark.slow] * ((e.name, p) not in QUICK))
        for e in EXAMPLES
        for p in TOLERANCE
    ],
    ids=by_name,
)


def energy_and_forces(
    potential: qiff.AbstractPotential, atoms: ase.Atoms
) -> tuple[float, np.ndarray]:
    """Both finite, or the error of what cannot be predicted."""
    atoms.calc = Calculator(potential)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    assert np.isfinite(energy)
    assert np.isfinite(forces).all()
    return energy, forces


def at(example: Example, positions: np.ndarray) -> ase.Atoms:
    moved = example.molecule.copy()
    moved.positions = positions
    return moved


def line(example: Example, direction: list[int]) -> ase.Atoms:
    return at(example, np.outer(np.arange(len(example.molecule)), direction).astype(float))


# --- special geometries -----------------------------------------------------------------------


@both_precisions
def test_atoms_in_a_line_in_a_plane_and_in_one_place(example, precision):
    potential = in_precision(example.random(), precision)
    for direction in ([0, 0, 1], [1, 1, 1], [1, -2, 0]):
        energy_and_forces(potential, line(example, direction))
    energy_and_forces(potential, at(example, example.molecule.positions * [1, 1, 0]))
    first, together = example.molecule.positions.copy(), np.zeros_like(example.molecule.positions)
    first[-1] = first[0]
    has_directions = np.isfinite(potential.cutoff or np.inf)
    for positions in (first, together):
        if has_directions:  # of the line between two atoms
            with pytest.raises(InputError, match=r"atoms \d and \d are 0 Å apart"):
                energy_and_forces(potential, at(example, positions))
        else:
            energy_and_forces(potential, at(example, positions))


def test_control_the_bare_derivative_of_a_length_is_not_finite(monkeypatch):
    for bonds in (np.array([[0, 0, 1.0], [0, 0, 2.0]]), np.zeros((2, 3))):
        slopes = lambda bonds: jax.jit(jax.jacobian(lambda x: generic._internal(list(x))))(bonds)
        assert np.isfinite(slopes(bonds)).all()
        with monkeypatch.context() as patch:
            patch.setattr(generic, "length", lambda vectors: jnp.sqrt((vectors**2).sum(-1)))
            assert not np.isfinite(slopes(bonds)).all()


def test_the_frame_in_which_atoms_coincide_is_named():
    example = BY_NAME["linear in invariants"]
    potential = in_precision(example.random(), "float32")
    bad = example.molecule.copy()
    bad.positions[2] = bad.positions[1]
    with pytest.raises(InputError, match="frame 1: atoms 1 and 2 are 0 Å apart"):
        qiff.predict(potential, [example.molecule, bad])
    nan = jax.tree.map(lambda weights: np.full_like(weights, np.nan), potential)
    with pytest.raises(NotFiniteError, match="its weights are not finite"):
        qiff.predict(nan, [example.molecule, example.molecule])


# --- distances --------------------------------------------------------------------------------

FAR = 2.0**20  # Å, more than 1e6


@both_precisions
def test_a_molecule_far_from_the_origin_is_the_same(example, precision):
    potential = in_precision(example.random(), precision)
    positions = np.round(example.molecule.positions * FAR) / FAR  # so that the sum is exact
    (here, forces), (there, same) = (
        energy_and_forces(potential, at(example, positions + shift)) for shift in (0.0, FAR)
    )
    allowed = TOLERANCE[precision] * max(1.0, np.abs(forces).max())
    assert abs(there - here) <= allowed
    assert np.abs(same - forces).max() <= allowed


def test_control_positions_far_from_the_origin_lose_their_digits(monkeypatch):
    example = BY_NAME["linear in invariants"]
    potential = in_precision(example.random(), "float32")
    here, _ = energy_and_forces(potential, example.molecule.copy())
    monkeypatch.setattr(predict, "rounded", lambda positions, dtype: positions.astype(dtype))
    there, _ = energy_and_forces(potential, at(example, example.molecule.positions + FAR))
    assert abs(there - here) > 0.01


@both_precisions
def test_atoms_1e6_angstrom_apart(example, precision):
    potential, positions = in_precision(example.random(), precision), example.molecule.positions
    far = at(example, positions + 1e6 * (np.arange(len(positions)) == 0)[:, None])
    if precision == "float64":
        energy_and_forces(potential, far)
    else:
        with pytest.raises(InputError, match="extends over 1e\\+06 Å, in which single precision"):
            energy_and_forces(potential, far)


@pytest.mark.slow
@pytest.mark.parametrize("example", WITH_A_CUTOFF, ids=by_name)
def test_an_atom_at_the_cutoff_is_alone(example):
    """Beside a molecule of two atoms, since some models see nothing of a single neighbour."""
    potential = example.random()
    other = lambda distance: ase.Atoms("HOH", [[0, 0, 0.96], [0, 0, 0], [distance, 0, 0]])
    alone = lambda part: energy_and_forces(potential, part)
    molecule, forces_within = alone(other(1.0)[:2])
    apart = molecule + alone(other(1.0)[2:])[0]
    for change in (-1e-6, 0.0, 1e-6, 1.0):
        energy, forces = energy_and_forces(potential, other(potential.cutoff + change))
        assert abs(energy - apart) <= 1e-9
        assert np.abs(forces - [*forces_within, [0, 0, 0]]).max() <= 1e-9
    energy, forces = energy_and_forces(potential, other(0.5 * potential.cutoff))  # control
    assert abs(energy - apart) > 1e-3
    assert np.abs(forces[2]).max() > 1e-3


# --- sizes and elements -----------------------------------------------------------------------


@all_potentials
def test_no_atoms_and_unknown_elements_are_refused(example):
    potential = skeleton(example.config)
    with pytest.raises(InputError, match="atoms: has no atoms"):
        check_atoms(potential, example.molecule[:0], "atoms")
    for number in (0, 118):
        other = example.molecule.copy()
        other.numbers[0] = number
        with pytest.raises(InputError, match="the model describes"):
            check_atoms(potential, other, "atoms")
    check_atoms(potential, example.molecule, "atoms")  # control


@pytest.mark.slow
@pytest.mark.parametrize("example", OF_ANY_SIZE, ids=by_name)
def test_an_atom_alone_feels_nothing(example):
    _, forces = energy_and_forces(example.random(), example.molecule[:1])
    assert np.array_equal(forces, np.zeros((1, 3)))


@pytest.mark.slow
@pytest.mark.parametrize("example", WITH_A_CUTOFF, ids=by_name)
def test_a_thousand_atoms_are_a_sum_of_molecules(example):
    """Copies of a molecule out of sight of each other, in blocks, and their energy."""
    potential, molecule = example.random(0.3), example.molecule
    reach = float(np.ptp(molecule.positions) + potential.interaction_range + 1)
    many, n = ase.Atoms(), -(-1000 // len(molecule))
    for k in range(n):
        copy = molecule.copy()
        copy.positions += reach * np.array([k % 10, k // 10 % 10, k // 100])
        many += copy
    (one, forces), (energy, of_all) = (energy_and_forces(potential, a) for a in (molecule, many))
    assert energy == pytest.approx(n * one, rel=1e-9)
    np.testing.assert_allclose(of_all, np.tile(forces, (n, 1)), atol=1e-8 * np.abs(forces).max())


# --- labels and training ----------------------------------------------------------------------

LIH = qiff.read(qiff.Source("bundled:lih"))


def with_offset(atoms: ase.Atoms, offset: float) -> ase.Atoms:
    moved = atoms.copy()
    found = labels(atoms)
    moved.calc = SinglePointCalculator(
        moved, energy=found["energy"] + offset, forces=found["forces"]
    )
    return moved


def trained(
    folder: Path, frames: list[ase.Atoms], parts=(0.8, 0.1, 0.1), dtype="float64", **train_
):
    write(folder / "frames.xyz", frames)
    data = Data(str(folder / "frames.xyz"), train=parts[0], valid=parts[1], test=parts[2])
    return train(replace(run(folder / "run", **train_), data=data, dtype=dtype))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_energies_of_1e8_ev_are_learned_like_small_ones(dtype, tmp_path):
    """The resolution of such a number is 1.5e-8 eV."""
    found = []
    for offset in (0.0, 1e8, -1e8):
        (tmp_path / str(offset)).mkdir()
        frames = [with_offset(atoms, offset) for atoms in LIH]
        found.append(trained(tmp_path / str(offset), frames, dtype=dtype)["test"]["energy_mae"])
    assert found[0] < 0.3
    np.testing.assert_allclose(found, found[0], rtol=1e-4)


@pytest.mark.parametrize(
    ("frames", "parts", "message"),
    [
        (LIH[:1], (0.8, 0.1, 0.1), "must be at least 1, 1, 0 frames and together at most 1"),
        (LIH[:3], (1, 1, 1), "`frames` must have different energies, but all are equal"),
        (
            [LIH[0]] * 20,
            (0.8, 0.1, 0.1),
            "`frames` must have different energies, but all are equal",
        ),
    ],
    ids=["one frame", "one to learn from", "equal frames"],
)
def test_too_little_to_learn_from_is_one_clear_line(frames, parts, message, tmp_path):
    with pytest.raises(InputError, match=message):
        trained(tmp_path, frames, parts)
    assert not (tmp_path / "run" / "model.qiff").exists()


@pytest.mark.slow
def test_a_batch_larger_than_the_data(tmp_path):
    metrics = trained(tmp_path, LIH, (5, 5, 5), batch_size=1000)
    assert metrics["train"]["energy_mae"] < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("rate", [1e3, 1e10, 1e30, 1e300])
def test_absurd_learning_rates_end_with_a_finite_model_or_a_message(rate, dtype, tmp_path):
    begin = lambda: trained(tmp_path, LIH, dtype=dtype, learning_rate=rate, clip=rate)
    if rate > np.finfo(dtype).max ** 0.5:
        with pytest.raises(RunError, match="start again with a lower `learning_rate`"):
            begin()
        assert not (tmp_path / "run" / "metrics.json").exists()
    else:
        metrics = begin()
        assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == metrics
    for model in (tmp_path / "run").glob("*.qiff"):
        assert all(np.isfinite(leaf).all() for leaf in leaves(model))


# --- dynamics ---------------------------------------------------------------------------------

CHAIN = {"kind": "local", "elements": ["H", "O"], "n_qubits": 2, "n_layers": 1, "n_circuits": 1}
CHAIN |= {"n_basis": 3, "entangling": False}


@pytest.fixture(scope="module")
def circuits() -> qiff.AbstractPotential:
    with enable_x64(True):
        return qiff.build(CHAIN, jax.random.key(0))


@pytest.fixture(scope="module")
def network() -> qiff.AbstractPotential:
    return BY_NAME["linear in invariants"].random()


WATER = ase.Atoms("OHH", [[0, 0, 0], [0.96, 0.1, 0], [-0.2, 0.94, 0]])


def states(potential: qiff.AbstractPotential, atoms: ase.Atoms, **settings: Any) -> list:
    found = []
    whole: dict[str, Any] = {"steps": 50, "interval": 1} | settings
    for state in simulate(potential, atoms, Dynamics(**whole)):
        assert np.isfinite(state.positions).all()
        assert np.isfinite(state.energy)
        found.append(state)
    return found


@pytest.mark.parametrize("name", [pytest.param("circuits", marks=pytest.mark.slow), "network"])
def test_dynamics_that_start_or_step_too_far_end_with_a_message(name, request):
    potential = request.getfixturevalue(name)
    together = WATER.copy()
    together.positions[2] = together.positions[1]
    with pytest.raises(InputError, match="the start: atoms 1 and 2 are 0 Å apart"):
        states(potential, together)
    for timestep in (1e3, 1e300)[name == "circuits" :]:  # whose atoms part in long steps
        with pytest.raises(RunError, match=r"the dynamics exploded .*: use a smaller timestep"):
            states(potential, WATER, timestep=timestep, temperature=1e3)
    assert len(states(potential, WATER, timestep=1e-3)) == 51  # control


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ethanol", "liquid-water", "silicon"])
@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
def test_steps_of_100_fs_are_refused_by_the_dynamics_themselves(name, ensemble):
    atoms = {
        "ethanol": lambda: ase.build.molecule("CH3CH2OH"),
        "liquid-water": lambda: ase.build.molecule("H2O"),
        "silicon": lambda: ase.build.bulk("Si", cubic=True),
    }[name]()
    atoms.rattle(0.05, seed=0)
    with pytest.raises(RunError, match=r"the dynamics exploded .*: use a smaller timestep"):
        states(qiff.load(name), atoms, ensemble=ensemble, timestep=100.0, temperature=2000.0)


def masses(change: Callable[[np.ndarray], None]) -> ase.Atoms:
    atoms = WATER.copy()
    found = atoms.get_masses()
    change(found)
    atoms.set_array("masses", found)
    return atoms


@pytest.mark.parametrize("mass", [0.0, -1.0, np.nan, np.inf])
def test_masses_that_are_not_positive_are_refused(mass, network):
    atoms = masses(lambda found: found.__setitem__(2, mass))
    shown = re.escape(f"`masses` must be positive and finite, but atom 2 has {mass:g} u.")
    with pytest.raises(InputError, match=shown):
        states(network, atoms)


def test_masses_of_any_size(network):
    heavy = states(network, masses(lambda found: found.fill(1e30)), steps=5)
    np.testing.assert_allclose(heavy[-1].positions, heavy[0].positions, atol=1e-6)
    with pytest.raises(RunError, match="the dynamics exploded"):
        states(network, masses(lambda found: found.__setitem__(1, 1e-30)), steps=5)


@pytest.mark.slow
def test_water_conserves_energy_for_a_nanosecond(tmp_path):
    """In both precisions; the script makes the table of `docs/results.md`."""
    script = Path(__file__).parent.parent / "runs" / "nve" / "water.py"
    command = [sys.executable, str(script), str(tmp_path)]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    drifts = re.findall(r"^\| float\d\d \| (\S+) ± (\S+) \|", table, re.MULTILINE)
    assert len(drifts) == 2
    for drift, error in drifts:
        assert abs(float(drift)) <= 0.01
        assert float(error) < 0.001
