"""How many shots forces need: predicted, as simulated measurements have it, and trained for."""

import sys
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qiff
from qiff import InputError
from qiff.atoms.frames import stack
from qiff.atoms.graph import graph
from qiff.hardware import Protocol, Shots, circuits, estimate
from qiff.hardware.measure import Laboratory
from qiff.hardware.resources import DryRun
from qiff.model.directions import conserves_rotations
from qiff.model.predict import precision, predict
from qiff.model.shot_cost import STATED_SHOTS, ShotCost, shot_cost
from qiff.quantum.moments import moments
from qiff.quantum.observable import PauliSum, pair_exchange
from qiff.quantum.shots import settings
from qiff.training.fit import _validate, fit, initial_state
from qiff.training.shot_term import ShotTerm, shot_term

from .laws.examples import POTENTIAL_EXAMPLES, every

EXAMPLES = {example.name: example for example in every(POTENTIAL_EXAMPLES)}
NO_CIRCUITS = ("network of atoms", "linear in invariants", "pair energies", "ensemble")
REFUSED = ("circuits in two interactions", *NO_CIRCUITS)
LARGE = ("coupled dimer", "three waters", "ammonia")
"""Hundreds to thousands of circuits."""
SHALLOW = EXAMPLES["lithium hydride"].config | {"n_layers": 1}
EXAMPLES["shallow"] = replace(EXAMPLES["lithium hydride"], config=SHALLOW)
SENT = [name for name in EXAMPLES if name not in (*REFUSED, *LARGE)]
QUICK = ("shallow",)
EVERY = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SENT]
ENOUGH = 10**12
"""Shots for which the two of the maximally mixed state do not count."""


def prepared(name):
    """A potential with random weights, a graph and the cost."""
    example = EXAMPLES[name]
    potential = example.random(0.5)
    with precision(potential):
        seen = graph(example.molecule, "float64", potential.cutoff)
        return potential, seen, shot_cost(potential, seen)


def measured_share(potential, atoms):
    """$S$ from the circuits that are sent, with variances from the probabilities of outcomes."""
    laboratory, total = Laboratory(DryRun(), Protocol(ENOUGH)), 0.0
    for group in circuits(potential, atoms):
        n = len(group.angles)
        shots = laboratory.shared(group.program, np.full(len(group.sizes), ENOUGH))
        given = group.program, group.all_angles, shots, group.open_slots, group.all_readouts
        total += (group.sizes[:, None] * laboratory.deviations(*given))[n:].sum()
    return total / np.sqrt(3 * len(atoms))


@pytest.mark.parametrize("name", EVERY)
def test_predicted_shares_are_those_of_the_circuits_that_are_sent(name):
    potential, seen, cost = prepared(name)
    with precision(potential):
        found = float(jax.jit(cost.shares)(potential, seen).first)
    wanted = measured_share(potential, EXAMPLES[name].molecule)
    assert found == pytest.approx(wanted, rel=1e-3)
    assert wanted > 1e-3  # control: there is something to measure


@pytest.mark.slow
@pytest.mark.parametrize("name", SENT)
def test_the_derivative_of_the_shares_is_that_of_finite_differences(name):
    potential, seen, cost = prepared(name)
    leaves, structure = jax.tree.flatten(potential)
    rng, step = np.random.default_rng(1), 1e-5
    along = [rng.normal(size=leaf.shape) for leaf in leaves]

    @jax.jit
    @jax.value_and_grad
    def first(t):
        moved = [leaf + t * way for leaf, way in zip(leaves, along, strict=True)]
        given = jax.tree.unflatten(structure, moved)
        return cost.shares(given, seen, directions_of=potential).first

    with precision(potential):
        wanted = float(first(step)[0] - first(-step)[0]) / (2 * step)
        found = float(first(0.0)[1])
    assert found == pytest.approx(wanted, rel=1e-5, abs=1e-7)
    assert abs(found) > 1e-3  # control: the weights matter
    assert found != pytest.approx(-wanted, rel=1e-5, abs=1e-7)  # control


@pytest.mark.slow
def test_drawn_circuits_give_an_unbiased_estimate():
    potential, seen, cost = prepared("water")
    with precision(potential):
        exact = jax.jit(cost.shares)(potential, seen)
        wanted = float(exact.first * (exact.first + exact.energy)) / STATED_SHOTS
        one = lambda key: cost.mean_square(potential, seen, key, 3)
        found = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 2000)))
    error = found.std() / np.sqrt(len(found))
    assert abs(found.mean() - wanted) < 4 * error
    assert error < 0.05 * wanted  # control: it would be seen


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lithium hydride", "water"])
def test_the_spread_of_repeated_measurements_is_predicted(name):
    potential, seen, cost = prepared(name)
    atoms, n_shots, repeats = EXAMPLES[name].molecule, 200_000, 60
    with precision(potential):
        exact = jax.jit(cost.shares)(potential, seen)
    predicted = float(exact.first * (exact.first + exact.energy)) / n_shots
    protocol, wanted = partial(Protocol, n_shots, pilot=0.05), predict(potential, atoms).forces
    runs = [estimate(potential, atoms, Shots(seed), protocol()) for seed in range(repeats)]
    found = np.mean([(run.forces - wanted) ** 2 for run in runs])
    assert 0.7 < found / predicted < 1.5
    assert all(run.n_shots <= n_shots for run in runs)
    assert not 0.7 < found / (4 * predicted) < 1.5  # control: half as large deviations


