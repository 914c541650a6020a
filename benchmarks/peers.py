"""Other simulators, given the gates in closed form.

PennyLane and TensorCircuit-NG become engines of qiff, so that everything around the circuit is the
same; lightning.qubit and Aer run the same circuit by interfaces of their own.
"""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportMissingImports=false
# PennyLane and Qiskit take more than their annotations say; TensorCircuit is optional.

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from qiff.quantum.engine import ENGINES, Engine
from qiff.quantum.program import Program


def register() -> list[str]:
    """Add the peers to the engines; returns their names."""
    peers = {"pennylane": pennylane, "tensorcircuit": tensorcircuit}
    ENGINES.update({name: Engine(name, function) for name, function in peers.items()})
    return list(peers)


def pennylane(program: Program, angles):
    """default.qubit, differentiated by back-propagation."""
    import pennylane as qml

    @qml.qnode(qml.device("default.qubit", wires=program.n_qubits), interface="jax")
    def circuit(angles):
        _singlets(qml, program)
        for gate in program.gates():
            matrix = gate.kind.matrix(angles[np.array(gate.slots, int)])
            qml.QubitUnitary(matrix, wires=list(gate.qubits))
        return [qml.expval(_observable(qml, observable)) for observable in program.observables]

    return jnp.stack(circuit(angles))


def tensorcircuit(program: Program, angles):
    import tensorcircuit as tc

    tc.set_backend("jax")
    tc.set_dtype("complex128" if angles.dtype == "float64" else "complex64")
    circuit = tc.Circuit(program.n_qubits)
    for a, b in program.state.pairs:
        circuit.x(a), circuit.x(b), circuit.h(a), circuit.cnot(a, b)
    for gate in program.gates():
        matrix = gate.kind.matrix(angles[np.array(gate.slots, int)])
        circuit.unitary(*gate.qubits, unitary=matrix)
    return jnp.stack(
        [
            sum(
                coefficient * jnp.real(circuit.expectation_ps(ps=["IXYZ".index(p) for p in word]))
                for coefficient, word in observable.terms
            )
            for observable in program.observables
        ]
    )


def lightning(program: Program, angles: np.ndarray) -> dict[str, Callable]:
    """Value and adjoint gradient, spin gates as three rotations whose angles are given."""
    import pennylane as qml
    from pennylane import numpy as pnp

    @qml.qnode(qml.device("lightning.qubit", wires=program.n_qubits), diff_method="adjoint")
    def circuit(angles):
        _singlets(qml, program)
        for gate in program.gates():
            values = [angles[slot] for slot in gate.slots]
            if gate.name == "spin":
                for operation, value in zip((qml.RZ, qml.RY, qml.RZ), values, strict=True):
                    operation(value, wires=gate.qubits)
            else:
                for operation in (qml.IsingXX, qml.IsingYY, qml.IsingZZ):
                    operation(2 * values[0], wires=gate.qubits)
        return qml.expval(_observable(qml, program.observables[0]))

    euler = pnp.array(to_euler(program, angles), requires_grad=True)
    return {"value": lambda: circuit(euler), "gradient": lambda: qml.grad(circuit)(euler)}


def aer(program: Program, angles: np.ndarray) -> Callable:
    """Aer's estimator: one parameterised circuit, a row of angles for each sample, no noise."""
    from qiskit import QuantumCircuit
    from qiskit.circuit import ParameterVector
    from qiskit.quantum_info import SparsePauliOp
    from qiskit_aer.primitives import EstimatorV2

    slots = ParameterVector("a", program.n_slots)
    circuit = QuantumCircuit(program.n_qubits)
    for a, b in program.state.pairs:
        circuit.x(a), circuit.x(b), circuit.h(a), circuit.cx(a, b)
    for gate in program.gates():
        values = [slots[slot] for slot in gate.slots]
        if gate.name == "spin":
            circuit.rz(values[0], *gate.qubits)
            circuit.ry(values[1], *gate.qubits)
            circuit.rz(values[2], *gate.qubits)
        else:
            for operation in (circuit.rxx, circuit.ryy, circuit.rzz):
                operation(2 * values[0], *gate.qubits)
    terms = [(word[::-1], coefficient) for coefficient, word in program.observables[0].terms]
    observable = SparsePauliOp.from_list(terms)
    rows = np.stack([to_euler(program, row) for row in angles])
    estimator = EstimatorV2(options={"default_precision": 0.0})
    return lambda: estimator.run([(circuit, observable, rows)]).result()[0].data.evs


def to_euler(program: Program, angles: np.ndarray) -> np.ndarray:
    """The same angles with every spin vector as those of Rz, Ry, Rz in order of application."""
    result = np.array(angles, float)
    for gate in program.gates():
        if gate.name == "spin":
            slots = list(gate.slots)
            matrix = np.asarray(gate.kind.matrix(jnp.asarray(angles[slots])))
            beta = 2 * np.arctan2(abs(matrix[1, 0]), abs(matrix[0, 0]))
            total, difference = 2 * np.angle(matrix[1, 1]), 2 * np.angle(matrix[1, 0])
            result[slots] = (total - difference) / 2, beta, (total + difference) / 2
    return result


def _singlets(qml, program: Program) -> None:
    for a, b in program.state.pairs:
        qml.X(a), qml.X(b), qml.H(a), qml.CNOT([a, b])


def _observable(qml, observable):
    return sum(c * qml.pauli.string_to_pauli_word(word) for c, word in observable.terms)
