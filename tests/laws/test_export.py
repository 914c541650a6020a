"""The gate list, written for other packages and run by them, gives the same numbers."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qiff._checks import InputError
from qiff.hardware import circuits
from qiff.hardware.files import FORMATS
from qiff.quantum import export
from qiff.quantum.engine import expectations
from qiff.quantum.export import (
    Parameterised,
    observables_of,
    parts_of,
    to_pennylane,
    to_qasm3,
    to_qiskit,
)
from qiff.quantum.gate import GATES, Gate, GateKind, fixed
from qiff.quantum.observable import PauliSum, mean_exchange, mean_z
from qiff.quantum.program import Program
from qiff.quantum.shots import SETTINGS, probabilities, read_outcomes
from qiff.quantum.shots import settings as settings_of
from qiff.quantum.state import Singlets

from .examples import POTENTIAL_EXAMPLES, every
from .test_engines import random_angles

qiskit = pytest.importorskip("qiskit")
qml = pytest.importorskip("pennylane")


def every_gate(n_qubits: int = 4) -> Program:
    """Every gate twice, on qubits of either order."""
    gates, slot, rng = [], 0, np.random.default_rng(1)
    for name in (*GATES, *GATES):
        qubits = rng.permutation(n_qubits)[: GATES[name].n_qubits]
        gates.append(Gate(name, tuple(map(int, qubits)), slot))
        slot += GATES[name].n_angles
    odd = PauliSum(((0.3, "XYZI"), (-1.2, "IIII"), (0.7, "YIIX")))
    observables = (mean_exchange(((0, 1), (1, 2)), n_qubits), mean_z(n_qubits), odd)
    return Program(Singlets(n_qubits, ((0, 2),)), tuple(gates), (), 0, observables)


PROGRAM = every_gate()
ANGLES = [random_angles(PROGRAM, 1, seed, (0.0, 0.4, 2.5))[0] for seed in range(2)]


simulated = jax.jit(expectations, static_argnames=("program", "engine"))


def ours(program, angles):
    return np.asarray(simulated(program, jnp.asarray(angles), engine="xla"))


def of_qiskit(circuit, program):
    state = qiskit.quantum_info.Statevector(circuit)
    return [state.expectation_value(o).real for o in observables_of(program)]


@pytest.fixture
def general_gates(monkeypatch):
    """Every gate by the general sequence of its matrix, and new ones that have no other."""
    monkeypatch.setattr(export, "PARTS", {})
    phase, hop = np.diag([0, -1])[None], np.diag([0, 0.3, -0.4, 1.1])[[1, 0, 3, 2]][None]
    hop = hop + hop.swapaxes(1, 2)
    for name, generators in (("phase", phase), ("hop", hop)):
        matrix = lambda a, g=generators: jax.scipy.linalg.expm(-1j * a[0] * g[0])
        n_qubits = generators.shape[1].bit_length() - 1
        kind = GateKind(n_qubits, 1, matrix, generators=generators)
        monkeypatch.setitem(GATES, name, kind)
    monkeypatch.setitem(GATES, "swap", fixed(np.eye(4)[[0, 2, 1, 3]]))


def test_gates_without_a_sequence_of_their_own_are_written(general_gates):
    program = every_gate()
    angles = random_angles(program, 3, 0, (0.0, 0.4, 2.5))
    written = Parameterised(program, angles[0], range(program.n_slots))
    for at, values in zip(angles, written.values(angles), strict=True):
        bound = written.circuit.assign_parameters(
            dict(zip(written.parameters, values, strict=True))
        )
        np.testing.assert_allclose(of_qiskit(bound, program), ours(program, at), atol=1e-10)
    device = qml.device("default.qubit", wires=4)
    found = qml.execute([to_pennylane(program, angles[0])], device)[0]
    np.testing.assert_allclose(found, ours(program, angles[0]), atol=1e-10)


def test_large_gates_without_a_sequence_of_their_own_are_an_error(monkeypatch):
    monkeypatch.setitem(GATES, "toffoli", fixed(np.eye(8)[[0, 1, 2, 3, 4, 5, 7, 6]]))
    with pytest.raises(InputError, match="acts on 3 qubits: to export it, add its sequence"):
        parts_of("toffoli")


def test_every_gate_in_every_package():
    angles = ANGLES[0]
    wanted = ours(PROGRAM, angles)
    np.testing.assert_allclose(of_qiskit(to_qiskit(PROGRAM, angles), PROGRAM), wanted, atol=1e-10)
    text = to_qasm3(PROGRAM, angles)
    assert text.startswith("OPENQASM 3")
    again = pytest.importorskip("qiskit_qasm3_import").parse(text)
    np.testing.assert_allclose(of_qiskit(again, PROGRAM), wanted, atol=1e-10)
    device = qml.device("default.qubit", wires=4)
    np.testing.assert_allclose(
        qml.execute([to_pennylane(PROGRAM, angles)], device)[0], wanted, atol=1e-10
    )
    off = angles.copy()
    off[np.argmax(np.abs(angles))] += 1e-3
    assert np.abs(ours(PROGRAM, off) - wanted).max() > 1e-7  # control


def test_one_circuit_with_parameters_serves_all_angles():
    open_slots = range(0, PROGRAM.n_slots, 2)
    written = Parameterised(PROGRAM, ANGLES[0], open_slots)
    for angles in ANGLES:
        at = ANGLES[0].copy()
        at[open_slots] = angles[open_slots]
        values = dict(zip(written.parameters, written.values(at), strict=True))
        bound = written.circuit.assign_parameters(values)
        np.testing.assert_allclose(of_qiskit(bound, PROGRAM), ours(PROGRAM, at), atol=1e-10)


@pytest.mark.parametrize("method", SETTINGS)
def test_settings_read_every_observable(method):
    total, device = 0.0, qml.device("default.qubit", wires=4)
    for setting in settings_of(PROGRAM.observables, method):
        chances = probabilities(PROGRAM, ANGLES[0][None], setting)
        tape = to_pennylane(PROGRAM, ANGLES[0], setting)
        np.testing.assert_allclose(qml.execute([tape], device)[0], chances[0], atol=1e-12)
        written = Parameterised(PROGRAM, ANGLES[0], (), setting).circuit
        written.remove_final_measurements()
        theirs = qiskit.quantum_info.Statevector(written).probabilities()
        theirs = theirs.reshape((2,) * 4).transpose().reshape(-1)  # qubit 0 is written last there
        np.testing.assert_allclose(theirs, chances[0], atol=1e-12)
        total += read_outcomes(chances, None, setting.values(3)).values[0]
    np.testing.assert_allclose(total, ours(PROGRAM, ANGLES[0]), atol=1e-12)


@pytest.mark.parametrize("name", ["broken water", pytest.param("dimer", marks=pytest.mark.slow)])
def test_circuits_of_models(name):
    example = next(e for e in every(POTENTIAL_EXAMPLES) if e.name == name)
    for group in circuits(example.random(), example.molecule):
        for number, angles in enumerate(group.angles):
            wanted = ours(group.program, angles)
            found = of_qiskit(to_qiskit(group.program, angles), group.program)
            np.testing.assert_allclose(found, wanted, atol=1e-10)
            content = FORMATS["pennylane"](group, number, 0.0)[".py"]
            variables: dict = {"__name__": "exported"}
            exec(compile(content, "exported.py", "exec"), variables)
            np.testing.assert_allclose(variables["circuit"](), wanted, atol=1e-10)


def test_files_of_qiskit_hold_all_that_primitives_need(tmp_path):
    from qiskit import qpy

    example = next(e for e in every(POTENTIAL_EXAMPLES) if e.name == "water")
    (group,) = circuits(example.random(), example.molecule)
    files = FORMATS["qiskit"](group, 0, -1.5)
    (tmp_path / "circuit.qpy").write_bytes(files[".qpy"])
    with (tmp_path / "circuit.qpy").open("rb") as file:
        (circuit,) = qpy.load(file)
    record = json.loads(files[".json"])
    assert record["readout"]["offset"] == -1.5
    assert record["readout"]["weights"] == group.readout[0].tolist()
    observables = [qiskit.quantum_info.SparsePauliOp.from_list(o) for o in record["observables"]]
    assert [p.name for p in circuit.parameters] == record["parameters"]
    job = qiskit.primitives.StatevectorEstimator().run(
        [(circuit, observables[0], record["values"])]
    )
    wanted = ours(group.program, group.angles[0])
    np.testing.assert_allclose(job.result()[0].data.evs, wanted, atol=1e-10)
    job = qiskit.primitives.StatevectorEstimator().run(
        [(circuit, observables[0], record["shifted"][:3])]
    )
    wanted = [ours(group.program, angles)[0] for angles in group.shifted[:3]]
    np.testing.assert_allclose(job.result()[0].data.evs, wanted, atol=1e-10)
