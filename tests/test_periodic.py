"""Periodic cells from file to prediction: labels, loss, metrics, calculator, runs."""

from typing import Any

import ase
import ase.build
import ase.io
import ase.units
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator
from ase.filters import FrechetCellFilter

import qiff
from qiff import InputError, Source
from qiff.atoms.data.dataset import write as write_frames
from qiff.atoms.frames import Frames
from qiff.atoms.properties import labels
from qiff.atoms.reference import fit_reference
from qiff.model.build import build, build_for
from qiff.model.potential import ScaleShift, ScaleShiftSettings
from qiff.model.predict import atomic_energies, enable_x64
from qiff.run.config import Data, Run
from qiff.run.prepare import prepare
from qiff.training.loss import Loss, relative
from qiff.training.metrics import errors
from qiff.training.settings import Training

SILICON = {"kind": "classical", "elements": ["Si"], "n_channels": 3, "n_basis": 3, "cutoff": 4.0}


def crystal(seed=0, width=0.1, repeat=1, **results):
    atoms = ase.build.bulk("Si", "diamond", 5.43) * (repeat, 1, 1)
    atoms.rattle(width, seed=seed)
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


@pytest.fixture(scope="module")
def potential():
    with enable_x64(True):
        core = build(SILICON, jax.random.key(1))
        core = jax.tree.map(lambda leaf: 0.7 * leaf, core)
    settings = ScaleShiftSettings(scale=1.0, reference_energies={"Si": -100.0})
    return ScaleShift(core, settings)


@pytest.fixture(scope="module")
def frames(potential):
    """Labelled by a potential: cells of two sizes."""
    found = [crystal(seed, repeat=1 + seed % 2) for seed in range(12)]
    for atoms, one in zip(found, qiff.predict(potential, found), strict=True):
        atoms.calc = SinglePointCalculator(atoms, **one.results())
    return found


# --- labels -----------------------------------------------------------------------------------

TENSOR = np.array([[1.0, 0.1, 0.2], [0.1, 2.0, 0.3], [0.2, 0.3, 3.0]])
VOIGT = np.array([1.0, 2.0, 3.0, 0.3, 0.2, 0.1])


def write(path, atoms, **info):
    atoms = atoms.copy()
    atoms.info |= {"energy": -1.0, **info}
    ase.io.write(path, atoms, format="extxyz", write_results=False)
    return Source(str(path))


@pytest.mark.parametrize(
    ("info", "of_volume"),
    [
        ({"stress": TENSOR}, False),
        ({"REF_stress": TENSOR.ravel()}, False),
        ({"REF_stress": VOIGT}, False),
        ({"virial": -TENSOR}, True),
        ({"REF_virial": -VOIGT}, True),
    ],
)
def test_stress_and_virial_are_read_in_every_layout(tmp_path, info, of_volume):
    (found,) = qiff.read(write(tmp_path / "a.xyz", crystal(), **info))
    expected = VOIGT / found.get_volume() if of_volume else VOIGT
    np.testing.assert_allclose(labels(found)["stress"], expected)


def test_stress_is_converted_in_the_units_of_the_file(tmp_path):
    for name in ("stress", "virial"):
        source = write(tmp_path / "a.xyz", crystal(), **{name: TENSOR})
        hartree = Source(source.path, energy_unit="Hartree", length_unit="Bohr")
        (plain,), (scaled,) = qiff.read(source), qiff.read(hartree)
        ratio = labels(scaled)["stress"] / labels(plain)["stress"]
        np.testing.assert_allclose(ratio, ase.units.Hartree / ase.units.Bohr**3)


def test_a_molecule_in_a_box_has_no_stress(tmp_path):
    atoms = crystal()
    atoms.pbc = False
    (found,) = qiff.read(write(tmp_path / "a.xyz", atoms, stress=TENSOR))
    assert "stress" not in labels(found)


def test_a_periodic_file_without_a_cell_is_one_clear_line(tmp_path):
    atoms = ase.Atoms("HO", [[0, 0, 0], [1, 0, 0]], pbc=True)
    with pytest.raises(InputError, match=r"frame 0: is periodic .* give a cell or set pbc"):
        qiff.read(write(tmp_path / "a.xyz", atoms))


def test_atoms_on_top_of_an_image_are_refused(tmp_path):
    atoms = ase.Atoms("HO", [[0.05, 0, 0], [4.95, 0, 0]], cell=[5, 5, 5], pbc=True)
    with pytest.raises(InputError, match=r"atoms 0 and 1 are 0\.1 Å apart"):
        qiff.read(write(tmp_path / "a.xyz", atoms))
    atoms.pbc = False
    assert qiff.read(write(tmp_path / "a.xyz", atoms))  # control: no image there


# --- predictions ------------------------------------------------------------------------------


