"""docs/symmetry.md does what it says."""

import re
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from qiff.model.build import build
from qiff.model.predict import enable_x64
from qiff.quantum.symmetry import Rotations

PAGE = (Path(__file__).parent.parent / "docs" / "symmetry.md").read_text()
PAIRS = {"oxygens": [0, 1], "first hydrogens": [2, 3], "last hydrogens": [4, 5]}


def test_examples_run(capsys):
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    with enable_x64(True):
        exec(compile(code, "symmetry.md", "exec"))
    design, orbits, kept, broken, invariant, not_invariant, heisenberg, ring = (
        capsys.readouterr().out.splitlines()
    )
    assert design == "6 ((0, 3), (0, 4))"
    assert orbits == "(((0, 1),), ((2, 3),), ((1, 2), (0, 3)))"
    assert float(kept) < 1e-12 < 1e-3 < float(broken)
    assert float(invariant) < 1e-12 < 1e-3 < float(not_invariant)
    assert {word for _, word in eval(heisenberg)} == {"XXII", "YYII", "ZZII"}
    assert len(eval(ring)) == 6


def test_the_dimer_of_the_paper_does_not_see_how_its_pairs_are_turned():
    """Each pair of atoms rotated on its own; the coupled dimer is the control."""
    rng = np.random.default_rng(0)
    rotation = Rotations(1).sample(rng).rotation
    vectors = rng.normal(size=(6, 3))
    change = {}
    with enable_x64(True):
        for kind in ("dimer", "coupled_dimer"):
            config = {"kind": kind, "elements": ["O", "H", "H"] * 2, "n_layers": 4}
            potential: Any = build(config, jax.random.key(1))
            circuit = eqx.filter_jit(potential.circuit)
            before = circuit(vectors)
            for name, pair in PAIRS.items():
                turned = vectors.copy()
                turned[pair] = turned[pair] @ rotation.T
                change[kind, name] = float(np.abs(circuit(turned) - before).max())
    for name in PAIRS:
        assert change["dimer", name] < 1e-10
        assert change["coupled_dimer", name] > 1e-4
