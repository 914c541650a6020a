"""Finite shots: settings, estimates within their errors, readout, extrapolation, conserved spin."""

from itertools import combinations

import jax.numpy as jnp
import numpy as np
import pytest

from qiff._checks import InputError
from qiff.quantum import noise
from qiff.quantum.gate import Gate
from qiff.quantum.moments import moments
from qiff.quantum.observable import PauliSum, mean_exchange, mean_z, pair_exchange, vector
from qiff.quantum.program import Program
from qiff.quantum.shots import (
    Estimate,
    Setting,
    allocate,
    conserved_axis,
    probabilities,
    read_outcomes,
    settings,
    spinless,
    turn_to_z,
)
from qiff.quantum.state import Singlets

N = 4
OBSERVABLES = (pair_exchange((0, 1), N), mean_exchange(((2, 3), (1, 2)), N), *vector(0, N))


def program(*gates: str, observables=OBSERVABLES) -> Program:
    """A gate list such as `spin 0` `exchange 1 2` on two singlets."""
    found, slot = [], 0
    for text in gates:
        name, *qubits = text.split()
        found.append(Gate(name, tuple(map(int, qubits)), slot))
        slot += found[-1].kind.n_angles
    return Program(Singlets(N, ((0, 1), (2, 3))), tuple(found), (), 0, observables)


MIXED = program("spin 0", "spin 1", "exchange 1 2", "spin 2", "exchange 0 3", "exchange 0 1")
ANGLES = np.random.default_rng(0).normal(size=(1, MIXED.n_slots))


def exact(readings, n=5) -> np.ndarray:
    return np.sum(
        [
            read_outcomes(probabilities(MIXED, ANGLES, s), None, s.values(n)).values[0]
            for s in readings
        ],
        axis=0,
    )


# --- settings ---------------------------------------------------------------------------------


def test_words_are_grouped():
    by_letter = settings(OBSERVABLES, "pauli")
    assert [s.letters for s in by_letter] == ["XXXX", "YYYY", "ZZZZ"]
    bell = settings(OBSERVABLES, "bell")
    assert [s.bells for s in bell] == [((0, 1), (2, 3)), ((1, 2),), (), ()]
    assert [s.letters for s in bell] == ["IIII", "XIII", "YIII", "ZIII"]
    np.testing.assert_allclose(exact(by_letter), exact(bell), atol=1e-12)
    assert len(settings((mean_z(N),), "bell")) == 1
    with pytest.raises(InputError, match="Method of measurement `bel` is not known"):
        settings(OBSERVABLES, "bel")


def variance_of_a_pair(circuit: Program, angles: np.ndarray, method: str) -> float:
    """Of σ·σ of the first two qubits, times the shots, which all settings share alike."""
    observable = (pair_exchange((0, 1), N),)
    readings, total, many = settings(observable, method), 0.0, 10**12
    for s in readings:
        found = read_outcomes(probabilities(circuit, angles, s), np.array([many]), s.values(1))
        total += found.covariance[0, 0, 0] * many * len(readings)
    return total


def value_of_a_pair(circuit: Program, angles: np.ndarray) -> float:
    (s,) = settings((pair_exchange((0, 1), N),), "bell")
    return read_outcomes(probabilities(circuit, angles, s), None, s.values(1)).values[0, 0]


@pytest.mark.parametrize("seed", range(8))
def test_bell_basis_reads_a_pair_with_two_thirds_of_the_variance_at_most(seed):
    """σ·σ has eigenvalues −3 and 1; letters are read apart, each with a third of the shots."""
    angles = np.random.default_rng(seed).normal(size=(1, MIXED.n_slots))
    value = value_of_a_pair(MIXED, angles)
    bell, pauli = (variance_of_a_pair(MIXED, angles, method) for method in ("bell", "pauli"))
    np.testing.assert_allclose(bell, (1 - value) * (value + 3))
    assert bell <= pauli * 2 / 3


