"""Noise: several orientations, simulated errors of gates, and errors that are learned."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qiff
from qiff import InputError
from qiff.hardware import Exact, Mitigation, Protocol, Shots, circuits, estimate, make_executor
from qiff.hardware.executor import AbstractExecutor
from qiff.hardware.measure import Laboratory
from qiff.hardware.noise_model import learn_errors
from qiff.model.predict import enable_x64, predict
from qiff.quantum import noise
from qiff.quantum.circuit import with_engine
from qiff.quantum.engine import expectations
from qiff.quantum.engines.noisy import Errors, noisy
from qiff.quantum.shots import Estimate
from qiff.training.fit import fit, initial_state

from .laws.examples import POTENTIAL_EXAMPLES, every

BOND = next(e for e in every(POTENTIAL_EXAMPLES) if e.name == "lithium hydride").molecule
PAIRS = ((0, 1), (2, 3), (1, 2))


@pytest.fixture(scope="module")
def shallow():
    """A model of few gates."""
    config = {"kind": "diatomic", "elements": ["Li", "H"], "n_layers": 1}
    potential = qiff.build(config, jax.random.key(1))
    return jax.tree.map(lambda leaf: np.asarray(leaf, "float64"), potential)


@pytest.fixture(scope="module")
def group(shallow):
    """Its circuits."""
    return circuits(shallow, BOND)[0]


# --- orientations -----------------------------------------------------------------------------


def test_several_orientations_have_the_mean_of_their_results(shallow):
    wanted = predict(shallow, BOND)
    protocol = Protocol(mitigation=Mitigation(turns=12))
    found = estimate(shallow, BOND, Exact(), protocol)
    np.testing.assert_allclose(found.forces, wanted.forces, rtol=0, atol=1e-9)
    assert found.energy == pytest.approx(wanted.energy, abs=1e-9)
    by_number = [noise.turns(number) for number in noise.TURNS]
    assert [len(turns) for turns in by_number] == list(noise.TURNS)
    vector, tensor = np.array([0.3, -1.0, 0.2]), np.diag([1.0, -3.0, 2.0])
    for turns in by_number[1:]:
        assert np.abs((turns @ vector).mean(0)).max() < 1e-12
    mean = lambda turns: np.abs(np.mean([r @ tensor @ r.T for r in turns], 0)).max()
    assert mean(by_number[2]) < 1e-12 < mean(by_number[1])  # control: four are too few


def test_shots_are_shared_by_orientations_and_errors_hold(shallow):
    wanted = predict(shallow, BOND)
    plain, turned = (
        estimate(shallow, BOND, Shots(3), Protocol(200_000, mitigation=Mitigation(turns=n)))
        for n in (1, 4)
    )
    assert abs(turned.n_shots - plain.n_shots) < 0.01 * plain.n_shots
    assert turned.n_circuits == 4 * plain.n_circuits
    off = (turned.forces - wanted.forces) / (turned.forces_error + 1e-12)
    assert np.abs(off).max() < 5
    ratio = np.sqrt((turned.forces_error**2).sum() / (plain.forces_error**2).sum())
    assert 0.8 < ratio < 1.25


class Tilted(AbstractExecutor):
    """Every gate of one qubit turns it a little too far about z."""

    sampled = False

    @property
    def name(self):
        return "tilted"

    def counts(self, job):
        return {}

    def sample(self, job):
        angles = job.angles.copy()
        for gate in job.program.gates():
            if gate.name == "spin" and gate.qubits == (0,):
                angles[:, gate.slots[2]] += 1e-3
        return Exact().sample(replace(job, angles=angles))


@pytest.mark.parametrize("turns", [4, 12])
def test_errors_along_an_axis_cancel_in_first_order(shallow, turns):
    wanted = predict(shallow, BOND)

    def off(n):
        protocol = Protocol(mitigation=Mitigation(turns=n))
        return np.abs(estimate(shallow, BOND, Tilted(), protocol).forces - wanted.forces).max()

    assert off(turns) < 0.02 * off(1)
    assert off(1) > 1e-4


def test_orientations_need_circuits_that_rotations_leave_unchanged():
    generic = {"kind": "generic", "elements": ["Li", "H"], "n_qubits": 2, "n_layers": 1}
    potential = qiff.build(generic, jax.random.key(0))
    with pytest.raises(InputError, match="leave out the mitigation `turn`"):
        estimate(potential, BOND, Exact(), Protocol(mitigation=Mitigation(turns=4)))
    with pytest.raises(InputError, match="Number of orientations `3` is not known"):
        Mitigation(turns=3)


# --- circuits with errors ---------------------------------------------------------------------


@pytest.mark.slow
def test_without_errors_the_noisy_engine_is_exact_and_with_full_ones_everything_is_mixed(group):
    with enable_x64(True):
        angles = jnp.asarray(group.angles[0])
        values = lambda **errors: np.asarray(
            expectations(
                group.program, angles, engine=noisy(dict.fromkeys(PAIRS, Errors(**errors)))
            )
        )
        exact = np.asarray(expectations(group.program, angles))
        np.testing.assert_allclose(values(), exact, atol=1e-12)
        np.testing.assert_allclose(values(depolarising=1.0), 0, atol=1e-12)
        assert np.abs(values(damping=0.1) - exact).max() > 1e-3  # control


@pytest.mark.parametrize("kind", Errors._fields)
def test_channels_are_those_of_aer(kind):
    models = pytest.importorskip("qiskit_aer.noise")
    from qiskit.quantum_info import SuperOp

    damping = models.amplitude_damping_error(0.3)
    dephasing = models.pauli_error([("I", 0.85), ("Z", 0.15)])
    both = {
        "depolarising": models.depolarizing_error(0.3, 2),
        "damping": damping.tensor(damping),
        "dephasing": dephasing.tensor(dephasing),
    }[kind]
    rho = np.random.default_rng(0).normal(size=(4, 4)) + 0j
    rho += rho.conj().T
    wanted = SuperOp(both).data @ rho.ravel(order="F")
    found = Errors(**{kind: 0.3}).channel() @ rho.ravel()
    np.testing.assert_allclose(found.reshape(4, 4), wanted.reshape(4, 4, order="F"), atol=1e-12)


@pytest.mark.slow
def test_a_potential_with_errors_is_trained_like_any_other(shallow):
    frames = qiff.read(qiff.Source("bundled:lih"), need_forces=True)[::30]
    errors = dict.fromkeys(PAIRS, Errors(0.05, 0.01, 0.01))
    potential = with_engine(shallow, noisy(errors))
    plain, found = (predict(p, frames[0]) for p in (shallow, potential))
    assert np.abs(found.forces - plain.forces).max() > 1e-3
    moved = frames[0].copy()
    moved.positions[0, 2] += 1e-5
    slope = (predict(potential, moved).energy - found.energy) / 1e-5
    assert slope == pytest.approx(-found.forces[0, 2], abs=1e-4)
    training = qiff.Training(steps=4, evaluate_every=2, batch_size=2, average=0.0)
    stack = qiff.stack(frames)
    state = fit(initial_state(potential, training), stack, stack, training, seed=0)
    assert state.step == 4


@pytest.mark.slow
def test_errors_are_learned_from_measured_circuits(group):
    """Of a simulator whose errors are known: those of CX, some for every exchange gate."""
    pytest.importorskip("qiskit_aer")
    executor = make_executor("aer:depolarising=0.02")
    laboratory = Laboratory(executor, Protocol())
    rows = group.all_angles
    found = learn_errors(laboratory, group.program, rows, group.open_slots, 100_000)
    assert set(found) == {pair for pair in PAIRS if pair in found}
    assert max(max(of) for of in found.values()) < 0.2
    with enable_x64(True):
        simulate = lambda engine: np.array(
            [float(expectations(group.program, jnp.asarray(r), engine=engine)[0]) for r in rows]
        )
        shared = laboratory.shared(group.program, np.full(len(rows), 100_000))
        measured = laboratory.measure(group.program, rows, shared, group.open_slots).values[:, 0]
        off = [np.abs(simulate(e) - measured).max() for e in (noisy(found), "auto")]
    assert off[0] < 0.2 * off[1]


# --- different rates of decay -----------------------------------------------------------------


def test_values_that_decay_at_different_rates_are_corrected():
    """Values of known rates: the extrapolation alone is too small, with `spread` it is nearer."""
    rng = np.random.default_rng(0)
    exact, nothing = rng.normal(size=(2000, 1)), np.zeros((2000, 1, 1))

    def slope(width, *, with_spread):
        rates = np.exp(-0.7 + width * rng.normal(size=exact.shape))
        parts = [Estimate(exact * rates**fold, nothing) for fold in (1, 3)]
        found = noise.extrapolated(parts, (1, 3), 0 * exact, with_spread=with_spread).values
        return float(np.sum(found * exact) / np.sum(exact**2))

    assert slope(0.0, with_spread=True) == pytest.approx(1.0)  # control: nothing to correct
    assert slope(0.09, with_spread=False) < 0.995
    assert abs(slope(0.09, with_spread=True) - 1) < 0.03
    few = [Estimate(exact, nothing + 1.0), Estimate(0.1 * exact, nothing + 1.0)]
    assert noise.spread(*few) == 1.0  # control: it is smaller than its error