@pytest.mark.slow
def test_rotations_are_used_only_where_they_change_nothing(monkeypatch):
    for name in ("lithium hydride", "broken water", "generic triatomic"):
        groups = circuits(EXAMPLES[name].random(), EXAMPLES[name].molecule)
        found = {conserves_rotations(group.program) for group in groups}
        assert found == {name == "lithium hydride"}
    broken = EXAMPLES["broken water"]
    potential, wanted = broken.random(), predict(broken.random(), broken.molecule).forces
    measured = lambda: estimate(potential, broken.molecule, qiff.hardware.Exact()).forces
    np.testing.assert_allclose(measured(), wanted, atol=1e-9)
    module = sys.modules["qiff.hardware.group"]
    monkeypatch.setattr(module, "conserves_rotations", lambda program: True)
    assert np.abs(measured() - wanted).max() > 1e-3  # control: it would be seen


@pytest.mark.parametrize("method", ["bell", "pauli"])
def test_moments_are_those_of_the_outcomes(method):
    observables = (pair_exchange((0, 1), 4), pair_exchange((1, 2), 4), pair_exchange((2, 3), 4))
    observables += (PauliSum(((0.7, "ZIII"), (-0.2, "IZZI"))),)
    rng = np.random.default_rng(0)
    state = rng.normal(size=16) + 1j * rng.normal(size=16)
    state /= np.linalg.norm(state)
    what = moments(observables, method)
    mean = lambda words: sum(
        c * (state.conj() @ PauliSum(((1.0, word),)).matrix() @ state).real for c, word in words
    )
    with qiff.precision(EXAMPLES["water"].random()):
        values = jnp.asarray([mean(observable.terms) for observable in what.observables])
        found = np.asarray(what.covariance(values))
    for reading, covariance in zip(settings(observables, method), found, strict=True):
        parts = [np.zeros((16, 16), complex) for _ in observables]
        for coefficient, number, word in reading.terms:
            parts[number] += PauliSum(((coefficient, word),)).matrix()
        means = [(state.conj() @ part @ state).real for part in parts]
        wanted = [[(state.conj() @ a @ b @ state).real for b in parts] for a in parts]
        np.testing.assert_allclose(covariance, wanted - np.outer(means, means), atol=1e-12)
    assert np.abs(found).max() > 0.1  # control
    single = moments(observables[:1], "bell")  # its square is 3 - 2 O
    assert single.observables == (pair_exchange((0, 1), 4),)


@pytest.mark.slow
def test_circuits_that_depend_on_others_have_no_cost():
    example = EXAMPLES["circuits in two interactions"]
    potential = example.random()
    message = "depend on the results of others cannot be predicted"
    with precision(potential), pytest.raises(InputError, match=message):
        shot_cost(potential, graph(example.molecule, "float64", potential.cutoff))


def test_settings_of_shots_are_checked():
    with pytest.raises(InputError, match="`shot_weight` must be at least 0"):
        qiff.Training(shot_weight=-1.0)
    with pytest.raises(InputError, match="`shot_circuits` must be at least 1"):
        qiff.Training(shot_circuits=0)
    with pytest.raises(InputError, match="`pilot` must be at least 0 and below 1"):
        Protocol(pilot=1.0)
    weighted = qiff.Training(steps=1, evaluate_every=1, shot_weight=1.0)
    frames, potential = lih_frames(), EXAMPLES["lithium hydride"].fresh()
    frames.graph.numbers[2] = 1, 3
    with pytest.raises(InputError, match="the same atoms, but those of frames 0 and 2"):
        fit(initial_state(potential, weighted), frames, frames, weighted, seed=0)


def test_nothing_is_computed_without_a_weight(monkeypatch):
    def refused(*arguments):
        raise AssertionError

    monkeypatch.setattr("qiff.training.shot_term.shot_cost", refused)
    potential, frames = EXAMPLES["lithium hydride"].fresh(), lih_frames()
    training = qiff.Training()
    assert shot_term(potential, frames, training) is None
    with pytest.raises(AssertionError):  # control
        shot_term(potential, frames, replace(training, shot_weight=1.0))


def lih_frames():
    return stack(qiff.read(qiff.Source("bundled:lih"))[::20], "float64")


@pytest.mark.slow
def test_the_validation_of_shots_does_not_count_copies(monkeypatch):
    frames, potential = lih_frames(), EXAMPLES["lithium hydride"].fresh()
    of_each = lambda self, potential, frames, key: frames.graph.positions[:, 1, 2] ** 2
    monkeypatch.setattr(ShotTerm, "_squares", of_each)
    monkeypatch.setattr("qiff.training.batches.PIECE", len(frames) - 2)
    training = qiff.Training(forces_weight=0.0)
    with precision(potential):
        found, plain = (
            _validate(potential, frames, training, term)[0]
            for term in (ShotTerm(ShotCost(()), 3.0, 1), None)
        )
    assert type(found) is float  # also in single precision: a state holds it as JSON
    wanted = of_each(None, potential, frames, None)
    assert found - plain == pytest.approx(3 * wanted.mean())
    copies = np.append(wanted, np.repeat(wanted[0], len(frames) - 4))
    assert found - plain != pytest.approx(3 * copies.mean())  # control