def test_bell_basis_reads_a_pair_with_a_third_of_the_variance_where_it_is_no_singlet():
    """Without data $XX$, $YY$ and $ZZ$ are alike, and the ratio is $(1 - v)/(3 - v)$."""
    exchanges = program("exchange 1 2", "exchange 0 1", "exchange 1 2")
    ratios = {}
    for angle in (0.1, 0.3, 0.5, 0.7):
        angles = np.full((1, 3), angle)
        value = value_of_a_pair(exchanges, angles)
        bell, pauli = (
            variance_of_a_pair(exchanges, angles, method) for method in ("bell", "pauli")
        )
        np.testing.assert_allclose(bell / pauli, (1 - value) / (3 - value))
        ratios[value] = bell / pauli
    assert all((ratio <= 1 / 3) == (value >= 0) for value, ratio in ratios.items())
    assert min(ratios) < 0 < max(ratios)  # control: a third is not the rule for singlets


def shots_of_the_mixed_state(observables: tuple[PauliSum, ...], method: str) -> float:
    """In units of one observable that is ±1, from the covariances of simulated moments."""
    what = moments(observables, method)
    mixed = np.asarray(what.covariance(jnp.zeros(len(what.observables))))
    return np.sqrt(np.trace(mixed, axis1=1, axis2=2)).sum() ** 2


def test_auto_takes_the_settings_of_fewest_shots():
    """Of one pair the Bell basis, of all pairs and directions of four qubits letters."""
    pairs = tuple(pair_exchange(pair, N) for pair in combinations(range(N), 2))
    axes = tuple(axis for q in range(N) for axis in vector(q, N))
    chosen = []
    for observables in (pairs[:1], pairs[:2], pairs, (*pairs, *axes)):
        found = {m: shots_of_the_mixed_state(observables, m) for m in ("auto", "bell", "pauli")}
        assert found["auto"] == min(found.values())
        chosen.append(min(("bell", "pauli"), key=found.__getitem__))
        assert settings(observables, "auto") == settings(observables, chosen[-1])
    assert set(chosen) == {"bell", "pauli"}  # control: neither is always best
    np.testing.assert_allclose(shots_of_the_mixed_state(pairs[:1], "bell"), 3, rtol=1e-6)
    np.testing.assert_allclose(shots_of_the_mixed_state(pairs[:1], "pauli"), 9, rtol=1e-6)


# --- estimates --------------------------------------------------------------------------------


def draws(shots: int, repeats: int, setting: Setting, kept=None, inverse=None, error=None):
    """Values and their standard errors of many repetitions of a measurement."""
    chances = probabilities(MIXED, ANGLES, setting)[0]
    chances = chances / chances.sum() if error is None else error @ chances / chances.sum()
    counts = np.random.default_rng(3).multinomial(shots, chances, size=repeats)
    values = setting.values(len(OBSERVABLES))
    found = read_outcomes(counts / shots, np.full(repeats, shots), values, kept, inverse)
    return found.values, np.sqrt(np.diagonal(found.covariance, axis1=1, axis2=2))


FALSE_ALARM = 5.0  # standard deviations: one in two million


def test_estimates_are_unbiased_and_errors_are_right():
    setting = settings(OBSERVABLES, "bell")[0]
    wanted = read_outcomes(probabilities(MIXED, ANGLES, setting), None, setting.values(5)).values[0]
    values, errors = draws(400, 4000, setting)
    read = errors[0] > 0
    assert read.sum() == 2
    of_mean = errors.mean(0) / np.sqrt(len(values))
    assert np.all(np.abs(values.mean(0) - wanted)[read] < FALSE_ALARM * of_mean[read])
    inside = np.mean(np.abs(values - wanted)[:, read] < 1.96 * errors[:, read], axis=0)
    np.testing.assert_allclose(inside, 0.95, atol=FALSE_ALARM * np.sqrt(0.05 / 4000) + 0.005)
    assert np.all(np.abs(values.mean(0) - wanted - 0.05)[read] > FALSE_ALARM * of_mean[read])


