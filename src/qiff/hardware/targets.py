"""Depth and gates of the circuits of a potential, compiled for kinds of quantum computers.

An exchange gate takes three CX or CZ. Where a device has gates of any angle on two qubits
(fractional or pulse-efficient gates), it takes three of those, which are as long as their angles.
"""

from collections.abc import Callable
from itertools import count
from typing import Any

import ase
import numpy as np

from ..model.potential import AbstractPotential
from ..quantum.export import Parameterised
from ..quantum.shots import settings
from .estimate import circuits
from .measure import Protocol
from .on_qiskit import need


def _heavy_hex(n_qubits: int) -> Any:
    from qiskit.transpiler import CouplingMap

    sizes = (CouplingMap.from_heavy_hex(distance) for distance in count(3, 2))
    return next(coupled for coupled in sizes if coupled.size() >= n_qubits)


def _all_to_all(n_qubits: int) -> Any:
    from qiskit.transpiler import CouplingMap

    return CouplingMap.from_full(n_qubits)


TARGETS: dict[str, tuple[Callable[[int], Any], tuple[str, ...]]] = {
    "heavy-hex, CZ": (_heavy_hex, ("rz", "sx", "x", "cz")),
    "heavy-hex, ECR": (_heavy_hex, ("rz", "sx", "x", "ecr")),
    "heavy-hex, CZ and RZZ": (_heavy_hex, ("rz", "sx", "x", "rx", "cz", "rzz")),
    "all-to-all, CZ": (_all_to_all, ("rz", "sx", "x", "cz")),
    "all-to-all, RZZ": (_all_to_all, ("r", "rz", "rzz")),
}
"""Which qubits are coupled, and the gates. All-to-all with RZZ are trapped ions."""


def compiled_counts(
    potential: AbstractPotential, atoms: ase.Atoms, protocol: Protocol
) -> dict[str, dict[str, int | float]]:
    """Counts of a circuit of a configuration after compilation, for each of `TARGETS`.

    Args:
        potential: any potential.
        atoms: one configuration.
        protocol: the circuit ends with the first of its settings.

    Returns:
        Depth, depth in gates on two qubits, their number, and their lengths: their angles in units
        of a right angle, which is that of CX, CZ and ECR.

    Raises:
        InputError: the circuits cannot be sent, or Qiskit is not installed.
    """
    need("qiskit", "counts of compiled circuits")
    from qiskit.transpiler import Target, generate_preset_pass_manager

    group = max(circuits(potential, atoms), key=lambda of: len(of.all_angles))
    setting = settings(group.program.observables, protocol.method)[0]
    written = Parameterised(group.program, group.angles[0], group.open_slots, setting)
    found = {}
    for name, (coupling, gates) in TARGETS.items():
        coupled = coupling(group.program.n_qubits)
        target = Target.from_configuration(
            basis_gates=[*gates, "measure"], num_qubits=coupled.size(), coupling_map=coupled
        )
        passes = generate_preset_pass_manager(3, target=target, seed_transpiler=0)
        found[name] = _counts(passes.run(written.circuit))
    return found


def _counts(circuit: Any) -> dict[str, int | float]:
    on_two = lambda item: len(item.qubits) == 2 and item.operation.name != "barrier"
    pairs = list(filter(on_two, circuit.data))
    angles = [float(of.operation.params[0]) if of.operation.params else np.pi / 2 for of in pairs]
    shortest = np.abs(np.remainder(np.array(angles) + np.pi / 2, np.pi) - np.pi / 2)
    return {
        "depth": circuit.depth(),
        "two-qubit depth": circuit.depth(on_two),
        "two-qubit gates": len(pairs),
        "lengths of two-qubit gates": float(shortest.sum() / (np.pi / 2)),
    }
