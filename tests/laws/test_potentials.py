"""Potentials: every law for every registered kind, in both precisions; each with a control."""

import re
from itertools import permutations
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

import qiff
from qiff._checks import InputError
from qiff.atoms.frames import Frames
from qiff.atoms.graph import displacements, graph
from qiff.model.build import build, skeleton
from qiff.model.derivatives import derivatives
from qiff.model.molecule import Molecule
from qiff.model.potential import AbstractSinglePotential, SumSettings
from qiff.quantum.circuit import Circuit
from qiff.testing import (
    LAWS,
    LOCAL,
    TOLERANCE,
    applicable,
    check_config,
    check_potential,
    evaluate,
    exchange,
    gradient,
    in_precision,
    transformed,
)
from qiff.training.loss import Loss

from .examples import (
    CENTRAL,
    DIATOMIC,
    FRAGMENTS,
    OHH,
    PAIR,
    POTENTIAL_EXAMPLES,
    TRIATOMIC,
    every,
    scattered,
)
from .examples import LOCAL as LOCAL_CONFIG

EXAMPLES = every(POTENTIAL_EXAMPLES)
BY_NAME = {example.name: example for example in EXAMPLES}
BROKEN = {"rotation": "rotations", "reflection": "rotations", "order": "reorders"}
"""Laws that an example may break on purpose, and the field that says so."""
IN_FLOAT64 = {"gradient", *LOCAL}
"""Laws that are about structure or need differences: checked in float64 alone."""

all_potentials = pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.name)

SLOW = {  # the longest to compile; each kind has an example that is not
    "circuits in two interactions": ("float64", "float32"),
    "circuits of qubits alone": ("float64", "float32"),
    "network of atoms": ("float64", "float32"),
    "ensemble": ("float32",),
}
BOTH = [
    pytest.param(e, p, marks=[pytest.mark.slow] * (p in SLOW.get(e.name, ())))
    for e in EXAMPLES
    for p in TOLERANCE
]
learning_potentials = pytest.mark.parametrize(
    "example",
    [
        pytest.param(e, marks=[pytest.mark.slow] * ("float64" in SLOW.get(e.name, ())))
        for e in EXAMPLES
    ],
    ids=lambda e: e.name,
)


@pytest.mark.parametrize(
    ("example", "precision"), BOTH, ids=lambda value: getattr(value, "name", value)
)
def test_laws(example, precision):
    potential = in_precision(example.random(), precision)
    laws = applicable(potential)
    laws = {n: laws[n] for n in laws if precision == "float64" or n not in IN_FLOAT64}
    assert {"translation", "total force", "rounding"} <= laws.keys()
    for name, allowed in laws.items():
        if name == "exchange":
            found = exchange(potential, example.molecule, example.swaps)
        else:
            found = LAWS[name](potential, example.molecule)
        if getattr(example, BROKEN.get(name, ""), True):
            assert found <= allowed, f"{name}: {found:.2g}"
        else:  # control: what breaks a symmetry on purpose does
            assert found > 1e-3, f"{name}: {found:.2g}"


def in_double(potential, atoms):
    """Arrays in float64 in what a potential in float32 computes where float64 is enabled."""
    seen = jax.tree.map(jnp.asarray, graph(atoms, "float32", potential.cutoff))
    return re.findall(r"\w+:f64\[\d", str(jax.make_jaxpr(derivatives)(potential, seen)))


@all_potentials
def test_single_precision_stays_single_where_double_is_enabled(example):
    """Dynamics are in float64 around the potential; a constant of numpy would widen all of it."""
    assert not in_double(in_precision(example.random(), "float32"), example.molecule)


def test_control_a_constant_in_double_is_seen():
    wide = in_precision(Spoilt("rounding"), "float32")
    wider = eqx.tree_at(lambda p: p.weight, wide, jnp.ones((1,), "float64"))
    assert in_double(wider, scattered("OHHHC"))


# --- controls: a potential for each law that breaks it -----------------------------------------


@jax.custom_jvp
def doubled(x: Float[Array, ""]) -> Float[Array, ""]:
    """The identity with a wrong derivative."""
    return x


doubled.defjvp(lambda primals, tangents: (primals[0], 2 * tangents[0]))


