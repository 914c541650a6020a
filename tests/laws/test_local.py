"""Potentials with a cutoff: neighbour tables, padding in stacks, and what is refused."""

import ase
import ase.data
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qiff
from qiff._checks import InputError
from qiff.atoms.frames import Frames
from qiff.atoms.graph import Graph, displacements, graph, strained
from qiff.atoms.neighbours import all_pairs, neighbour_table
from qiff.model.density import envelope
from qiff.model.derivatives import energy_and_forces
from qiff.training.loss import Loss

from .examples import POTENTIAL_EXAMPLES, every, scattered

NAMES = ("circuits in two interactions", "network of atoms", "blind triplets", "triplets")
LONG = NAMES[:2]  # to compile
LOCAL = [example for example in every(POTENTIAL_EXAMPLES) if example.name in NAMES]
SMALL = [example for example in every(POTENTIAL_EXAMPLES) if example.name == "linear in invariants"]
NEAR = [example for example in LOCAL if np.isfinite(example.fresh().cutoff)]
all_local = pytest.mark.parametrize("example", LOCAL, ids=lambda e: e.name)
all_near = pytest.mark.parametrize(
    "example",
    [pytest.param(e, marks=[pytest.mark.slow] * (e.name in LONG)) for e in NEAR],
    ids=lambda e: e.name,
)


def test_the_envelope_has_two_continuous_derivatives():
    x = jnp.array(1.0)
    for _ in range(2):
        assert abs(envelope(x)) < 1e-12
    slope, curvature = jax.grad(envelope), jax.grad(jax.grad(envelope))
    assert max(abs(slope(x)), abs(curvature(x))) < 1e-5
    assert abs(jax.grad(curvature)(x)) > 1  # control: not three
    assert envelope(jnp.array(0.0)) == 1


@pytest.mark.parametrize(
    "example",
    [pytest.param(e, marks=[pytest.mark.slow] * (e not in SMALL)) for e in (*LOCAL, *SMALL)],
    ids=lambda e: e.name,
)
def test_padding_in_a_stack_changes_nothing(example):
    potential = example.random()
    small, large = example.molecule, example.molecule + scattered("HHHHHH")
    alone = qiff.predict(potential, small)
    found = qiff.predict(potential, [small, large])[0]
    np.testing.assert_allclose(found.energy, alone.energy, atol=1e-10)
    np.testing.assert_allclose(found.forces, alone.forces, atol=1e-10)
    stacked = graph([small, large], "float64", potential.cutoff)
    rng = np.random.default_rng(0)
    labels = {"energy": rng.normal(size=2), "forces": rng.normal(size=stacked.positions.shape)}
    first = jax.tree.map(lambda values: values[:1], Frames(stacked, labels))
    labels = {"energy": first.labels["energy"], "forces": first.labels["forces"][:, : len(small)]}
    bare = Frames(graph([small], "float64", potential.cutoff), labels)
    losses = [
        jax.jit(jax.value_and_grad(Loss({"energy": 1.0, "forces": 1.0})))(potential, f)
        for f in (first, bare)
    ]
    for a, b in zip(*map(jax.tree.leaves, losses), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)


@all_local
def test_a_graph_without_neighbours_is_refused(example):
    potential = example.fresh()
    with pytest.raises(InputError, match="`graph` must list neighbours"):
        potential(graph(example.molecule))


def test_neighbours_of_many_atoms_are_those_within_the_cutoff():
    atoms = scattered("H" * 60)
    atoms.positions *= 3
    table = neighbour_table(atoms.positions, 2.5)
    distances = atoms.get_all_distances()
    for i, (row, mask) in enumerate(zip(table.neighbours, table.mask, strict=True)):
        assert row[mask].tolist() == sorted(set(np.flatnonzero(distances[i] < 2.5)) - {i})
    assert table.mask.shape[1] % 8 == 0
    assert table.mask.shape[1] < 59
    assert table.shifts is None


def test_tables_of_few_atoms_hold_everywhere():
    assert neighbour_table(np.zeros((60, 3)), None).mask.shape == (60, 0)
    alone = all_pairs(1, 2.5)
    assert alone.neighbours.tolist() == [[0]]
    assert not alone.mask.any()
    assert np.all(all_pairs(4, 2.5).mask)


