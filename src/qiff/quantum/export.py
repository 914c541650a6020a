"""Circuits for other packages: OpenQASM 3, Qiskit and PennyLane.

Gates are written in terms that those packages know; native gates are for their compilers. A gate
whose angles are left open becomes a fixed sequence of gates with parameters: functions of the
angles that are computed here, so that one compiled circuit serves every geometry.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from .._checks import missing_extra
from .._types import Qubits
from .program import Program
from .shift import symmetric
from .shots import Closing, Setting

Piece = tuple[str, Qubits, int, int]
"""A gate of Qiskit's name: which qubits of the whole, number of its parameter and the sign of
that; 0 if it takes none."""


@dataclass(frozen=True)
class Parts:
    """A gate as a sequence of gates with one parameter each.

    Args:
        pieces: the sequence.
        parameters: from the angles of the gate, in the last axis of an array.
    """

    pieces: tuple[Piece, ...]
    parameters: Callable[[np.ndarray], np.ndarray]


def _euler(vector: np.ndarray) -> np.ndarray:
    r"""$R(v) = R_z(\\alpha) R_y(\\beta) R_z(\\gamma)$."""
    length = np.linalg.norm(vector, axis=-1)
    x, y, z = np.moveaxis(vector, -1, 0) * np.sinc(length / 2 / np.pi) / 2
    cosine = np.cos(length / 2)
    total, difference = np.arctan2(z, cosine), np.arctan2(-x, y)
    beta = 2 * np.arctan2(np.hypot(x, y), np.hypot(cosine, z))
    return np.stack([total + difference, beta, total - difference], axis=-1)


def _polar(vector: np.ndarray) -> np.ndarray:
    """Length, polar angle and azimuth."""
    x, y, z = np.moveaxis(vector, -1, 0)
    across = np.hypot(x, y)
    return np.stack([np.hypot(across, z), np.arctan2(across, z), np.arctan2(y, x)], axis=-1)


def _principal(entries: np.ndarray) -> np.ndarray:
    """Principal values of a symmetric matrix, and the Euler angles of its axes."""
    values, axes = np.linalg.eigh(symmetric(entries))
    axes = axes * np.sign(np.linalg.det(axes))[..., None, None]
    turn = np.stack(
        [
            np.arctan2(axes[..., 1, 2], axes[..., 0, 2]),
            np.arctan2(np.hypot(axes[..., 0, 2], axes[..., 1, 2]), axes[..., 2, 2]),
            np.arctan2(axes[..., 2, 1], -axes[..., 2, 0]),
        ],
        axis=-1,
    )
    return np.concatenate([2 * values, turn], axis=-1)


def _turned(qubit: int, first: int, sign: int) -> tuple[Piece, ...]:
    """A rotation by three Euler angles, or back."""
    order = [("rz", first), ("ry", first + 1), ("rz", first + 2)][::-sign]
    return tuple((name, (qubit,), k, sign) for name, k in order)


_DOUBLED = ("rxx", "ryy", "rzz")

PARTS: dict[str, Parts] = {
    "rx": Parts((("rx", (0,), 0, 1),), np.asarray),
    "ry": Parts((("ry", (0,), 0, 1),), np.asarray),
    "rz": Parts((("rz", (0,), 0, 1),), np.asarray),
    "spin": Parts(_turned(0, 0, 1), _euler),
    "exchange": Parts(tuple((name, (0, 1), 0, 1) for name in _DOUBLED), lambda a: 2 * a),
    "mirror": Parts(
        (
            *(("rz", (0,), 2, -1), ("ry", (0,), 1, -1)),
            *(("h", (1,), 0, 0), ("rzz", (0, 1), 0, 1), ("h", (1,), 0, 0)),
            *(("ry", (0,), 1, 1), ("rz", (0,), 2, 1)),
        ),
        _polar,
    ),
    "quadrupole": Parts(
        (
            *(*_turned(0, 3, -1), *_turned(1, 3, -1)),
            *((name, (0, 1), k, 1) for k, name in enumerate(_DOUBLED)),
            *(*_turned(0, 3, 1), *_turned(1, 3, 1)),
        ),
        _principal,
    ),
    "cz": Parts((("cz", (0, 1), 0, 0),), np.asarray),
    "cnot": Parts((("cx", (0, 1), 0, 0),), np.asarray),
}
"""Every gate."""


class Parameterised:
    """A circuit of Qiskit with parameters, and their values for given angles.

    Runtime primitives want one circuit and arrays of values: this is both.

    Args:
        program: the gates.
        angles: of gates that stay as they are.
        open_slots: gates with one of these angles get parameters.
        closing: gates and readout at the end; without it nothing is measured.

    Raises:
        InputError: Qiskit is absent.
    """

    def __init__(
        self,
        program: Program,
        angles: Float[np.ndarray, " n_slots"],
        open_slots: Iterable[int] = (),
        closing: Setting | None = None,
    ):
        qiskit = _import("qiskit", "a circuit of Qiskit")
        wanted = set(open_slots)
        self._open = [gate for gate in program.gates() if wanted.intersection(gate.slots)]
        counts = [len(_parameters(gate.name, np.zeros(gate.kind.n_angles))) for gate in self._open]
        self.parameters = qiskit.circuit.ParameterVector("theta", sum(counts))
        circuit, used = qiskit.QuantumCircuit(program.n_qubits), 0
        for a, b in program.state.pairs:
            circuit.x([a, b])
            circuit.h(a)
            circuit.cx(a, b)
        for gate in program.gates():
            if wanted.intersection(gate.slots):
                n = counts[self._open.index(gate)]
                values: Sequence[Any] = self.parameters[used : used + n]
                used += n
            else:
                values = _parameters(gate.name, angles[np.array(gate.slots, int)]).tolist()
            _append(circuit, gate.name, gate.qubits, values)
        self.circuit = circuit
        if closing is not None:
            _close(circuit, closing.gates())
            circuit.measure_all()

    def values(
        self, angles: Float[np.ndarray, "*batch n_slots"]
    ) -> Float[np.ndarray, "*batch n_parameters"]:
        """Values of the parameters, in the order of `parameters`, for these angles."""
        found = [
            _parameters(gate.name, angles[..., np.array(gate.slots, int)]) for gate in self._open
        ]
        return np.concatenate([np.zeros((*angles.shape[:-1], 0)), *found], axis=-1)


def to_qiskit(program: Program, angles: Float[np.ndarray, " n_slots"]) -> Any:
    """A circuit of Qiskit; qubit q of ours is qubit q there, which it writes last.

    Raises:
        InputError: Qiskit is absent.
    """
    return Parameterised(program, angles).circuit


def to_qasm3(program: Program, angles: Float[np.ndarray, " n_slots"]) -> str:
    """The text of a circuit in OpenQASM 3, by the exporter of Qiskit.

    Raises:
        InputError: Qiskit is absent.
    """
    _import("qiskit", "OpenQASM 3")
    import qiskit.qasm3

    return qiskit.qasm3.dumps(to_qiskit(program, angles)) + "\n"


def observables_of(program: Program) -> tuple[Any, ...]:
    """The observables as sparse Pauli operators of Qiskit, whose words have qubit 0 last.

    Raises:
        InputError: Qiskit is absent.
    """
    _import("qiskit", "an observable of Qiskit")
    from qiskit.quantum_info import SparsePauliOp

    return tuple(
        SparsePauliOp.from_list([(word[::-1], c) for c, word in observable.terms])
        for observable in program.observables
    )


def to_pennylane(
    program: Program, angles: Float[np.ndarray, " n_slots"], closing: Setting | None = None
) -> Any:
    """A tape of PennyLane that returns the expectation values, or reads outcomes in a setting.

    Raises:
        InputError: PennyLane is absent.
    """
    qml = _import("pennylane", "a tape of PennyLane")
    gates = [
        gate
        for a, b in program.state.pairs
        for gate in (qml.X(a), qml.X(b), qml.H(a), qml.CNOT([a, b]))
    ]
    kinds = {
        "rx": qml.RX,
        "ry": qml.RY,
        "rz": qml.RZ,
        "h": qml.Hadamard,
        "cx": qml.CNOT,
        "cz": qml.CZ,
        "rxx": qml.IsingXX,
        "ryy": qml.IsingYY,
        "rzz": qml.IsingZZ,
    }
    listed: list[Closing] = [
        (g.name, g.qubits, tuple(angles[np.array(g.slots, int)])) for g in program.gates()
    ]
    for name, qubits, at in (*listed, *(closing.gates() if closing else ())):
        values = _parameters(name, np.array(at, float))
        for piece, places, k, sign in PARTS[name].pieces:
            wires = [qubits[place] for place in places]
            gates.append(kinds[piece](*([sign * values[k]] if sign else []), wires=wires))
    if closing:
        return qml.tape.QuantumScript(gates, [qml.probs(wires=range(program.n_qubits))])
    sums = [
        qml.dot(
            [c for c, _ in o.terms], [qml.pauli.string_to_pauli_word(word) for _, word in o.terms]
        )
        for o in program.observables
    ]
    return qml.tape.QuantumScript(gates, [qml.expval(o) for o in sums])


def _parameters(name: str, angles: np.ndarray) -> np.ndarray:
    return PARTS[name].parameters(angles)


def _append(circuit: Any, name: str, qubits: Qubits, values: Sequence[Any]) -> None:
    for piece, places, k, sign in PARTS[name].pieces:
        arguments = [sign * values[k]] if sign else []
        getattr(circuit, piece)(*arguments, *(qubits[place] for place in places))


def _close(circuit: Any, gates: Iterable[Closing]) -> None:
    for name, qubits, angles in gates:
        _append(circuit, name, qubits, _parameters(name, np.array(angles, float)).tolist())


def _import(package: str, purpose: str) -> Any:
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError:
        raise missing_extra(package, package, purpose) from None