def test_readout_is_undone_with_errors_that_are_right():
    one = np.array([[[0.97, 0.08], [0.03, 0.92]]] * N)
    error = np.linalg.inv(noise.unread(one))
    setting = settings(OBSERVABLES, "bell")[0]
    wanted = exact((setting,))
    values, errors = draws(4000, 1000, setting, inverse=noise.unread(one), error=error)
    of_mean = errors.mean(0) / np.sqrt(len(values))
    assert np.all(np.abs(values.mean(0) - wanted)[:2] < FALSE_ALARM * of_mean[:2])
    np.testing.assert_allclose(values.std(0)[:2], errors.mean(0)[:2], rtol=0.12)
    raw, _ = draws(4000, 1000, setting, error=error)
    assert np.all(np.abs(raw.mean(0) - wanted)[:2] > 2 * FALSE_ALARM * of_mean[:2])  # control


def test_readout_is_calibrated():
    index = np.arange(4)
    truth = np.array([[[0.9, 0.2], [0.1, 0.8]], [[0.95, 0.0], [0.05, 1.0]]])
    error = np.kron(*truth)
    np.testing.assert_allclose(noise.confusion(error[:, 0], error[:, 3]), truth)
    np.testing.assert_allclose(noise.twirled(truth)[0], [[0.85, 0.15], [0.15, 0.85]])
    with pytest.raises(InputError, match="does not distinguish 0 from 1"):
        noise.confusion(np.ones(4) / 4, np.ones(4) / 4)
    zeros, ones = noise.calibrations(2)
    for setting, outcome in ((zeros, 0), (ones, 3)):
        chances = probabilities(noise.nothing(2), np.zeros((1, 0)), setting)[0]
        np.testing.assert_allclose(chances, index == outcome, atol=1e-12)


def test_extrapolation_is_exact_for_polynomials():
    folds = (1, 3, 5)
    values = np.array([0.3 - 0.2 * f + 0.01 * f**2 for f in folds])
    np.testing.assert_allclose(noise.extrapolation(folds) @ values, 0.3)
    for wrong in ((1, 2), (3, 3), (), (-1,)):
        with pytest.raises(InputError, match="`folds` must be different odd numbers"):
            noise.extrapolation(wrong)


def in_shots(exact, shots, rng):
    """Estimates of traceless observables of values ±1."""
    values = 2 * rng.binomial(shots, (1 + exact) / 2) / shots - 1
    return Estimate(values, ((1 - values**2) / shots)[:, :, None] * np.eye(exact.shape[1]))


@pytest.mark.parametrize("folds", [(1, 3), (3, 1, 5)])
def test_extrapolation_is_exact_for_depolarised_circuits(folds):
    rng, mixed = np.random.default_rng(0), np.array([[0.1, -0.2]])
    wanted, none = rng.uniform(-1, 1, (30, 2)), np.zeros((30, 2, 2))

    def found(shrink):
        parts = [Estimate(mixed + shrink(f) * (wanted - mixed), none) for f in folds]
        return noise.extrapolated(parts, folds, np.broadcast_to(mixed, wanted.shape))

    np.testing.assert_allclose(found(lambda fold: 0.6**fold).values, wanted, atol=1e-12)
    np.testing.assert_allclose(found(lambda fold: 1.0).values, wanted, atol=1e-12)
    growing = found(lambda fold: 1 + 0.1 * fold).values  # nothing decays: as a polynomial
    np.testing.assert_allclose(growing, wanted, atol=1e-12)
    away = found(lambda fold: 0.6**fold + 0.1).values  # control: another end than the mixed state
    assert np.abs(away - wanted).max() > 1e-2


def test_errors_of_extrapolated_values_are_right():
    rng, folds, shots, repeats = np.random.default_rng(1), (1, 3), 4000, 400
    wanted = rng.uniform(-1, 1, (40, 1))
    zeros, off = np.zeros((40, 1)), []
    for _ in range(repeats):
        parts = [in_shots(0.7**fold * wanted, shots, rng) for fold in folds]
        found = noise.extrapolated(parts, folds, zeros)
        off.append((found.values - wanted)[:, 0] / np.sqrt(found.covariance[:, 0, 0]))
    off = np.array(off)
    assert np.abs(off.mean(0)).max() < 5 / np.sqrt(repeats)
    assert 0.95 < np.sqrt(np.mean(off**2)) < 1.05
    assert 0.8 < off.std(0).min() < off.std(0).max() < 1.2