def test_frames_with_and_without_a_cell_are_predicted_together(potential):
    molecule = crystal()
    molecule.pbc = False
    box, other = crystal(1), crystal(2, repeat=2)
    together = qiff.predict(potential, [box, molecule, other])
    for atoms, found in zip([box, molecule, other], together, strict=True):
        alone = qiff.predict(potential, atoms)
        assert found.energy == pytest.approx(alone.energy, abs=1e-10)
        np.testing.assert_allclose(found.forces, alone.forces, atol=1e-10)
        assert (found.stress is None) == (not atoms.pbc.any())
    first, second = together[0].stress, qiff.predict(potential, box).stress
    np.testing.assert_allclose(np.asarray(first), np.asarray(second))


def test_energies_of_atoms_add_up(potential):
    box = crystal(3, repeat=2)
    each = atomic_energies(potential, box)
    assert each.shape == (4,)
    assert each.sum() == pytest.approx(qiff.predict(potential, box).energy, abs=1e-9)


@pytest.mark.parametrize("kind", ["generic", "cartesian_triplets", "fragments"])
def test_potentials_without_a_cutoff_refuse_a_cell(kind):
    water = {"kind": "triatomic", "elements": ["O", "H", "H"]}
    dimer = {"kind": "coupled_dimer", "elements": ["O", "H", "H", "O", "H", "H"]}
    config = {
        "generic": {"kind": kind, "elements": ["O", "H", "H"]},
        "cartesian_triplets": {"kind": kind, "elements": ["O", "H"]},
        "fragments": {"kind": kind, "molecule": water, "pair": dimer, "pair_cutoff": 5.0},
    }[kind]
    atoms = ase.Atoms("OHH", [[0, 0, 0], [0.9, 0, 0], [0, 0.9, 0]], cell=[9, 9, 9], pbc=True)
    with enable_x64(True):
        found = build(config, jax.random.key(0))
    with pytest.raises(InputError, match=r"atoms: is periodic .* or use a model with a cutoff"):
        atomic_energies(found, atoms)


# --- loss and metrics -------------------------------------------------------------------------


def test_frames_without_a_label_are_left_out_of_its_loss(potential, frames):
    loss = Loss({"energy": 1.0, "stress": 1e4})
    stacked = relative(qiff.stack(frames, cutoff=4.0), potential)
    wrong = {key: values + 0.1 for key, values in stacked.labels.items()}
    absent = wrong["stress"].copy()
    absent[::2] = np.nan
    at = eqx.filter_jit(loss)
    with qiff.precision(potential):
        every, some, none = (
            float(at(potential, Frames(stacked.graph, wrong | {"stress": stress})))
            for stress in (wrong["stress"], absent, np.full_like(absent, np.nan))
        )
    assert every == pytest.approx(0.01 * (1 + 1e4), rel=1e-6)
    assert some == pytest.approx(every, rel=1e-6)
    assert none == pytest.approx(0.01, rel=1e-6)


def test_weights_of_frames_and_errors_per_atom(potential, frames, tmp_path):
    heavy = [atoms.copy() for atoms in frames]
    for atoms, labelled in zip(heavy, frames, strict=True):
        atoms.calc = labelled.calc
        atoms.info["weight"] = float(len(atoms))
    stacked = relative(qiff.stack(heavy, cutoff=4.0), potential)
    wrong = {"energy": stacked.labels["energy"] + 0.1}
    both = Frames(stacked.graph, wrong, stacked.weights)
    with qiff.precision(potential):
        at = eqx.filter_jit(Loss({"energy": 1.0}))
        plain, weighted = at(potential, Frames(stacked.graph, wrong)), at(potential, both)
        each = eqx.filter_jit(Loss({"energy": 1.0}, per_atom=True))(potential, both)
    assert float(plain) == pytest.approx(0.01, rel=1e-6)
    assert float(weighted) == pytest.approx(0.01 * 3, rel=1e-6)
    assert float(each) == pytest.approx(0.01 * (2 / 4 + 4 / 16) / 2, rel=1e-6)


def test_stress_is_learned(frames):
    potential = build_for(frames, SILICON, seed=0)
    loss, stacked = Loss({"stress": 1e6}), qiff.stack(frames, cutoff=4.0)
    with qiff.precision(potential):
        both = eqx.filter_jit(jax.value_and_grad(lambda p: loss(p, stacked)))
        before, slope = both(potential)
        size = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(slope)))
        lower = jax.tree.map(lambda leaf, g: leaf - 1e-3 * g / size, potential, slope)
        assert both(lower)[0] < before
    assert size > 1e-6  # control: there is something to learn


def test_errors_of_periodic_frames_are_per_atom_too(potential, frames):
    shifted = []
    for atoms in frames:
        shifted.append(atoms.copy())
        known = {**labels(atoms), "energy": labels(atoms)["energy"] + 0.1 * len(atoms)}
        shifted[-1].calc = SinglePointCalculator(shifted[-1], **known)
    found = errors(qiff.predict(potential, shifted), shifted)
    assert found["energy_per_atom_mae"] == pytest.approx(0.1)
    assert found["energy_per_atom_rmse"] == pytest.approx(0.1)
    assert found["energy_mae"] == pytest.approx(0.3)
    assert found["stress_rmse"] == pytest.approx(0.0, abs=1e-12)
    molecules = [atoms.copy() for atoms in frames]
    for atoms in molecules:
        atoms.pbc = False
        atoms.calc = SinglePointCalculator(atoms, energy=0.0)
    assert "energy_per_atom_mae" not in errors(qiff.predict(potential, molecules), molecules)


