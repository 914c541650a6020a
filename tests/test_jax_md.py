"""The recipe of docs/jax-md.md runs, and its energy and forces are those of the calculator."""

import re
from pathlib import Path
from typing import Any

import ase
import jax
import numpy as np
import pytest

import qiff


@pytest.mark.slow
def test_the_recipe_has_our_energy_and_forces_and_conserves_energy():
    pytest.importorskip("jax_md", reason="needs jax-md: pip install jax-md")
    page = (Path(__file__).parent.parent / "docs" / "jax-md.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "jax-md.md", "exec"), names)
    atoms: ase.Atoms = names["atoms"].copy()
    assert np.ptp(names["totals"]) < 0.02  # of 8.4 eV of kinetic energy
    positions = names["state"].position
    atoms.positions = np.asarray(positions, float)
    expected = qiff.predict(names["potential"], atoms)
    reference = names["potential"].reference_energy(atoms.numbers)
    energy, gradient = jax.value_and_grad(names["energy"])(positions, names["neighbours"])
    assert float(energy) + reference == pytest.approx(expected.energy, rel=1e-6)
    np.testing.assert_allclose(-np.asarray(gradient), expected.forces, atol=2e-4)
