"""Potentials: symmetry, forces, live weights, files; each with a control that must fail."""

from itertools import permutations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qiff
from qiff._checks import InputError
from qiff.atoms.graph import Frames, graph
from qiff.model.build import build
from qiff.model.predict import energy
from qiff.quantum.circuit import Circuit
from qiff.quantum.symmetry import Rotations
from qiff.training.loss import Loss

from .examples import OHH, POTENTIAL_EXAMPLES, TRIATOMIC, every, scattered

EXAMPLES = every(POTENTIAL_EXAMPLES)
ROTATION = Rotations(1).sample(np.random.default_rng(11)).rotation
MIRROR = np.diag([1.0, -1.0, 1.0])

all_potentials = pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.name)


def evaluate(potential, atoms):
    """Energy and forces as numpy arrays."""
    return qiff.predict(potential, atoms)


def moved(atoms, matrix=None, shift=0.0, order=None):
    """Atoms rotated, shifted and reordered."""
    matrix = np.eye(3) if matrix is None else matrix
    atoms = atoms[list(range(len(atoms)) if order is None else order)]
    atoms.positions = atoms.positions @ matrix.T + shift
    return atoms


def defect(potential, atoms, matrix=None, shift=0.0, order=None):
    """How far the energy is from invariant and the forces from equivariant."""
    energy, forces = evaluate(potential, atoms)
    other_energy, other_forces = evaluate(potential, moved(atoms, matrix, shift, order))
    matrix = np.eye(3) if matrix is None else matrix
    order = list(range(len(atoms)) if order is None else order)
    return abs(energy - other_energy), np.abs(other_forces - forces[order] @ matrix.T).max()


@all_potentials
def test_translation(example):
    assert max(defect(example.random(), example.molecule, shift=[3.0, -1.0, 7.0])) < 1e-10


@all_potentials
@pytest.mark.parametrize("matrix", [ROTATION, MIRROR, MIRROR @ ROTATION], ids=["R", "P", "PR"])
def test_rotation_and_reflection(example, matrix):
    found = max(defect(example.random(), example.molecule, matrix))
    if example.rotations:
        assert found < 1e-10
    else:  # control: symmetry breaking does break
        assert found > 1e-3


@all_potentials
def test_exchange_of_alike_atoms(example):
    """Positions of alike atoms are exchanged and the energy is the same: not mere reordering."""
    for a, b in example.swaps:
        exchanged = example.molecule.copy()
        exchanged.positions[[a, b]] = exchanged.positions[[b, a]]
        before, forces = evaluate(example.random(), example.molecule)
        after, other = evaluate(example.random(), exchanged)
        np.testing.assert_allclose(after, before, atol=1e-10)
        np.testing.assert_allclose(other[[b, a]], forces[[a, b]], atol=1e-10)


def test_four_alike_atoms_may_be_exchanged_in_every_way():
    """Methane: weights are tied under cyclic exchanges, the mean over cosets does the rest."""
    config = {"kind": "central", "elements": ["C", "H", "H", "H", "H"], "n_layers": 2}
    methane, potential = scattered("CHHHH"), build(config, jax.random.key(3))
    frames = []
    for order in permutations(range(1, 5)):
        exchanged = methane.copy()
        exchanged.positions[1:] = methane.positions[list(order)]
        frames.append(exchanged)
    found = [prediction.energy for prediction in qiff.predict(potential, frames)]
    np.testing.assert_allclose(found, found[0], atol=1e-10)


def test_control_exchanging_different_atoms_changes_the_energy():
    hcn = next(e for e in EXAMPLES if e.name == "hydrogen cyanide")
    exchanged = hcn.molecule.copy()
    exchanged.positions[[1, 2]] = exchanged.positions[[2, 1]]
    assert (
        abs(evaluate(hcn.random(), exchanged)[0] - evaluate(hcn.random(), hcn.molecule)[0]) > 1e-3
    )


@all_potentials
def test_order_of_atoms_in_the_file_does_not_matter(example):
    order = list(range(len(example.molecule)))[::-1]
    if len({*example.molecule.symbols}) == 1:
        order = [0, 1]
    found = max(defect(example.random(), example.molecule, order=order))
    if example.reorders:
        assert found < 1e-10
    else:  # control: the generic circuit knows its alike atoms by their place
        assert found > 1e-3


