"""Noisy circuits on Qiskit Aer: outcomes are drawn from exact probabilities with noise.

The samplers of Aer simulate every shot, microseconds each; here the cost of a circuit does not
depend on its number of shots.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Int


class AerSampler:
    """Draws outcomes of compiled circuits, for `on_qiskit.OnQiskit`.

    Args:
        backend: a simulator of Aer with a noise model.
    """

    def __init__(self, backend: Any):
        self.backend = backend
        self._readouts = _readouts(backend.options.noise_model)

    def __call__(
        self,
        circuit: Any,
        values: Float[np.ndarray, "n_rows n_parameters"],
        shots: Int[np.ndarray, " n_rows"],
        rng: np.random.Generator,
    ) -> Float[np.ndarray, "n_rows dim"]:
        """Relative frequencies of the outcomes; bit 0 is the least significant."""
        exact = self.probabilities(circuit, values)
        return rng.multinomial(shots, exact) / shots[:, None]

    def probabilities(
        self, circuit: Any, values: Float[np.ndarray, "n_rows n_parameters"]
    ) -> Float[np.ndarray, "n_rows dim"]:
        """Probabilities of the outcomes with all noise."""
        gates, wires = _unread(circuit)
        gates.save_probabilities(wires)
        columns = {name: list(values[:, k]) for k, name in enumerate(circuit.parameters)}
        run = self.backend.run(
            gates, shots=1, method="density_matrix", parameter_binds=[columns] if columns else None
        )
        results = run.result()
        found = [results.data(k)["probabilities"] for k in range(len(values) if columns else 1)]
        tensor = np.array(found).reshape(-1, *(2,) * len(wires))
        for axis, wire in enumerate(reversed(wires), start=1):
            readout = self._readouts.get((wire,), self._readouts.get(()))
            if readout is not None:
                tensor = np.moveaxis(np.moveaxis(tensor, axis, -1) @ readout, -1, axis)
        chances = np.maximum(tensor.reshape(len(tensor), -1), 0)
        chances = np.broadcast_to(chances, (len(values), chances.shape[1]))
        return chances / chances.sum(1, keepdims=True)


def _unread(circuit: Any) -> tuple[Any, list[int]]:
    """A circuit without its measurements, and the qubit that is measured into each bit."""
    gates, wires = circuit.copy_empty_like(), {}
    for item in circuit.data:
        if item.operation.name == "measure":
            bit, qubit = circuit.find_bit(item.clbits[0]), circuit.find_bit(item.qubits[0])
            wires[bit.index] = qubit.index
        else:
            gates.append(item)
    return gates, [wires[bit] for bit in sorted(wires)]


def _readouts(noise_model: Any) -> dict[tuple[int, ...], np.ndarray]:
    r"""$P(\text{outcome } j \mid \text{state } i)$ of each qubit, row $i$; () is for all others."""
    errors = noise_model.to_dict()["errors"] if noise_model else []
    return {
        tuple(qubits): np.array(error["probabilities"])
        for error in errors
        if error["type"] == "roerror"
        for qubits in error.get("gate_qubits", [()])
    }
