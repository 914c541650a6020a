"""Counts of circuits that are compiled for kinds of quantum computers."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest

import qiff
from qiff.cli import main
from qiff.hardware import Protocol
from qiff.hardware.targets import TARGETS, compiled_counts

from .laws.examples import POTENTIAL_EXAMPLES, every

WATER = next(e for e in every(POTENTIAL_EXAMPLES) if e.name == "water").molecule


def test_an_exchange_gate_takes_three_gates_on_two_qubits_or_shorter_ones(tmp_path, capsys):
    pytest.importorskip("qiskit")
    config = {"kind": "triatomic", "elements": ["O", "H", "H"], "n_layers": 1}
    potential: Any = qiff.build(config, jax.random.key(1))
    counts = compiled_counts(potential, WATER, Protocol())
    assert set(counts) == set(TARGETS)
    circuit: Any = potential.circuit
    gates = circuit.program.light_cone()
    n_exchange = sum(gate.name == "exchange" for gate in gates)
    assert n_exchange >= 3
    wanted = 3 * n_exchange + 2 + 1  # two singlets, and a pair read in the Bell basis
    assert counts["all-to-all, CZ"]["two-qubit gates"] == wanted
    assert counts["all-to-all, RZZ"]["two-qubit gates"] <= wanted
    assert counts["heavy-hex, CZ"]["two-qubit gates"] > wanted  # control: qubits are moved
    for name in ("heavy-hex, CZ", "heavy-hex, ECR", "all-to-all, CZ"):
        assert counts[name]["lengths of two-qubit gates"] == pytest.approx(
            counts[name]["two-qubit gates"]
        )
    short = counts["all-to-all, RZZ"]["lengths of two-qubit gates"]
    assert short < 0.9 * wanted
    weaker = eqx.tree_at(lambda one: one.circuit.weights, potential, 0.1 * circuit.weights)
    found = compiled_counts(weaker, WATER, Protocol())["all-to-all, RZZ"]
    assert 3 < found["lengths of two-qubit gates"] < short  # angles of weak exchange are small
    assert np.isfinite(found["depth"])
    qiff.save(potential, tmp_path / "model.qiff")
    assert main(["resources", str(tmp_path / "model.qiff"), "--targets"]) == 0
    assert f"two-qubit gates {wanted}," in capsys.readouterr().out