def _around(graph):
    """Sums over neighbours that obey every law: 1 − r²/25 up to 5 Å, three times continuous."""
    square = jnp.where(graph.mask, (displacements(graph) ** 2).sum(-1), 25.0)
    return (jnp.maximum(1 - square / 25.0, 0.0) ** 4).sum(-1)


def _radial(graph):
    return _around(graph).sum()


SPOILT = {
    "translation": lambda g: g.positions[0, 0],
    "rotation": lambda g: (g.positions[1] - g.positions[0])[0] ** 2,
    "reflection": lambda g: jnp.linalg.det(g.positions[1:4] - g.positions[0]),
    "order": lambda g: ((g.positions[1] - g.positions[0]) ** 2).sum(),
    "exchange": lambda g: ((g.positions[1] - g.positions[0]) ** 2).sum(),
    "total force": lambda g: (g.positions**2).sum(),
    "rounding": lambda g: 1e5 * _radial(g) - 1e5 * _radial(g.at(1.00001 * g.positions)),
    "gradient": lambda g: doubled(_radial(g)),
    "padding": lambda g: len(g.numbers) * _radial(g),
    "stack": lambda g: len(g.numbers) * _radial(g),
    "extensivity": lambda g: _radial(g) ** 2,
    "continuity": lambda g: jnp.where(
        g.mask & ((displacements(g) ** 2).sum(-1) < 25.0), 1.0, 0.0
    ).sum(),
    "supercell": lambda g: len(g.numbers) * _radial(g),
    "choice of cell": lambda g: (g.cell**2).sum(),
    "wrapping": lambda g: g.positions[0, 0],
    "box rotation": lambda g: g.cell[0, 0],
    "large box": lambda g: 0.0 if g.cell is None else 0.1,
    "strain gradient": lambda g: doubled(_radial(g)),
}


class Spoilt(AbstractSinglePotential):
    """A potential that obeys all laws, plus a term that breaks one."""

    Settings: ClassVar = SumSettings
    weight: Float[Array, ""]
    law: str = eqx.field(static=True)
    settings: SumSettings = eqx.field(static=True)

    def __init__(self, law: str = ""):
        self.weight, self.law, self.settings = jnp.ones(()), law, SumSettings()

    @property
    def cutoff(self):
        return 5.0

    @property
    def interaction_range(self):
        return 5.0

    def __call__(self, graph):
        graph = graph.at(jnp.asarray(graph.positions))
        energies = _around(graph)
        if self.law:
            energies += SPOILT[self.law](graph) / len(graph.numbers)
        return self.weight * energies

    def reference_energy(self, numbers):
        return 0.0

    def check(self, numbers):
        pass


@pytest.mark.parametrize("law", LAWS)
def test_control_a_potential_that_breaks_a_law_is_seen(law):
    precision = "float32" if law == "rounding" else "float64"
    good, bad = (in_precision(Spoilt(name), precision) for name in ("", law))
    atoms = scattered("OHHHC")
    allowed = applicable(good)[law]
    assert LAWS[law](good, atoms) <= allowed
    assert LAWS[law](bad, atoms) > 10 * allowed
    if law != "rounding":
        assert LAWS[law](bad, atoms) > 1e-4


def test_every_law_has_a_control():
    assert set(SPOILT) == set(LAWS)


def test_the_check_for_users_names_the_law_that_is_broken():
    atoms = scattered("OHHHC")
    with pytest.raises(AssertionError, match="`rotation`: the defect is"):
        check_potential(Spoilt("rotation"), atoms)
    check_potential(BY_NAME["linear in invariants"].random(), scattered("CHHO"))


def test_control_a_config_that_does_not_rebuild_the_structure_is_seen():
    with pytest.raises((AssertionError, InputError)):
        check_config(Spoilt())


# --- more symmetry --------------------------------------------------------------------------------


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
    hcn = BY_NAME["hydrogen cyanide"]
    assert exchange(hcn.random(), hcn.molecule, [(1, 2)]) > 1e-3


def test_exchange_in_hydrogen_is_more_than_another_order():
    """Both atoms are exchanged and so are the rows of the file: two different operations."""
    hydrogen = BY_NAME["hydrogen"]
    potential, atoms = hydrogen.random(), hydrogen.molecule
    turned = transformed(atoms, np.diag([-1.0, 1.0, -1.0]))
    before, after, back = evaluate(potential, [atoms, turned, turned[[1, 0]]])
    assert abs(before.energy - after.energy) < 1e-10
    np.testing.assert_allclose(back.forces, after.forces[[1, 0]], atol=1e-10)
    assert np.abs(back.forces - after.forces).max() > 1e-2  # control: the rows did change


