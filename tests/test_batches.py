"""Batches: epochs of permutations, of configurations of similar size, without their padding."""

import ase
import jax
import numpy as np
import pytest

import qiff
from qiff.atoms import groups
from qiff.atoms.frames import Layout, cut
from qiff.atoms.graph import Size
from qiff.model import predict
from qiff.training.batches import Batches
from qiff.training.fit import fit, initial_state
from qiff.training.loss import relative

LIH = qiff.read(qiff.Source("bundled:lih"))
ORGANIC = qiff.read(qiff.Source("bundled:organic"))
ELEMENTS = ["H", "C", "N", "O"]


def order(n_frames: int, batch_size: int, begin: int, end: int) -> np.ndarray:
    found = Batches(qiff.stack(LIH[:n_frames]), batch_size, seed=0).order(begin, end)
    assert {number for number, _ in found} == {0}
    return np.array([batch for _, batch in found])


def test_batches_are_epochs_of_permutations_and_a_function_of_the_step():
    whole = order(10, 3, 0, 7)
    assert whole.shape == (7, 3)
    assert len(set(whole[:3].ravel())) == len(set(whole[3:6].ravel())) == 9
    np.testing.assert_array_equal(whole[2:5], order(10, 3, 2, 5))
    assert order(4, 64, 0, 2).shape == (2, 4)


def of_sizes(sizes: np.ndarray) -> list[ase.Atoms]:
    random = np.random.default_rng(0)
    return [ase.Atoms(f"H{n}", random.normal(scale=5, size=(n, 3))) for n in sizes]