def test_decay_is_unbiased_and_not_read_from_noise():
    rng, wanted = np.random.default_rng(2), np.random.default_rng(3).uniform(-0.2, 0.2, (50, 1))
    pairs = [[in_shots(0.7**f * wanted, 500, rng) for f in (1, 3)] for _ in range(300)]
    found = [noise.decay(one, more, 2) for one, more in pairs]
    assert np.mean(found) == pytest.approx(0.7, abs=0.02)
    uncorrected = [np.sqrt(np.sum(a.values * b.values) / np.sum(a.values**2)) for a, b in pairs]
    assert np.mean(uncorrected) < 0.65  # control: errors of the shots look like signal
    lost, lost_too = (in_shots(0 * wanted, 200, rng) for _ in range(2))
    assert noise.decay(lost, lost_too, 2) == 1.0


@pytest.mark.parametrize("n_qubits", [2, 4, 7, 9])
def test_twirls_turn_every_pair_of_qubits_in_all_ways(n_qubits):
    masks = np.array(noise.twirls(n_qubits, seed=3))
    bits = masks[:, None] >> np.arange(n_qubits) & 1
    for a, b in combinations(range(n_qubits), 2):
        np.testing.assert_array_equal(np.bincount(2 * bits[:, a] + bits[:, b]), len(masks) / 4)
    assert not np.array_equal(masks, noise.twirls(n_qubits, seed=4))


def test_shots_go_where_they_matter():
    shots = allocate(np.array([4.0, 1.0, 0.0, 4.1]), 90_000)
    assert shots.sum() <= 90_000
    assert shots[0] == shots[3]
    assert shots[0] == pytest.approx(4 * shots[1], rel=1e-3)
    assert shots[2] >= 2
    assert np.all(allocate(np.zeros(3), 30) == 10)


# --- conserved spin ---------------------------------------------------------------------------

ALIGNED = program("spin 0", "exchange 1 2", "spin 3", "exchange 0 1", observables=OBSERVABLES[:2])


@pytest.mark.parametrize("method", ["bell", "pauli"])
def test_spin_along_the_axis_stays_zero(method):
    axis = np.array([0.6, -0.48, 0.64])
    angles = np.array([[*(1.3 * axis), 0.4, *(-2.1 * axis), 0.7]])
    found = conserved_axis(ALIGNED, angles[0])
    assert found is not None
    np.testing.assert_allclose(abs(found @ axis), 1)
    turn = turn_to_z(found)
    n_checked = 0
    for s in settings(ALIGNED.observables, method):
        turned = Setting(s.letters, s.bells, s.terms, axis=turn)
        kept = spinless(turned)
        n_checked += np.any(kept == 0)
        chances = probabilities(ALIGNED, angles, turned)[0]
        np.testing.assert_allclose(chances[kept == 0], 0, atol=1e-12)
        if np.any(kept == 0):
            assert np.any(probabilities(ALIGNED, angles, s)[0][kept == 0] > 1e-3)  # control
    assert n_checked


def test_circuits_that_conserve_nothing():
    assert conserved_axis(MIXED, ANGLES[0]) is None
    flipped = program("exchange 0 1", "rx 2")
    assert conserved_axis(flipped, np.ones(2)) is None
    assert conserved_axis(program("exchange 0 1"), np.ones(1)) is not None
    alone = Program(Singlets(3, ((0, 1),)), (), (), 0, (pair_exchange((0, 1), 3),))
    assert conserved_axis(alone, np.zeros(0)) is None
    np.testing.assert_allclose(turn_to_z(np.array([0.0, 0.0, -1.0])), [np.pi, 0, 0])
