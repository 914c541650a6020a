"""Potentials of atoms and neighbours: extensive, smooth at the cutoff, blind to what fills up."""

import ase
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qiff
from qiff._checks import InputError
from qiff.atoms.graph import Frames, Graph, graph, neighbours, others
from qiff.model.density import envelope
from qiff.model.predict import energy, energy_and_forces
from qiff.training.loss import Loss

from .examples import POTENTIAL_EXAMPLES, every, scattered

NAMES = ("circuits in two rounds", "network of atoms", "blind triples", "triples")
LOCAL = [example for example in every(POTENTIAL_EXAMPLES) if example.name in NAMES]
NEAR = [example for example in LOCAL if example.fresh().cutoff < 100]  # the original has no cutoff
all_local = pytest.mark.parametrize("example", LOCAL, ids=lambda e: e.name)
all_near = pytest.mark.parametrize("example", NEAR, ids=lambda e: e.name)


def pair_at(example, distance: float) -> ase.Atoms:
    """The molecule with its last atom so far along x from its first, away from the others."""
    atoms = example.molecule.copy()
    atoms.positions[:-1] *= 0.5
    atoms.positions[-1] = atoms.positions[0] + [distance, 0, 0]
    return atoms


@all_near
def test_far_fragments_add_up_exactly(example):
    potential = example.random()
    here, there = example.molecule, scattered("HHH"[: len(example.molecule) - 1])
    there.positions += [potential.cutoff + 20, 3, -7]
    apart = [qiff.predict(potential, atoms) for atoms in (here, there)]
    together = qiff.predict(potential, here + there)
    np.testing.assert_allclose(together.energy, sum(p.energy for p in apart), atol=1e-10)
    np.testing.assert_allclose(
        together.forces, np.concatenate([p.forces for p in apart]), atol=1e-10
    )
    there.positions -= [potential.cutoff + 18, 3, -7]  # control: near, they do not
    nearer = qiff.predict(potential, here + there).energy
    assert abs(nearer - sum(p.energy for p in apart)) > 1e-3


@jax.jit
def two_orders(potential, seen):
    """Energy, its gradient and its Hessian."""
    at = lambda x: energy(potential, Graph(x, seen.numbers, seen.neighbours))
    positions = jnp.asarray(seen.positions)
    return at(positions), jax.grad(at)(positions), jax.jacrev(jax.grad(at))(positions)


def derivatives(potential, atoms):
    """The same of atoms, as numpy arrays."""
    return [np.asarray(v) for v in two_orders(potential, graph(atoms, "float64", potential.cutoff))]


@all_near
def test_energy_forces_and_hessian_are_continuous_at_the_cutoff(example):
    potential, step = example.random(), 1e-8
    below, above, beyond = (
        derivatives(potential, pair_at(example, potential.cutoff + d)) for d in (-step, step, 1.0)
    )
    for a, b in zip(below, above, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7 * np.abs(a).max())
    inside = derivatives(potential, pair_at(example, potential.cutoff - 1.0))
    assert abs(inside[0] - beyond[0]) > 1e-6  # control: the neighbour did act


def test_the_envelope_has_two_continuous_derivatives():
    x = jnp.array(1.0)
    for _ in range(2):
        assert abs(envelope(x)) < 1e-12
    slope, curvature = jax.grad(envelope), jax.grad(jax.grad(envelope))
    assert max(abs(slope(x)), abs(curvature(x))) < 1e-5
    assert abs(jax.grad(curvature)(x)) > 1  # control: not three
    assert envelope(jnp.array(0.0)) == 1


@pytest.mark.parametrize("example", LOCAL[::2], ids=lambda e: e.name)
def test_filling_up_changes_nothing(example):
    potential = example.random()
    small, large = example.molecule, example.molecule + scattered("HHHHHH")
    alone = qiff.predict(potential, small)
    energy, forces = qiff.predict(potential, [small, large])[0]
    np.testing.assert_allclose(energy, alone.energy, atol=1e-10)
    np.testing.assert_allclose(forces, alone.forces, atol=1e-10)
    stacked = graph([small, large], "float64", potential.cutoff)
    rng = np.random.default_rng(0)
    forces = rng.normal(size=stacked.positions.shape)
    frames = Frames(stacked, rng.normal(size=2), forces)
    first = jax.tree.map(lambda values: values[:1], frames)
    n = len(small)
    bare = Frames(graph([small], "float64", potential.cutoff), first.energy, first.forces[:, :n])
    losses = [
        jax.jit(jax.value_and_grad(Loss({"energy": 1.0, "forces": 1.0})))(potential, f)
        for f in (first, bare)
    ]
    for a, b in zip(*map(jax.tree.leaves, losses), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)
    both = jax.jit(energy_and_forces)
    found, expected = (
        both(potential, jax.tree.map(lambda v: v[0], f.graph))[1] for f in (first, bare)
    )
    np.testing.assert_allclose(found[:n], expected, atol=1e-10)
    assert not np.any(found[n:])


@all_local
def test_a_graph_without_neighbours_is_refused(example):
    potential = example.fresh()
    with pytest.raises(InputError, match="`graph` must list neighbours"):
        potential(graph(example.molecule))


def test_neighbours_of_many_atoms_are_those_within_reach():
    atoms = scattered("H" * 60)
    atoms.positions *= 3
    near = neighbours(atoms.positions, 2.5)
    distances = atoms.get_all_distances()
    for i, row in enumerate(near):
        expected = set(np.flatnonzero(distances[i] < 2.5)) - {i}
        assert set(row) - {i} == expected
    assert near.shape[1] % 8 == 0
    assert near.shape[1] < 59
    assert neighbours(atoms.positions, 0.0).shape == (60, 0)
    assert others(1, 2.5).tolist() == [[0]]


@all_near
def test_the_table_of_neighbours_may_list_more(example):
    """Many atoms: the list within cutoff and the list of all give the same."""
    potential = example.random()
    chain = ase.Atoms("C" * 34, [[1.9 * i, 0.5 * (i % 2), 0.3 * (i % 3)] for i in range(34)])
    seen = graph(chain, "float64", potential.cutoff)
    assert seen.neighbours.shape[1] < 33
    every_one = Graph(seen.positions, seen.numbers, others(34, 1.0))
    both = jax.jit(energy_and_forces)
    for found, expected in zip(both(potential, seen), both(potential, every_one), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-9)


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
