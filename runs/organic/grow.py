"""A larger model of the same energies, to train on.

    python runs/organic/grow.py MODEL OUT --n-messages 16 --n-hidden 128 --scale 0.154

What the model has not already is random, and what reads it is zero. With another scale, read-outs
change so that energies do not. Energies of five frames of the bundled data are compared.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import qiff

Places = Sequence[np.ndarray | int]
"""Of each axis, where the entries of the smaller array are in the larger one, or how many first."""


def grown(core: Any, sizes: dict[str, int], seed: int) -> Any:
    """A model of circuits of atoms with a network, with more of some of its parts."""
    settings = replace(core.settings, **sizes)
    if any(getattr(core.settings, name) > size for name, size in sizes.items()):
        raise qiff.InputError("a model can only grow.")
    larger = type(core)(settings, key=jax.random.key(seed))
    new, old = larger.message_passing, core.message_passing
    n_species, n_basis, n_units = *old.embedding.shape[:1], settings.n_basis, core.settings.n_hidden
    starts = np.cumsum([0, *(each.n_invariants for each in new.interactions)])
    read = [
        start + np.arange(each.n_invariants)
        for start, each in zip(starts, old.interactions, strict=False)
    ]
    invariants = np.concatenate(read)
    changes: list[tuple[Any, Any]] = [(new.embedding, old.embedding), (new.bias, old.bias)]
    for number, (large, small) in enumerate(zip(new.interactions, old.interactions, strict=False)):
        messages = (core.settings.n_messages, settings.n_messages) if number else (0, 0)
        places = _features(n_species, n_basis, old.embedding.shape[1], *messages)
        n_circuits = core.settings.n_circuits
        pairs = zip(
            (*large.channels, large.projections), (*small.channels, small.projections), strict=True
        )
        changes += [(a, _into(a, b, (n_circuits, places, b.shape[2]), 0)) for a, b in pairs]
        axes = n_species, n_circuits, *small.exchanges.shape[2:]
        changes.append((large.exchanges, _into(large.exchanges, small.exchanges, axes, 1)))
    for large, small in zip(new.messages, old.messages, strict=False):
        for a, b in ((large.scalars, small.scalars), (large.vectors, small.vectors)):
            changes.append((a, _into(a, b, b.shape, 1)))
    net, smaller = new.network, old.network
    changes += [
        (new.readout, _into(new.readout, old.readout, (n_species, invariants))),
        (net.hidden, _into(net.hidden, smaller.hidden, (invariants, n_units), 1)),
        (net.shift, _into(net.shift, smaller.shift, (n_species, n_units), 1)),
        (net.readout, _into(net.readout, smaller.readout, (n_species, n_units))),
    ]
    found = {id(array): changed for array, changed in changes}
    return jax.tree.map(lambda array: found.get(id(array), array), larger)


def _features(n_species: int, n_basis: int, n_embedding: int, before: int, now: int) -> np.ndarray:
    """Where the features of a density are if neighbours have more scalars and vectors."""
    scalars = np.arange(n_embedding + before)
    vectors = n_embedding + now + np.arange(before)
    n_features = n_embedding + 2 * now
    of_neighbours = np.concatenate([scalars, vectors])
    index = np.arange(n_species)[:, None, None] * n_features + of_neighbours[:, None]
    return (index * n_basis + np.arange(n_basis)).ravel()


def _into(large: jax.Array, small: jax.Array, places: Places, output: int | None = None) -> Any:
    """The smaller array in the larger one; its entries along `output` see nothing else."""
    index = [np.arange(place) if isinstance(place, int) else place for place in places]
    if output is None:
        rest = jnp.zeros_like(large)
    else:
        rest = jnp.moveaxis(jnp.moveaxis(large, output, 0).at[index[output]].set(0), 0, output)
    return rest.at[np.ix_(*index)].set(small)


def scaled(potential: Any, scale: float) -> Any:
    """The potential with another scale in eV and the same energies."""
    factor = potential.settings.scale / scale
    passing = lambda one: one.potential.message_passing
    linear = lambda one: (passing(one).readout, passing(one).bias, passing(one).network.readout)
    changed = eqx.tree_at(linear, potential, tuple(factor * each for each in linear(potential)))
    return type(potential)(changed.potential, replace(potential.settings, scale=scale))


def main(model: str, out: Path, scale: float | None, seed: int, **sizes: int | None) -> None:
    """Write the larger model."""
    potential: Any = qiff.load(model)
    chosen = {name: size for name, size in sizes.items() if size is not None}
    larger = eqx.tree_at(
        lambda one: one.potential, potential, grown(potential.potential, chosen, seed)
    )
    larger = scaled(larger, scale or larger.settings.scale)
    frames = qiff.read(qiff.Source("bundled:organic"))[:5]
    before, after = (
        np.array([found.energy for found in qiff.predict(one, frames)])
        for one in (potential, larger)
    )
    print(f"energies differ by {1000 * np.abs(after - before).max():.2g} meV at most")
    qiff.save(larger, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--scale", type=float, help="in eV")
    parser.add_argument("--seed", type=int, default=0)
    for part in ("circuits", "interactions", "messages", "hidden"):
        parser.add_argument(f"--n-{part}", type=int)
    main(**vars(parser.parse_args()))
