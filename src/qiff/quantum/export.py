"""Circuits for other packages: OpenQASM 3, Qiskit and PennyLane.

Gates are written as standard gates of those packages, whose compilers translate them to the native
gates of a device. A gate whose angles are left open becomes a fixed sequence of gates with
parameters. The parameters are functions of the angles that are computed here, so that one compiled
circuit serves every geometry.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from .._checks import InputError, missing_extra
from .._types import Qubits
from .gate import GATES, Gate
from .program import Program
from .shift import symmetric
from .shots import Closing, Setting
from .unitary import unitaries

Piece = tuple[str, Qubits, int, int]
"""Name of a gate in Qiskit, places of its qubits among those of our gate, number of its parameter,
and the sign of that parameter; 0 if it has none."""


@dataclass(frozen=True)
class Parts:
    """A gate as a sequence of gates with one parameter each.

    Args:
        pieces: the sequence.
        parameters: from the angles of the gate, in the last axis of an array.
    """

    pieces: tuple[Piece, ...]
    parameters: Callable[[np.ndarray], np.ndarray]


def _euler(
    matrices: Num[np.ndarray, "*batch 2 2"],
) -> Float[np.ndarray, "*batch 3"]:
    r"""Angles of $U = e^{i\phi} R_z(\alpha) R_y(\beta) R_z(\gamma)$."""
    sines, cosines = matrices[..., 1, 0], matrices[..., 1, 1]
    phase = np.angle(np.linalg.det(matrices)) / 2
    total, difference = np.angle(cosines) - phase, np.angle(sines) - phase
    beta = 2 * np.arctan2(np.abs(sines), np.abs(cosines))
    return np.stack([total + difference, beta, total - difference], axis=-1)


def _weyl(matrices: Num[np.ndarray, "n_rows 4 4"]) -> Float[np.ndarray, "n_rows 15"]:
    r"""Parameters of $(K_1 \otimes L_1)\, e^{i(aXX+bYY+cZZ)} (K_2 \otimes L_2)$ up to a phase.

    $-2(a, b, c)$ and the Euler angles of $K_1, L_1, K_2, L_2$.
    """
    _import("qiskit", "a decomposition of a gate on two qubits")
    from qiskit.synthesis import TwoQubitWeylDecomposition

    found = [TwoQubitWeylDecomposition(matrix) for matrix in matrices]
    coupling = np.array([[-2 * w.a, -2 * w.b, -2 * w.c] for w in found]).reshape(-1, 3)
    local = np.array([[w.K1l, w.K1r, w.K2l, w.K2r] for w in found]).reshape(-1, 4, 2, 2)
    return np.concatenate([coupling, _euler(local).reshape(-1, 12)], axis=-1)


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
"""Gates with shorter sequences than the general ones; see `parts_of`."""

_GENERAL = {
    1: (_turned(0, 0, 1), _euler),
    2: (
        (
            *(*_turned(0, 9, 1), *_turned(1, 12, 1)),
            *((name, (0, 1), k, 1) for k, name in enumerate(_DOUBLED)),
            *(*_turned(0, 3, 1), *_turned(1, 6, 1)),
        ),
        _weyl,
    ),
}
"""Any gate on so many qubits: its sequence, and the parameters from its matrices."""


def parts_of(name: str) -> Parts:
    """A gate as gates of other packages: its own sequence, or the general one of its matrix.

    Raises:
        InputError: it has no sequence of its own and acts on more than two qubits.
    """
    if name in PARTS:
        return PARTS[name]
    n_qubits = GATES[name].n_qubits
    if n_qubits not in _GENERAL:
        raise InputError(
            f"Gate `{name}` acts on {n_qubits} qubits: to export it, add its sequence to PARTS."
        )
    pieces, of_matrices = _GENERAL[n_qubits]

    def parameters(angles: np.ndarray) -> np.ndarray:
        *batch, n_angles = angles.shape
        found = of_matrices(unitaries(name, angles.reshape(math.prod(batch), n_angles)))
        return found.reshape(*batch, found.shape[-1])

    return Parts(pieces, parameters)


class Parameterised:
    """A circuit of Qiskit with parameters, and their values for given angles.

    This is what the runtime primitives take: one circuit and arrays of values.

    Args:
        program: the gates.
        angles: of gates without parameters.
        open_slots: gates with one of these angles get parameters.
        closing: gates and readout at the end, and gates outside the light cone of the observables
            are left out; without it nothing is measured.

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
        wanted, gates = set(open_slots), _kept(program, closing)
        self._open = [gate for gate in gates if wanted.intersection(gate.slots)]
        counts = [len(_parameters(gate.name, np.zeros(gate.kind.n_angles))) for gate in self._open]
        self.parameters = qiskit.circuit.ParameterVector("theta", sum(counts))
        circuit, used = qiskit.QuantumCircuit(program.n_qubits), 0
        for a, b in program.state.pairs:
            circuit.x([a, b])
            circuit.h(a)
            circuit.cx(a, b)
        for gate in gates:
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
    """A circuit of Qiskit with the same numbers of qubits; its bit strings have qubit 0 last.

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
    """A tape of PennyLane that returns expectation values, or with `closing` probabilities.

    With `closing` gates outside the light cone of the observables are left out.

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
        (g.name, g.qubits, tuple(angles[np.array(g.slots, int)])) for g in _kept(program, closing)
    ]
    for name, qubits, at in (*listed, *(closing.gates() if closing else ())):
        values = _parameters(name, np.array(at, float))
        for piece, places, k, sign in parts_of(name).pieces:
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


def _kept(program: Program, closing: Setting | None) -> tuple[Gate, ...]:
    """All gates, or those that what is read at the end can depend on."""
    return program.light_cone() if closing else tuple(program.gates())


def _parameters(name: str, angles: np.ndarray) -> np.ndarray:
    return parts_of(name).parameters(angles)


def _append(circuit: Any, name: str, qubits: Qubits, values: Sequence[Any]) -> None:
    for piece, places, k, sign in parts_of(name).pieces:
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