def test_control_a_circuit_of_absolute_positions_is_not_translation_invariant():
    circuit = BY_NAME["water"].random().circuit
    here, there = (circuit(jnp.asarray(OHH.positions[1:] + shift)) for shift in (0.0, 1.0))
    assert np.abs(here - there).max() > 1e-3


def test_forces_are_finite_and_smooth_where_a_vector_vanishes():
    atoms = OHH.copy()
    atoms.positions[1] = atoms.positions[0]
    assert gradient(BY_NAME["water"].random(), atoms) < 1e-6


# --- weights ----------------------------------------------------------------------------------


SLOPE = eqx.filter_jit(jax.grad(Loss({"energy": 1.0})))


def gradients(potential, atoms):
    """Derivative of an energy loss in each weight, of distorted copies."""
    rng = np.random.default_rng(0)
    frames = [transformed(atoms, shift=0.2 * rng.normal(size=(len(atoms), 3))) for _ in range(4)]
    stacked = graph(frames, "float64", potential.cutoff)
    labels = {"energy": rng.normal(size=4)}
    return [np.abs(leaf) for leaf in jax.tree.leaves(SLOPE(potential, Frames(stacked, labels)))]


def complete(example):
    """Atoms in which every pair of elements that the potential tells apart occurs."""
    if not example.any_size:
        return example.molecule
    return scattered("".join(example.elements) * 2)


def can_learn(example):
    """Which weights have a gradient at some random weights."""
    atoms = complete(example)
    found = [gradients(example.random(spread), atoms) for spread in (1.0, 0.3)]
    return [(one > 1e-12) | (other > 1e-12) for one, other in zip(*found, strict=True)]


def dead(example, potential) -> int:
    """Number of weights with zero gradient that have one at random weights."""
    atoms = complete(example)
    able = can_learn(example)
    assert sum(mask.sum() for mask in able) > 0
    found = gradients(potential, atoms)
    return sum(
        int(np.sum((slope <= 1e-12) & mask)) for slope, mask in zip(found, able, strict=True)
    )


@learning_potentials
def test_no_weight_that_can_learn_starts_with_zero_gradient(example):
    assert dead(example, example.fresh()) == 0


def never_live(circuit: Circuit) -> int:
    """Scales and weights that cannot change an observable: read by no gate in its light cone."""
    words = [word for o in circuit.program.observables for _, word in o.terms]
    cone = {qubit for word in words for qubit, letter in enumerate(word) if letter != "I"}
    live = np.zeros(circuit.program.n_slots, bool)
    for gate in reversed(list(circuit.program.gates())):
        if cone & set(gate.qubits):
            cone |= set(gate.qubits)
            live[list(gate.slots)] = True
    read = jax.jacobian(lambda c: c.angles(jnp.ones(circuit.encoding.data_shape)))(circuit)
    masks = [np.abs(jacobian)[live].sum(0) > 0 for jacobian in jax.tree.leaves(read)]
    assert np.all(masks[1])
    assert np.all(masks[0][:-1])
    return sum(int(np.sum(~mask)) for mask in masks)


@learning_potentials
def test_only_the_last_encoding_outside_the_light_cone_cannot_learn(example):
    potential = example.random()
    is_circuit = lambda node: isinstance(node, Circuit)
    leaves = jax.tree.leaves(potential, is_leaf=is_circuit)
    expected = sum(never_live(leaf) for leaf in leaves if is_circuit(leaf))
    found = can_learn(example)
    assert sum(mask.size for mask in found) > 0
    assert sum(int(np.sum(~mask)) for mask in found) == expected + example.inert


def test_control_a_start_at_exactly_the_identity_has_dead_weights():
    """Regression: most weight rows of the public demo start with zero gradient."""
    example = BY_NAME["broken water"]
    potential = example.fresh()
    assert isinstance(potential, Molecule)
    identity = eqx.tree_at(
        lambda p: (p.circuit.weights, p.circuit.scales),
        potential,
        (jnp.zeros_like(potential.circuit.weights), jnp.zeros_like(potential.circuit.scales)),
    )
    assert dead(example, identity) > 0