def test_a_periodic_image_of_an_atom_is_its_neighbour():
    """One atom in a thin box: its images are neighbours, padding is not."""
    box = ase.Atoms("Si", cell=[2.0, 9.0, 9.0], pbc=True)
    seen = graph(box, "float64", 4.5)
    assert np.all(seen.neighbours == 0)
    assert seen.mask.sum() == 4
    apart = np.asarray(displacements(seen))[seen.mask]
    np.testing.assert_allclose(sorted(apart[:, 0]), [-4, -2, 2, 4])
    assert displacements(graph(box, "float64", 1.5))[~graph(box, "float64", 1.5).mask].shape[0]


@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True)])
def test_displacements_are_those_of_ase(pbc):
    from ase.neighborlist import neighbor_list

    atoms = scattered("HHHO")
    atoms.set_cell([[3.1, 0.2, 0.0], [1.3, 2.9, 0.1], [-0.4, 0.8, 3.3]])
    atoms.pbc = pbc
    first, apart = neighbor_list("iD", atoms, 4.0)
    seen = graph(atoms, "float64", 4.0)
    found = np.asarray(displacements(seen))
    for i in range(len(atoms)):
        mine, theirs = found[i][seen.mask[i]], apart[first == i]
        assert len(mine) == len(theirs) > 0
        nearest = np.abs(mine[:, None] - theirs).max(-1).argmin(1)
        assert len(set(nearest)) == len(mine)
        np.testing.assert_allclose(mine, theirs[nearest], atol=1e-12)


def test_strain_deforms_cell_and_positions_and_ignores_rotation():
    box = ase.Atoms("SiO", [[0, 0, 0], [1.0, 0.3, 0.2]], cell=[3.0, 3.1, 3.2], pbc=True)
    seen = graph(box, "float64", 3.5)
    strain = np.array([[0.1, 0.2, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, -0.1]])
    found = displacements(strained(seen, jnp.asarray(strain)))
    expected = displacements(seen) @ (np.eye(3) + (strain + strain.T) / 2)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert np.abs(found - displacements(seen) @ (np.eye(3) + strain)).max() > 1e-2  # control


@all_near
def test_the_table_of_neighbours_may_list_more(example):
    """Many atoms: the neighbours within the cutoff and all atoms give the same."""
    potential = example.random()
    chain = ase.Atoms("C" * 34, [[1.9 * i, 0.5 * (i % 2), 0.3 * (i % 3)] for i in range(34)])
    seen = graph(chain, "float64", potential.cutoff)
    assert seen.neighbours.shape[1] < 33
    every_one = Graph(
        positions=seen.positions, numbers=seen.numbers, **all_pairs(34, 1.0)._asdict()
    )
    both = jax.jit(energy_and_forces)
    for found, expected in zip(both(potential, seen), both(potential, every_one), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_how_far_potentials_see():
    find = lambda name: next(e.fresh() for e in every(POTENTIAL_EXAMPLES) if e.name == name)
    two = find("circuits in two interactions")
    assert (two.cutoff, two.interaction_range) == (5.0, 10.0)
    assert find("water").cutoff is find("water").interaction_range is None
    assert find("blind triplets").cutoff == np.inf


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_qubits": 3}, "`n_qubits` must be even, but is 3"),
        ({"n_circuits": 0}, "`n_circuits` must be at least 1"),
        ({"n_interactions": 0}, "`n_interactions` must be at least 1"),
        ({"n_messages": 0}, "`n_messages` must be at least 1"),
        ({"cutoff": 0.0}, "`cutoff` must be positive"),
        ({"n_basis": 0}, "`n_basis` must be at least 1"),
        ({"n_hidden": -1}, "`n_hidden` must be at least 0"),
        ({"n_embedding": -1}, "`n_embedding` must be at least 0"),
        ({"elements": ["H", "H"]}, "`elements` must be different"),
        ({"elements": []}, "`elements` must be different"),
        ({"elements": ["Hh"]}, "Element `Hh`"),
        ({"engine": "natve"}, "Engine `natve`"),
    ],
)
def test_wrong_configs_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        qiff.build({"kind": "local", "elements": ["H", "O"], **change}, jax.random.key(0))


def test_weights_grow_with_elements_and_not_with_their_pairs():
    def count(n, n_embedding):
        config = {"kind": "local", "elements": list(ase.data.chemical_symbols[1 : n + 1])}
        build = lambda key: qiff.build(config | {"n_embedding": n_embedding}, key)
        return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(build, jax.random.key(0))))

    assert count(20, 4) < 2.1 * count(10, 4)
    assert count(20, 0) > 3.5 * count(10, 0)  # control: a kind for every element
