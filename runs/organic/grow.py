"""A larger model of the same energies, to train on.

    python runs/organic/grow.py MODEL OUT --n-interactions 3 --n-hidden 128

Weights of the smaller model are kept; those of more interactions and hidden units are random, and
what reads them is zero. Energies of five frames of the bundled data are compared.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import qiff


def grown(core: Any, n_interactions: int, n_hidden: int, seed: int) -> Any:
    """A model of circuits of atoms with a network, with more of both."""
    settings = replace(core.settings, n_interactions=n_interactions, n_hidden=n_hidden)
    larger = type(core)(settings, key=jax.random.key(seed))
    new, old = larger.message_passing, core.message_passing
    network = new.network
    n_read, n_units = old.network.hidden.shape
    if n_interactions < len(old.interactions) or n_hidden < n_units:
        raise qiff.InputError("a model can only grow.")
    hidden = network.hidden.at[n_read:, :n_units].set(0)
    new = eqx.tree_at(
        lambda m: (
            m.embedding, m.bias, m.interactions, m.messages, m.readout,
            m.network.hidden, m.network.shift, m.network.readout,
        ),
        new,
        (
            old.embedding,
            old.bias,
            (*old.interactions, *new.interactions[len(old.interactions) :]),
            (*old.messages, *new.messages[len(old.messages) :]),
            _into(jnp.zeros_like(new.readout), old.readout),
            _into(hidden, old.network.hidden),
            _into(network.shift, old.network.shift),
            _into(jnp.zeros_like(network.readout), old.network.readout),
        ),
    )  # fmt: skip
    return eqx.tree_at(lambda core: core.message_passing, larger, new)


def _into(array: jax.Array, corner: jax.Array) -> jax.Array:
    """With other values in its first rows and columns."""
    return array.at[: corner.shape[0], : corner.shape[1]].set(corner)


def main(model: Path, out: Path, n_interactions: int, n_hidden: int, seed: int) -> None:
    """Write the larger model."""
    potential: Any = qiff.load(model)
    larger = eqx.tree_at(
        lambda one: one.potential,
        potential,
        grown(potential.potential, n_interactions, n_hidden, seed),
    )
    frames = qiff.read(qiff.Source("bundled:organic"))[:5]
    before, after = (
        np.array([found.energy for found in qiff.predict(one, frames)])
        for one in (potential, larger)
    )
    print(f"energies differ by {1000 * np.abs(after - before).max():.2g} meV at most")
    qiff.save(larger, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--n-interactions", type=int, default=3)
    parser.add_argument("--n-hidden", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    main(**vars(parser.parse_args()))
