"""Atoms in blocks: the same results, in less memory."""

from dataclasses import replace

import ase.build
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qiff.atoms.graph import graph
from qiff.model.blocks import block_size, by_blocks, with_blocks
from qiff.model.build import build
from qiff.model.derivatives import derivatives
from qiff.model.predict import enable_x64

MODELS = {
    "classical": {"n_channels": 4},
    "local": {"n_circuits": 1, "n_qubits": 2, "n_layers": 1},
}


@pytest.mark.parametrize("size", [1, 3, 5, 10, 11, None])
def test_rows_are_those_of_all_at_once(size):
    rows = jnp.arange(20.0).reshape(10, 2), jnp.arange(10)

    def function(values, index):
        return {"sum": values.sum(1) + index, "twice": 2 * values}

    found, expected = by_blocks(function, rows, size), function(*rows)
    assert jax.tree.all(jax.tree.map(np.array_equal, found, expected))


@pytest.fixture(scope="module")
def silicon():
    atoms = ase.build.bulk("Si", cubic=True) * (3, 2, 1)
    atoms.rattle(0.1, seed=0)
    return atoms


def compiled(kind, atoms, block):
    with enable_x64(True):
        core = build({"kind": kind, "elements": ["Si"], **MODELS[kind]}, jax.random.key(0))
        seen = replace(graph(atoms, "float64", core.cutoff), block=block)
        function = jax.jit(lambda seen: derivatives(core, seen))
        return function.lower(seen).compile(), seen


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("block", [7, 48])
def test_derivatives_are_those_of_all_at_once(kind, block, silicon):
    with enable_x64(True):
        pairs = [compiled(kind, silicon, size) for size in (block, None)]
        found, expected = (function(seen) for function, seen in pairs)
        for key, values in expected.properties().items():
            assert np.abs(found.properties()[key] - values).max() < 1e-12, key
        assert np.abs(expected.forces).max() > 1e-3


def test_memory_is_that_of_a_block(silicon):
    sizes: list[int] = []
    for block in (8, None):
        analysis = compiled("classical", silicon * (2, 1, 1), block)[0].memory_analysis()
        assert analysis is not None
        sizes.append(analysis.temp_size_in_bytes)
    in_blocks, at_once = sizes
    assert in_blocks < at_once / 3


def test_many_atoms_are_computed_in_blocks_and_few_at_once(silicon):
    few, many, more = (graph(silicon * n, "float64", 5.0) for n in (1, 6, 7))
    assert with_blocks(few).block is None
    assert with_blocks(many).block == with_blocks(more).block == block_size()