def test_control_a_circuit_of_absolute_positions_is_not_translation_invariant():
    circuit = next(e for e in EXAMPLES if e.name == "water").random().circuit
    here, there = (circuit(jnp.asarray(OHH.positions[1:] + shift)) for shift in (0.0, 1.0))
    assert np.abs(here - there).max() > 1e-3


# --- forces -----------------------------------------------------------------------------------


def central_differences(potential, atoms, step=1e-4):
    """−dE/dR by fourth-order central differences."""
    function = eqx.filter_jit(energy)
    at = lambda i, k, d: float(
        function(
            potential,
            graph(
                moved(atoms, shift=d * np.eye(3)[k] * _one(atoms, i)), "float64", potential.cutoff
            ),
        )
    )
    slope = lambda i, k: (
        (8 * (at(i, k, step) - at(i, k, -step)) - (at(i, k, 2 * step) - at(i, k, -2 * step)))
        / (12 * step)
    )
    return np.array([[-slope(i, k) for k in range(3)] for i in range(len(atoms))])


def _one(atoms, i):
    return (np.arange(len(atoms)) == i)[:, None]


@all_potentials
def test_forces_are_minus_the_gradient(example):
    potential = example.random()
    _, forces = evaluate(potential, example.molecule)
    differences = central_differences(potential, example.molecule)
    np.testing.assert_allclose(forces, differences, atol=1e-6)
    assert np.abs(forces + differences).max() > 1e-2  # control: the opposite sign


@all_potentials
def test_forces_on_all_atoms_sum_to_zero(example):
    """The atom at the origin gets its force as well; without it the sum is far from zero."""
    _, forces = evaluate(example.random(), example.molecule)
    np.testing.assert_allclose(forces.sum(0), 0, atol=1e-10)
    assert np.abs(forces.sum(0) - forces).max() > 1e-2  # control: without one atom


def test_forces_are_finite_and_smooth_where_a_vector_vanishes():
    potential = next(e for e in EXAMPLES if e.name == "water").random()
    atoms = OHH.copy()
    atoms.positions[1] = atoms.positions[0]
    _, forces = evaluate(potential, atoms)
    np.testing.assert_allclose(forces, central_differences(potential, atoms), atol=1e-6)


# --- weights ----------------------------------------------------------------------------------


def live_weights(circuit: Circuit) -> Circuit:
    """Which scales and weights can change an observable: those read by a gate in its light cone."""
    words = [word for o in circuit.program.observables for _, word in o.terms]
    cone = {qubit for word in words for qubit, letter in enumerate(word) if letter != "I"}
    live = np.zeros(circuit.program.n_slots, bool)
    for gate in reversed(list(circuit.program.gates())):
        if cone & set(gate.qubits):
            cone |= set(gate.qubits)
            live[list(gate.slots)] = True
    read = jax.jacobian(lambda c: c.angles(jnp.ones(circuit.encoding.data_shape)))(circuit)
    return jax.tree.map(lambda jacobian: np.abs(jacobian)[live].sum(0) > 0, read)


def gradients(potential, molecule):
    """Gradient of the energy loss over a few distorted molecules."""
    rng = np.random.default_rng(0)
    frames = [moved(molecule, shift=0.2 * rng.normal(size=(len(molecule), 3))) for _ in range(4)]
    stacked = graph(frames, "float64", potential.cutoff)
    labels = Frames(stacked, rng.normal(size=4), rng.normal(size=stacked.positions.shape))
    return eqx.filter_jit(jax.grad(Loss({"energy": 1.0})))(potential, labels)


def circuits(tree):
    is_circuit = lambda node: isinstance(node, Circuit)
    return [c for c in jax.tree.leaves(tree, is_leaf=is_circuit) if is_circuit(c)]


def dead(potential, molecule) -> int:
    """Number of live weights whose gradient is zero."""
    gradient = gradients(potential, molecule)
    return sum(
        int(np.sum((np.abs(slope) < 1e-12) & can))
        for circuit, found in zip(circuits(potential), circuits(gradient), strict=True)
        for slope, can in zip(*map(jax.tree.leaves, (found, live_weights(circuit))), strict=True)
    )


@all_potentials
def test_no_weight_that_should_train_starts_with_zero_gradient(example):
    assert dead(example.fresh(), example.molecule) == 0


@all_potentials
def test_only_the_last_encoding_outside_the_light_cone_is_not_live(example):
    for circuit in circuits(example.fresh()):
        live = live_weights(circuit)
        assert np.all(live.weights)
        assert np.all(live.scales[:-1])
        assert np.any(live.scales[-1])


