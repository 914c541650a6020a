"""Circuits as files for other packages.

A new format is one entry of `FORMATS`.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..quantum.export import Parameterised, to_pennylane, to_qasm3
from .group import CircuitGroup

Files = dict[str, bytes | str]
"""Contents by file suffix."""


def readout(circuits: CircuitGroup, number: int, offset: float | None) -> dict[str, Any]:
    """What turns the results of one circuit into energy, for the headers of files.

    The energy is `offset` plus the sum over all circuits of a geometry, and over their
    observables, of weight times expectation value.

    Args:
        circuits: of the geometry.
        number: of the circuit.
        offset: in eV, see `energy_offset`.
    """
    return {
        "unit": "eV",
        "offset": offset,
        "weights": circuits.readout[number].tolist(),
        "energy": "offset + sum over circuits and observables of weight * expectation value"
        if offset is not None
        else "no linear function of the expectation values; use qiff predict --executor",
    }


def _header(record: Mapping[str, Any], words: Sequence[Any], comment: str) -> str:
    """Lines of comment with the observables, words of Pauli letters, qubit 0 first."""
    record = {**record, "observables": words}
    return "".join(f"{comment} {key}: {json.dumps(value)}\n" for key, value in record.items())


def _words(circuits: CircuitGroup) -> list[list[tuple[float, str]]]:
    return [list(observable.terms) for observable in circuits.program.observables]


def qasm3_files(circuits: CircuitGroup, number: int, offset: float | None) -> Files:
    """One circuit in OpenQASM 3, with the observables and the read-out in comments."""
    first, _, rest = to_qasm3(circuits.program, circuits.angles[number]).partition("\n")
    header = _header(readout(circuits, number, offset), _words(circuits), "//")
    return {".qasm": f"{first}\n{header}{rest}"}


def qiskit_files(circuits: CircuitGroup, number: int, offset: float | None) -> Files:
    """One circuit of Qiskit with parameters for the data, and a description of them.

    The `.qpy` file holds the circuit; the `.json` file the names of its parameters, their values
    for the energy and for every shifted circuit of the forces, and the observables as Pauli words
    in the order of Qiskit, with qubit 0 last.
    """
    program, angles = circuits.program, circuits.angles[number]
    written = Parameterised(program, angles, circuits.open_slots)
    from qiskit import qpy

    content = io.BytesIO()
    qpy.dump(written.circuit, content)
    own = circuits.owners == number
    record = {
        "parameters": [parameter.name for parameter in written.parameters],
        "values": written.values(angles).tolist(),
        "shifted": written.values(circuits.shifted[own]).tolist(),
        "weights": circuits.weights[own].tolist(),
        "observables": [[(word[::-1], c) for c, word in o.terms] for o in program.observables],
        "readout": readout(circuits, number, offset),
    }
    return {".qpy": content.getvalue(), ".json": json.dumps(record) + "\n"}


def pennylane_files(circuits: CircuitGroup, number: int, offset: float | None) -> Files:
    """One circuit as a Python script for PennyLane, with the read-out in comments."""
    program = circuits.program
    tape = to_pennylane(program, circuits.angles[number])
    lines = [f"    qml.{_call(gate)}" for gate in tape.operations]
    for observable in program.observables:
        words = ", ".join(f"word({word!r})" for _, word in observable.terms)
        lines.append(
            f"    yield qml.expval(qml.dot({[c for c, _ in observable.terms]}, [{words}]))"
        )
    head = (
        "import pennylane as qml\n\nword = qml.pauli.string_to_pauli_word\n\n\n"
        f'@qml.qnode(qml.device("default.qubit", wires={program.n_qubits}))\n'
        "def circuit():\n    return list(gates())\n\n\ndef gates():\n"
    )
    tail = '\n\nif __name__ == "__main__":\n    print(circuit())\n'
    header = _header(readout(circuits, number, offset), _words(circuits), "#")
    return {".py": header + head + "\n".join(lines) + "\n" + tail}


def _call(gate: Any) -> str:
    arguments = [repr(float(np.asarray(parameter))) for parameter in gate.parameters]
    return f"{gate.name}({', '.join([*arguments, f'wires={gate.wires.tolist()}'])})"


FORMATS: dict[str, Callable[[CircuitGroup, int, float | None], Files]] = {
    "qasm3": qasm3_files,
    "qiskit": qiskit_files,
    "pennylane": pennylane_files,
}