def test_batches_are_of_configurations_of_similar_size():
    """Every configuration once in an epoch but those left over, and little padding."""
    sizes = np.random.default_rng(0).integers(2, 30, 400)
    stacked = qiff.stack(of_sizes(sizes), cutoff=100.0)
    batches = Batches(stacked, 4, seed=0)
    assert 2 <= len(batches.groups) <= groups.MOST
    per_epoch = sum(len(group.indices) // 4 for group in batches.groups)
    drawn, n_padded = [], 0
    epoch = batches.order(0, per_epoch)
    for (steps, batch), (_, own) in zip(batches.between(0, per_epoch, 20), epoch, strict=True):
        assert len(steps) == 1
        drawn += own.tolist()
        np.testing.assert_array_equal((batch.graph.numbers > 0).sum(-1)[0], sizes[own])
        n_neighbours = batch.graph.mask.sum((-1, -2))[0]
        np.testing.assert_array_equal(n_neighbours, sizes[own] * (sizes[own] - 1))
        n_padded += batch.graph.numbers.size
    assert len(set(drawn)) == len(drawn) >= 400 - 3 * len(batches.groups)
    assert n_padded < 1.4 * sizes.sum()
    assert stacked.graph.numbers.size > 1.7 * sizes.sum()  # control
    numbers = [number for number, _ in epoch]
    assert numbers != sorted(numbers)
    again = [own for _, own in batches.order(3, 5)]
    np.testing.assert_array_equal(again, [own for _, own in epoch[3:5]])


def test_configurations_that_are_alike_are_one_group():
    alike = of_sizes(np.random.default_rng(0).integers(18, 20, 400))
    assert len(Batches(qiff.stack(alike, cutoff=100.0), 4, seed=0).groups) == 1
    few = of_sizes(np.array([2, 30] * 15))  # no two groups of several batches
    assert len(Batches(qiff.stack(few, cutoff=100.0), 8, seed=0).groups) == 1
    assert len(Batches(qiff.stack(few, cutoff=100.0), 3, seed=0).groups) == 2  # control


def test_a_batch_without_its_padding_has_the_same_loss():
    frames = sorted(ORGANIC, key=len)[:4]
    potential = qiff.build_for(ORGANIC, {"kind": "classical", "elements": ELEMENTS}, seed=0)
    wide = Layout(Size(n_atoms=9, n_neighbours=8))
    stacked = relative(qiff.stack(frames, cutoff=potential.cutoff, at_least=wide), potential)
    with qiff.precision(potential):
        loss = jax.jit(qiff.Training().loss)
        needed = Size(n_atoms=len(frames[-1]), n_neighbours=len(frames[-1]) - 1)
        expected = float(loss(potential, stacked))
        found = float(loss(potential, cut(stacked, needed)))
        assert found == pytest.approx(expected, rel=1e-12)
        short = Size(n_atoms=len(frames[-1]), n_neighbours=1)  # control
        assert abs(loss(potential, cut(stacked, short)) / expected - 1) > 1e-3


@pytest.mark.slow
def test_a_fit_of_several_groups_resumes_bit_for_bit():
    training = qiff.Training(steps=8, batch_size=2, evaluate_every=4, forces_weight=0.0)
    molecules = sorted(ORGANIC, key=len)
    frames = molecules[:10] + molecules[-10:]
    potential = qiff.build_for(ORGANIC, {"kind": "classical", "elements": ELEMENTS}, seed=0)
    stacked = qiff.stack(frames, cutoff=potential.cutoff)
    valid = qiff.stack(molecules[20:30], cutoff=potential.cutoff)
    assert len(Batches(stacked, 2, seed=0).groups) == 2
    states, steps = [], []
    begin = initial_state(potential, training)
    shown = {"after_validation": states.append, "after_steps": steps.append}
    last = fit(begin, stacked, valid, training, seed=0, **shown)
    assert steps == [1, 2, 3, 5, 6, 7]
    again = fit(states[0], stacked, valid, training, seed=0)
    same = jax.tree.map(np.array_equal, again.weights.potential, last.weights.potential)
    assert all(jax.tree.leaves(same))
    changed = jax.tree.map(np.array_equal, states[0].weights.potential, last.weights.potential)
    assert not all(jax.tree.leaves(changed))  # control


def test_groups_are_a_partition_with_less_padding():
    n_atoms = np.random.default_rng(0).integers(1, 60, 500)
    found = groups.similar(n_atoms, n_atoms - 1, fewest=20)
    assert 2 <= len(found) <= groups.MOST
    assert sorted(np.concatenate(found).tolist()) == list(range(500))
    assert all(len(own) >= 20 and np.all(np.diff(own) > 0) for own in found)
    assert sum(len(own) * n_atoms[own].max() for own in found) < 0.8 * 500 * n_atoms.max()
    saved = 500 * n_atoms.max() - n_atoms.sum()
    assert len(groups.similar(n_atoms, np.zeros_like(n_atoms), worth=saved)) == 1


def test_predictions_do_not_depend_on_what_else_is_predicted(monkeypatch):
    """A large configuration among small ones is computed apart, where that pays."""
    padded = []
    of_group = predict._predicted

    def recorded(potential: qiff.AbstractPotential, frames: list[ase.Atoms]) -> list:
        padded.append(max(map(len, frames)))
        return of_group(potential, frames)

    monkeypatch.setattr(predict, "_predicted", recorded)
    potential = qiff.build_for(ORGANIC, {"kind": "classical", "elements": ELEMENTS}, seed=0)
    frames = [*of_sizes(np.array([3, 2, 3, 40, 2])), *ORGANIC[:2]]
    alone = [predict.predict(potential, atoms) for atoms in frames]
    padded.clear()
    for worth, divided in ((10, True), (1000, False)):
        monkeypatch.setattr(predict, "_WORTH", worth)
        together = predict.predict(potential, frames)
        assert (min(padded) < max(padded) == 40) is divided
        padded.clear()
        for one, other in zip(together, alone, strict=True):
            assert one.energy == pytest.approx(other.energy, abs=1e-10)
            np.testing.assert_allclose(one.forces, other.forces, atol=1e-10)
