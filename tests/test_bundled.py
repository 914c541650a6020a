"""The bundled models have the errors that are published of them."""

import pytest

import qiff
from qiff.training.checkpoint import BUNDLED

PUBLISHED = {"ethanol": ("rmd17:ethanol/test", 1.06, 5.99)}
"""Test data, and mean absolute errors of energies in meV and of forces in meV/Å; docs/rmd17.md."""


def test_every_bundled_model_has_published_errors():
    assert set(PUBLISHED) == set(BUNDLED)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_errors_are_those_published(name, rmd17, monkeypatch):
    monkeypatch.setenv("QIFF_DATA", str(rmd17.parent))
    data, energy, forces = PUBLISHED[name]
    frames = qiff.read(qiff.Source(data), need_energy=True, need_forces=True)
    found = qiff.evaluate(qiff.load(name), frames)
    assert found["n_frames"] == 1000
    assert round(1000 * (found["energy_mae"] or 0.0), 2) == energy
    assert round(1000 * (found["forces_mae"] or 0.0), 2) == forces
