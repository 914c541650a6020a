"""Drawings of circuits: each wire reads, from left to right, exactly the gates on its qubit."""

import dataclasses
import re

import numpy as np
import pytest

from qiff.model.build import skeleton
from qiff.quantum.circuit import Circuit, circuits_of
from qiff.quantum.draw import drawn, observable_names, sketch_of
from qiff.quantum.encoding import AxisRotations
from qiff.quantum.gate import GATES, Gate
from qiff.quantum.observable import PauliSum, mean_exchange, mean_z, pair_exchange, vector
from qiff.quantum.program import Program, reuploading
from qiff.quantum.state import Singlets

from .examples import ANSATZ_EXAMPLES, ENCODING_EXAMPLES, POTENTIAL_EXAMPLES, Component, every

WIDE = 10**4
LETTERS = {
    "spin": ("R",),
    "mirror": ("M", "X"),
    "quadrupole": ("Q", "Q"),
    "exchange": ("J", "J"),
    "cnot": ("●", "⊕"),
    "cz": ("●", "●"),
}


def read(text: str) -> tuple[list[list[str]], list[list[str]]]:
    """What stands on each wire of a drawing, before and within the layer."""
    wires = [line for line in text.splitlines() if re.match(r"q\d", line)]
    parts = [wire.split("║") for wire in wires]
    tokens = [[re.findall(r"\[[^\]]*\]|[●⊕]", part) for part in wire] for wire in parts]
    return [wire[0] for wire in tokens], [wire[1] if len(wire) > 1 else [] for wire in tokens]


def names(wires: list[list[str]]) -> list[list[str]]:
    """Without the labels."""
    return [[token.strip("[]").split()[0] for token in wire] for wire in wires]


def wanted(gates, n_qubits: int) -> list[list[str]]:
    """What must stand on each wire, from the gate list."""
    wires = [[] for _ in range(n_qubits)]
    for gate in gates:
        letters = LETTERS.get(gate.name, (gate.name,) * len(gate.qubits))
        for qubit, letter in zip(gate.qubits, letters, strict=True):
            wires[qubit].append(letter)
    return wires


def is_drawn(sketch, program) -> bool:
    found = [names(part) for part in read(drawn(sketch, WIDE))]
    return found == [wanted(part, program.n_qubits) for part in (program.first, program.layer)]


def every_kind() -> Program:
    """Every registered gate twice, on qubits of either order."""
    gates, slot, rng = [], 0, np.random.default_rng(1)
    for name in (*GATES, *GATES):
        qubits = rng.permutation(4)[: GATES[name].n_qubits]
        gates.append(Gate(name, tuple(map(int, qubits)), slot))
        slot += GATES[name].n_angles
    return Program(Singlets(4, ((0, 2),)), tuple(gates), (), 0, (mean_z(4),))


def of_component(component) -> Program:
    """A circuit of this layer or encoding alone."""
    n = component.n_qubits
    return reuploading(Singlets(n, ()), (), component.part.gates(), 2, (mean_z(n),))


SKETCHES = {
    "every gate": sketch_of(every_kind()),
    "axis rotations": sketch_of(of_component(Component(AxisRotations(2, 3), 3, ()))),
} | {
    f"{type(component.part).__name__} {number}": sketch_of(of_component(component))
    for number, component in enumerate((*every(ANSATZ_EXAMPLES), *every(ENCODING_EXAMPLES)))
}


@pytest.mark.parametrize("sketch", SKETCHES.values(), ids=SKETCHES)
def test_every_gate_is_drawn_once_on_its_qubits(sketch):
    program = sketch.program
    assert is_drawn(sketch, program)
    field = "first" if program.first else "layer"
    gates = getattr(program, field)
    shorter = dataclasses.replace(program, **{field: gates[:-1]})
    assert not is_drawn(sketch, shorter), "control: a gate too many in the drawing"
    for number, gate in enumerate(gates):
        if gate.name in ("cnot", "mirror"):
            turned = dataclasses.replace(gate, qubits=gate.qubits[::-1])
            other = (*gates[:number], turned, *gates[number + 1 :])
            assert not is_drawn(sketch, dataclasses.replace(program, **{field: other}))


