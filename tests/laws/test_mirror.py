"""A circuit together with its mirror image: two circuits, or one with an ancilla."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qiff import InputError
from qiff.model.local import LocalSettings
from qiff.model.predict import enable_x64
from qiff.quantum.engine import ENGINES, expectations
from qiff.quantum.mirror import joined, with_mirror_image
from qiff.quantum.observable import PauliSum

PROGRAM = LocalSettings(elements=("H",), n_qubits=4, n_layers=1).program
SEPARATE = replace(ENGINES["native"], joins_mirror_images=False)
REVERSED = np.array([-1.0 if g.name == "spin" else 1.0 for g in PROGRAM.gates() for _ in g.slots])


def angles() -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=PROGRAM.n_slots))


def bend(engine, x):
    """A derivative of a derivative, as a loss on forces has."""
    f = lambda x: jnp.sin(with_mirror_image(PROGRAM, x, engine=engine)).sum()
    return jax.grad(lambda x: (jax.grad(f)(x) ** 2).sum())(x)


def test_one_circuit_with_an_ancilla_is_two_circuits():
    with enable_x64(True):
        x = angles()
        for function in (lambda e, x: with_mirror_image(PROGRAM, x, engine=e), bend):
            one, two = function("native", x), function(SEPARATE, x)
            np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-10 * np.abs(two).max())
        alone = expectations(PROGRAM, x, engine="native")
        assert np.abs(with_mirror_image(PROGRAM, x) - alone).max() > 0.01  # the image counts


@pytest.mark.parametrize("engine", ["native", SEPARATE], ids=["joined", "separate"])
def test_reversed_vectors_reverse_what_is_odd(engine):
    with enable_x64(True):
        n_even = 6  # pairs of four qubits
        signs = np.where(np.arange(len(PROGRAM.observables)) < n_even, 1, -1)
        order = np.array([slot for gate in PROGRAM.gates() for slot in gate.slots])
        reversed_ = angles() * REVERSED[np.argsort(order)]
        there = with_mirror_image(PROGRAM, angles(), engine=engine)
        back = with_mirror_image(PROGRAM, reversed_, engine=engine)
        np.testing.assert_allclose(back, signs * there, atol=1e-12)
        assert np.abs(there[n_even:]).max() > 0.01


def test_words_of_both_parities_are_refused():
    mixed = PauliSum(((1.0, "XIII"), (1.0, "XXII")))
    with pytest.raises(InputError, match="all have an even or all an odd number"):
        joined(replace(PROGRAM, observables=(mixed,)))