def test_control_a_start_at_exactly_the_identity_has_dead_weights():
    """Regression: most weight rows of the public demo start with zero gradient."""
    example = next(e for e in EXAMPLES if e.name == "broken water")
    potential = example.fresh()
    identity = eqx.tree_at(
        lambda p: (p.circuit.weights, p.circuit.scales),
        potential,
        (jnp.zeros_like(potential.circuit.weights), jnp.zeros_like(potential.circuit.scales)),
    )
    assert dead(identity, example.molecule) > 0


# --- files and configs ------------------------------------------------------------------------


@all_potentials
def test_saved_and_loaded_is_identical(example, tmp_path):
    potential, path = example.random(), tmp_path / "model.qiff"
    qiff.save(potential, path)
    loaded = qiff.load(path)
    assert jax.tree.structure(loaded) == jax.tree.structure(potential)
    for before, after in zip(*map(jax.tree.leaves, (potential, loaded)), strict=True):
        assert np.array_equal(before, after)
        assert before.dtype == after.dtype
    before, after = (evaluate(p, example.molecule) for p in (potential, loaded))
    assert np.array_equal(before[0], after[0])
    assert np.array_equal(before[1], after[1])


@all_potentials
def test_config_rebuilds_the_structure(example):
    potential = example.fresh()
    rebuilt = build(potential.config(), jax.random.key(0))
    assert jax.tree.structure(rebuilt) == jax.tree.structure(potential)


@all_potentials
def test_other_molecules_are_refused(example):
    numbers = example.molecule.numbers
    example.fresh().check(numbers)
    sizes = ([*numbers, 1], numbers[:-1])
    for other in sizes if example.any_size else ():
        example.fresh().check(np.array(other))
    for wrong in (*(() if example.any_size else sizes), [*numbers[:-1], 79]):
        with pytest.raises(InputError, match="the model describes"):
            example.fresh().check(np.array(wrong))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "triatomik"}, "did you mean `triatomic`"),
        ({"n_layer": 3}, "did you mean `n_layers`"),
        ({"elements": ["O", "H"]}, "must be 3 symbols"),
        ({"elements": ["O", "H", "Hh"]}, "Element `Hh`"),
        ({"elements": ["O", "O", "O"]}, "occurs once"),
        ({"n_layers": 0}, "`n_layers` must be at least 1"),
        ({"n_repeats": 0}, "`n_repeats` must be at least 1"),
        ({"initial_scale": 0.0}, "`initial_scale` must be positive"),
        ({"initial_spread": -1.0}, "`initial_spread` must be positive"),
        ({"n_layers": "three"}, "`n_layers` must be int"),
    ],
)
def test_wrong_model_configs_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        build(TRIATOMIC | change, jax.random.key(0))


def test_incomplete_model_configs_are_refused():
    with pytest.raises(InputError, match="`kind` is missing"):
        build({}, jax.random.key(0))
    with pytest.raises(InputError, match="argument `elements` is missing"):
        build({"kind": "triatomic"}, jax.random.key(0))
    scaled = {"kind": "scale_shift", "potential": TRIATOMIC, "scale": 1.0, "references": {"H": 1.0}}
    with pytest.raises(InputError, match="no reference energy for O"):
        build(scaled, jax.random.key(0)).check(np.array([8, 1, 1]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": -1.0}, "`scale` must be positive"),
        ({"references": {"O": "x"}}, "must be float"),
        ({"references": {"O": float("nan")}}, "`references.O` must be finite"),
        ({"references": {"Q": 1.0}}, "Element `Q`"),
    ],
)
def test_wrong_scales_and_references_are_refused(change, message):
    scaled = {"kind": "scale_shift", "potential": TRIATOMIC, "scale": 1.0, "references": {}}
    with pytest.raises(InputError, match=message):
        build(scaled | change, jax.random.key(0))


def test_energy_per_atom_sums_to_the_energy():
    potential = POTENTIAL_EXAMPLES["scale_shift"][0].random()
    per_atom = eqx.filter_jit(potential)(graph(OHH, "float64"))
    assert per_atom.shape == (3,)
    whole = per_atom.sum() + potential.reference_energy(OHH.numbers)
    np.testing.assert_allclose(whole, evaluate(potential, OHH)[0])