@pytest.mark.parametrize("example", every(POTENTIAL_EXAMPLES), ids=lambda e: e.name)
def test_circuits_of_every_potential_are_drawn_and_shared_weights_have_one_label(example):
    for circuit in circuits_of(skeleton(example.config)):
        program = circuit.program
        assert is_drawn(circuit.sketch, program)
        assert f"× {program.n_layers}" in circuit.draw()
        assert all(len(line) <= 100 for line in circuit.draw().splitlines() if "─" in line)
        if isinstance(circuit, Circuit):
            layer = read(circuit.draw(WIDE))[1]
            labels = {t for wire in layer for t in re.findall(r"θ\d+", " ".join(wire))}
            assert len(labels) == circuit.ansatz.n_weights
            scales = {t for wire in layer for t in re.findall(r"α\d+", " ".join(wire))}
            assert len(scales) == circuit.encoding.n_scales


def test_a_wide_drawing_is_continued_with_every_gate_once():
    (circuit,) = circuits_of(skeleton(POTENTIAL_EXAMPLES["central"][0].config))
    narrow, wide = circuit.draw(60), circuit.draw(WIDE)
    assert max(len(line) for line in narrow.splitlines() if "─" in line) <= 60
    assert narrow.count("[") == wide.count("[")
    assert narrow.count("q0 ") > wide.count("q0 ") == 1


def test_a_drawing_agrees_with_the_circuit_of_qiskit():
    pytest.importorskip("qiskit")
    from qiff.quantum.export import to_qiskit

    (circuit,) = circuits_of(skeleton(POTENTIAL_EXAMPLES["generic"][0].config))
    program = circuit.program
    exported = to_qiskit(program, np.full(program.n_slots, 0.3))
    theirs = [[] for _ in range(program.n_qubits)]
    for step in exported.data:
        qubits = [exported.find_bit(qubit).index for qubit in step.qubits]
        faces = ("●", "⊕") if step.operation.name == "cx" else (step.operation.name,)
        for qubit, face in zip(qubits, faces, strict=True):
            theirs[qubit].append(face)
    first, layer = (names(part) for part in read(circuit.draw(WIDE)))
    assert [a + program.n_layers * b for a, b in zip(first, layer, strict=True)] == theirs


def test_what_is_measured_is_named():
    exchange = pair_exchange((0, 2), 3)
    assert observable_names((exchange,)) == ["⟨σ0·σ2⟩"]
    assert observable_names((mean_exchange(((0, 1), (1, 2)), 3),)) == ["0.5 ⟨σ0·σ1 + σ1·σ2⟩"]
    assert observable_names((*vector(1, 3), exchange)) == ["⟨σ1⟩", "⟨σ0·σ2⟩"]
    assert observable_names(vector(1, 3)[:2]) == ["⟨X1⟩", "⟨Y1⟩"]
    assert observable_names((mean_z(2),)) == ["0.5 ⟨Z0 + Z1⟩"]
    odd = PauliSum(((0.3, "XYI"), (-1.0, "III")))
    assert observable_names((odd,)) == ["0.3 ⟨X0Y1⟩ + -1 ⟨1⟩"]
    several = tuple(pair_exchange((a, b), 4) for a in range(4) for b in range(a))
    assert observable_names(several) == ["⟨σa·σb⟩ of 6 pairs"]


def test_a_figure_has_the_faces_of_every_gate_and_one_colour_for_each_weight():
    (circuit,) = circuits_of(skeleton(POTENTIAL_EXAMPLES["triatomic"][0].config))
    assert isinstance(circuit, Circuit)
    (axes,) = circuit.figure().axes
    boxes = [patch for patch in axes.patches if patch.get_fill()]
    wanted = [t.strip("[]") for part in read(circuit.draw(WIDE)) for wire in part for t in wire]
    faces = [text.get_text() for text in axes.texts if text.get_text() in wanted]
    assert sorted(faces) == sorted(wanted)
    labels = {}
    for box, face in zip(boxes, faces, strict=True):
        if "θ" in face:
            labels.setdefault(box.get_facecolor(), set()).add(face.split()[1])
    assert all(len(several) == 1 for several in labels.values())
    assert len(labels) == circuit.ansatz.n_weights


def test_a_notebook_shows_a_figure_without_pyplot():
    (circuit,) = circuits_of(skeleton(POTENTIAL_EXAMPLES["triatomic"][0].config))
    assert isinstance(circuit, Circuit)
    assert circuit.figure()._repr_png_().startswith(b"\x89PNG")