@pytest.mark.parametrize(
    "name", [pytest.param("circuits of atoms", marks=pytest.mark.slow), "network of atoms"]
)
def test_control_dead_channels_of_atoms_are_seen(name):
    """The law reaches potentials without a `Circuit`: with all channels zero, weights are dead."""
    example = BY_NAME[name]
    channels = lambda p: [i.channels for i in p.message_passing.interactions]
    zero = eqx.tree_at(
        channels, example.fresh(), replace_fn=lambda x: jax.tree.map(jnp.zeros_like, x)
    )
    assert dead(example, zero) > 0


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
    before, after = (evaluate(p, [example.molecule])[0] for p in (potential, loaded))
    assert before.energy == after.energy
    assert np.array_equal(before.forces, after.forces)


@all_potentials
def test_config_rebuilds_the_structure(example):
    check_config(example.fresh())


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


PAIRS = "must be two central atoms and four that are alike"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CENTRAL | {"elements": ["N", "H", "H"]}, "must be a central atom and 3 to 7"),
        (CENTRAL | {"elements": ["N", "H", "H", "O", "O"]}, "are alike, but are .*'N', 'H'"),
        (PAIR | {"elements": ["O", "O", "O", "H", "H", "H"]}, PAIRS),
        (PAIR | {"kind": "dimer", "elements": ["C", "H", "N"] * 2}, PAIRS),
        (FRAGMENTS | {"molecule": DIATOMIC}, "`molecule` must be a model of kind `triatomic`"),
        (FRAGMENTS | {"pair": TRIATOMIC}, "must be a model of kind `dimer` or `coupled_dimer`"),
        (
            FRAGMENTS | {"molecule": TRIATOMIC | {"elements": ["S", "H", "H"]}},
            r"`pair` must be two of \['S', 'H', 'H'\], but is \['O', 'O', 'H', 'H', 'H', 'H'\]",
        ),
        ({"kind": "hybrid", "circuits": []}, "must be one or more models of a single molecule"),
        ({"kind": "hybrid", "circuits": [LOCAL_CONFIG]}, "one or more models of a single molecule"),
        (
            {"kind": "hybrid", "circuits": [TRIATOMIC, DIATOMIC]},
            "`circuits` must have the same elements",
        ),
        ({"kind": "hybrid", "circuits": TRIATOMIC, "n_hidden": 0}, "`n_hidden` must be at least 1"),
    ],
)
def test_models_that_do_not_fit_together_are_refused(config, message):
    with pytest.raises(InputError, match=message):
        skeleton(config)


def test_incomplete_model_configs_are_refused():
    with pytest.raises(InputError, match="`kind` is missing"):
        build({}, jax.random.key(0))
    with pytest.raises(InputError, match="argument `elements` is missing"):
        build({"kind": "triatomic"}, jax.random.key(0))
    scaled = {
        "kind": "scale_shift",
        "potential": TRIATOMIC,
        "scale": 1.0,
        "reference_energies": {"H": 1.0},
    }
    with pytest.raises(InputError, match="no reference energy for O"):
        build(scaled, jax.random.key(0)).check(np.array([8, 1, 1]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": -1.0}, "`scale` must be positive"),
        ({"reference_energies": {"O": "x"}}, "must be float"),
        ({"reference_energies": {"O": float("nan")}}, "`reference_energies.O` must be finite"),
        ({"reference_energies": {"Q": 1.0}}, "Element `Q`"),
    ],
)
def test_wrong_scales_and_references_are_refused(change, message):
    scaled = {"kind": "scale_shift", "potential": TRIATOMIC, "scale": 1.0, "reference_energies": {}}
    with pytest.raises(InputError, match=message):
        build(scaled | change, jax.random.key(0))


def test_energy_per_atom_sums_to_the_energy():
    potential = POTENTIAL_EXAMPLES["scale_shift"][0].random()
    per_atom = eqx.filter_jit(potential)(graph(OHH, "float64"))
    assert per_atom.shape == (3,)
    whole = per_atom.sum() + potential.reference_energy(OHH.numbers)
    np.testing.assert_allclose(whole, evaluate(potential, [OHH])[0].energy)