# --- runs -------------------------------------------------------------------------------------


def run(path, **data):
    sizes: Any = {"train": 4, "valid": 2, "test": 3, **data}
    return Run(Data(str(path), **sizes), SILICON, Training(stress_weight=1.0))


def test_frames_to_test_on_are_a_file_or_those_of_a_group(frames, tmp_path):
    for index, atoms in enumerate(frames):
        atoms.info["block"] = f"b{index // 4}"
    write_frames(tmp_path / "a.xyz", frames[:8])
    write_frames(tmp_path / "b.xyz", frames[8:])
    prepared = prepare(run(tmp_path / "a.xyz", test_path=str(tmp_path / "b.xyz")))
    assert {a.info["block"] for a in prepared.part("test")} == {"b2"}
    assert {a.info["block"] for a in prepared.part("train")} <= {"b0", "b1"}
    assert prepared.run.provenance["test_sha256"]
    prepared = prepare(run(tmp_path / "a.xyz", train=2, valid=1, test_where="block=b1"))
    assert {a.info["block"] for a in prepared.part("test")} == {"b1"}
    assert {a.info["block"] for a in prepared.part("train")} == {"b0"}
    with pytest.raises(InputError, match=r"no frames with `test_where` block=b7; found .* b0, b1"):
        prepare(run(tmp_path / "a.xyz", test_where="block=b7"))


def test_isolated_atoms_are_references_and_no_frames(frames, tmp_path):
    alone = ase.Atoms("Si", info={"config_type": "IsolatedAtom"})
    alone.calc = SinglePointCalculator(alone, energy=-90.0, forces=np.zeros((1, 3)))
    write_frames(tmp_path / "a.xyz", [alone, *frames])
    prepared = prepare(run(tmp_path / "a.xyz"))
    assert len(prepared.frames) == len(frames)
    water = [ase.Atoms("OHH"), ase.Atoms("OHHOHH")]
    for atoms, energy in zip(water, (-30.0, -60.5), strict=True):
        atoms.calc = SinglePointCalculator(atoms, energy=energy)
    open_to_choice = fit_reference(water, {8: -20.0, 1: -3.0}).energies
    assert open_to_choice[8] == pytest.approx(-20.0, abs=2)  # least squares alone: -20.1, 2 to 1
    assert fit_reference(water, {8: -8.0, 1: -11.0}).energies[8] == pytest.approx(-8.0, abs=0.2)


# --- the calculator ---------------------------------------------------------------------------


def test_the_calculator_follows_cell_and_atoms(potential):
    atoms = crystal(5)
    atoms.calc = qiff.Calculator(potential)
    first = atoms.get_stress()
    np.testing.assert_allclose(first, qiff.predict(potential, atoms).stress)
    np.testing.assert_allclose(atoms.get_potential_energies().sum(), atoms.get_potential_energy())
    atoms.set_cell(1.02 * atoms.cell.array, scale_atoms=True)
    assert np.abs(atoms.get_stress() - first).max() > 1e-5
    np.testing.assert_allclose(atoms.get_stress(), qiff.predict(potential, atoms).stress)
    atoms.pbc = (True, True, False)
    np.testing.assert_allclose(atoms.get_stress(), qiff.predict(potential, atoms).stress)
    more = atoms * (2, 1, 1)
    more.calc = atoms.calc
    assert more.get_stress().shape == (6,)
    more.pbc = False
    assert more.get_potential_energy() < 0
    with pytest.raises(PropertyNotImplementedError):
        more.get_stress()


def test_a_cell_is_relaxed_with_the_filters_of_ase(potential):
    atoms = crystal(5, width=0.02)
    atoms.calc = qiff.Calculator(potential)
    relaxed = FrechetCellFilter(atoms)
    before, size = atoms.get_potential_energy(), atoms.cell.array.copy()
    slopes = -relaxed.get_forces()
    step = 1e-3 / np.abs(slopes).max()
    relaxed.set_positions(relaxed.get_positions() - step * slopes)
    expected = before - step * (slopes**2).sum()
    assert np.abs(atoms.cell.array - size).max() > 1e-5
    assert atoms.get_potential_energy() == pytest.approx(expected, abs=0.05 * (before - expected))


def test_members_differ_in_their_stress(frames):
    ensemble = qiff.build_ensemble_for(frames, SILICON, members=2, seed=0)
    box = crystal(1)
    both = [qiff.predict(member, box).stress for member in ensemble.members]
    expected = np.sqrt(((both[0] - both[1]) ** 2).mean() / 2)
    assert qiff.uncertainty(ensemble, box).stress == pytest.approx(expected)
    calculator = qiff.Calculator(ensemble)
    assert calculator.get_property("stress_std", box) == pytest.approx(expected)
