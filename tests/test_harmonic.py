"""Second derivatives and harmonic frequencies."""

import ase
import numpy as np
import pytest
from ase.vibrations import Vibrations as FiniteDifferences

import qiff
from qiff._checks import RunError
from qiff.dynamics.harmonic import hessian, vibrations

from .laws.examples import POTENTIAL_EXAMPLES, every

EXAMPLES = [e for e in every(POTENTIAL_EXAMPLES) if e.name in ("water", "circuits of atoms")]


@pytest.mark.parametrize(
    "example",
    [pytest.param(e, marks=[pytest.mark.slow] * (e.name != "water")) for e in EXAMPLES],
    ids=lambda e: e.name,
)
def test_the_hessian_is_the_slope_of_the_forces(example):
    potential, atoms, step = example.random(), example.molecule, 1e-5
    found = hessian(potential, atoms)
    for i, k in ((0, 1), (2, 0)):
        ahead, behind = atoms.copy(), atoms.copy()
        ahead.positions[i, k] += step
        behind.positions[i, k] -= step
        forces = (qiff.predict(potential, a).forces for a in (ahead, behind))
        slope = -np.subtract(*forces) / (2 * step)
        np.testing.assert_allclose(found[i, k], slope, atol=1e-5 * np.abs(found).max())
    flat = found.reshape(3 * len(atoms), -1)
    np.testing.assert_allclose(flat, flat.T, atol=1e-9 * np.abs(flat).max())


@pytest.fixture(scope="module")
def water():
    """A water model of a few seconds, and a start."""
    frames = qiff.read(qiff.Source("bundled:water"), need_forces=True)
    train, valid = frames[:200], frames[200:250]
    model = {"kind": "triatomic", "elements": ["O", "H", "H"], "n_layers": 4}
    potential = qiff.build_for(train, model, seed=0)
    training = qiff.Training(steps=1000)
    state = qiff.initial_state(potential, training)
    return qiff.fit(state, qiff.stack(train), qiff.stack(valid), training, seed=0).best, frames[0]


def test_frequencies_are_those_of_finite_differences(water, tmp_path):
    potential, start = water
    found = vibrations(potential, start)
    relaxed, frequencies = found.atoms, found.frequencies
    assert np.abs(qiff.predict(potential, relaxed).forces).max() < 1e-3
    relaxed.calc = qiff.Calculator(potential)
    other = FiniteDifferences(relaxed, name=str(tmp_path / "vibrations"), delta=0.002)
    other.run()
    expected = other.get_frequencies()
    np.testing.assert_allclose(frequencies[6:], np.real(expected[-3:]), rtol=2e-3)
    np.testing.assert_allclose(frequencies[:6], 0, atol=60)
    assert frequencies[6] > 1000  # control: vibrations are not near zero


def test_what_does_not_relax_is_an_error(water, monkeypatch):
    monkeypatch.setattr("qiff.dynamics.relaxation._MAX_STEPS", 1)
    start = ase.Atoms("OHH", [[0, 0, 0], [1.3, 0, 0], [0, 1.4, 0]])
    with pytest.raises(RunError, match="not relaxed after 1 steps"):
        vibrations(water[0], start)
