"""Pair energies: the equation, and what is left for circuits beside them."""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qiff
from qiff.hardware import Exact, circuits, estimate
from qiff.hardware.estimate import energy_offset
from qiff.model.build import build
from qiff.model.potential import Sum
from qiff.model.predict import enable_x64, predict

from .laws.examples import LOCAL, PAIRS, POTENTIAL_EXAMPLES, every, scattered

EXAMPLES = {example.name: example for example in every(POTENTIAL_EXAMPLES)}


def pair_energy(potential, atoms):
    """The equation, one pair after the other."""
    settings, total = potential.settings, 0.0
    for i, j in combinations(range(len(atoms)), 2):
        x = atoms.get_distance(i, j) / settings.cutoff
        n = np.arange(1, settings.n_basis + 1)
        waves = np.sqrt(2 / settings.cutoff) * np.sin(n * np.pi * x) / (x * settings.cutoff)
        species = [settings.elements.index(atoms.symbols[k]) for k in (i, j)]
        weights = np.asarray(potential.coefficients)[settings.table[tuple(species)]]
        total += waves @ weights * (1 - 10 * x**3 + 15 * x**4 - 6 * x**5) * (x < 1)
    return total


def test_the_energy_is_that_of_the_equation():
    potential = EXAMPLES["pair energies"].random()
    table = potential.settings.table
    assert np.array_equal(table, table.T)
    assert np.unique(table).size == len(potential.coefficients) == 6
    atoms = scattered("OHHCCO")
    atoms.positions[-1, 0] += 5.5  # some pairs are beyond the cutoff
    found = predict(potential, atoms).energy
    assert found == pytest.approx(pair_energy(potential, atoms), abs=1e-9)
    atoms.symbols = "HOHCCO"
    assert found != pytest.approx(pair_energy(potential, atoms), abs=1e-3)  # control


def test_an_untrained_pair_energy_changes_nothing():
    example = EXAMPLES["water"]
    circuit, pairs = example.random(), EXAMPLES["pair energies"]
    alone = predict(circuit, example.molecule)
    for trained, added in ((False, pairs.fresh()), (True, pairs.random())):
        found = predict(Sum([circuit, added]), example.molecule)
        assert (abs(found.energy - alone.energy) > 1e-12) == trained  # rounding; trained: control
        assert (np.abs(found.forces - alone.forces).max() > 1e-3) == trained


@pytest.mark.slow
def test_a_pair_energy_takes_no_circuits():
    example, added = EXAMPLES["water"], EXAMPLES["pair energies"].random()
    circuit, both = example.random(), Sum([example.random(), added])
    (own,), (group,) = (circuits(potential, example.molecule) for potential in (circuit, both))
    np.testing.assert_array_equal(group.angles, own.angles)
    np.testing.assert_array_equal(group.readout, own.readout)
    np.testing.assert_allclose(group.sizes, own.sizes, rtol=1e-12)
    first, second = (energy_offset(potential, example.molecule) for potential in (circuit, both))
    assert first is not None
    assert second is not None
    assert second - first == pytest.approx(predict(added, example.molecule).energy, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lithium hydride", "water", "circuits of atoms"])
def test_exact_circuits_beside_a_pair_energy_give_the_forces_of_differentiation(name):
    example = EXAMPLES[name]
    elements = LOCAL["elements"] if example.any_size else sorted(set(example.molecule.symbols))
    with enable_x64(True):
        added = build(PAIRS | {"elements": elements}, jax.random.key(0))
        added = jax.tree.map(lambda c: c + jnp.linspace(-1, 1, c.size).reshape(c.shape), added)
    potential = Sum([example.random(0.5), added])
    wanted, found = (
        predict(potential, example.molecule),
        estimate(potential, example.molecule, Exact()),
    )
    assert found.energy == pytest.approx(wanted.energy, abs=1e-12)
    np.testing.assert_allclose(found.forces, wanted.forces, rtol=0, atol=1e-12)
    alone = predict(potential.potentials[0], example.molecule)
    assert np.abs(found.forces - alone.forces).max() > 1e-3  # control: pairs count


def test_settings_of_pairs_are_checked():
    for wrong, message in (
        ({"elements": ["O", "O"]}, "`elements` must be different"),
        ({"elements": ["O"], "cutoff": 0.0}, "`cutoff` must be positive"),
        ({"elements": ["O"], "n_basis": 0}, "`n_basis` must be at least 1"),
    ):
        with pytest.raises(qiff.InputError, match=message):
            qiff.build({"kind": "pairs", **wrong}, jax.random.key(0))
