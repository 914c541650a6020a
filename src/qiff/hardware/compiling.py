"""Circuits of Qiskit compiled for a device: once for each gate list, with arrays of parameters."""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from .._types import Qubits
from ..quantum.export import Parameterised
from .executor import Job


class Compiled(NamedTuple):
    """A compiled circuit.

    Args:
        circuit: of Qiskit.
        written: before it was compiled.
    """

    circuit: Any
    written: Parameterised

    @property
    def places(self) -> Qubits:
        """The qubit of the device that each qubit is read on."""
        find = self.circuit.find_bit
        read = [item for item in self.circuit.data if item.operation.name == "measure"]
        found = {find(item.clbits[0]).index: find(item.qubits[0]).index for item in read}
        return tuple(found[bit] for bit in sorted(found))

    def values(self, job: Job) -> Float[np.ndarray, "n_rows n_parameters"]:
        """Values of the parameters of the circuit for the rows of a job."""
        places = {parameter: k for k, parameter in enumerate(self.written.parameters)}
        columns = [places[parameter] for parameter in self.circuit.parameters]
        return self.written.values(job.angles)[:, columns]


@dataclass(frozen=True, eq=False)
class Compiler:
    """Compiles a gate list once for each setting.

    What differs in `fold` or `flips` alone is compiled once and then changed, so that it uses the
    same qubits of the device.

    Args:
        backend: the device.
        delay: between two shots, in seconds; None without timing data.
    """

    backend: Any
    delay: float | None = None
    _compiled: dict[Any, Compiled] = field(default_factory=dict, repr=False)

    def __call__(self, job: Job) -> Compiled:
        """The circuit of a job."""
        fixed = sorted({*job.program.read_slots()} - {*job.open_slots})
        at = (np.round(job.angles[0, fixed], 12) + 0.0).tobytes()
        where = job.placed_as and self(job.placed_as).places
        key = (job.program, job.setting, job.open_slots, job.fold, where, at)
        if key not in self._compiled:
            changed = job.fold > 1 or job.setting.flips
            self._compiled[key] = self._changed(job) if changed else self._new(job)
        return self._compiled[key]

    def counts(self, job: Job) -> dict[str, int | float]:
        """See `AbstractExecutor.counts`."""
        circuit = self(job).circuit
        counts = {"depth": circuit.depth(), "two-qubit gates": circuit.num_nonlocal_gates()}
        if self.delay is None:
            return counts
        length = circuit.estimate_duration(self.backend.target, unit="s")
        return counts | {"seconds for a shot": self.delay + length}

    def _new(self, job: Job) -> Compiled:
        written = Parameterised(job.program, job.angles[0], job.open_slots, job.setting)
        if job.placed_as:
            places = list(self(job.placed_as).places)
            return Compiled(self._passes(0, initial_layout=places).run(written.circuit), written)
        return Compiled(self._passes(3).run(written.circuit), written)

    def _changed(self, job: Job) -> Compiled:
        setting = job.setting
        plain = self(replace(job, setting=replace(setting, flips=0), fold=1))
        flipped = [plain.places[qubit] for qubit in setting.flipped]
        circuit = self._passes(0).run(_changed(plain.circuit, job.fold, flipped))
        return Compiled(circuit, plain.written)

    def _passes(self, level: int, **options: Any) -> Any:
        from qiskit.transpiler import generate_preset_pass_manager

        return generate_preset_pass_manager(level, self.backend, seed_transpiler=0, **options)


def _changed(circuit: Any, fold: int, flipped: list[int]) -> Any:
    """The gates forwards and backwards, with barriers so that compilers do not cancel them.

    Args:
        circuit: with measurements at its end.
        fold: see `Job`.
        flipped: qubits that are flipped before they are read.
    """
    gates, ends = circuit.copy_empty_like(), circuit.copy_empty_like()
    for item in circuit.data:
        is_end = item.operation.name in ("measure", "barrier")
        (ends if is_end else gates).append(item)
    folded = gates.copy()
    for step in range(1, fold):
        folded.barrier()
        folded.compose(gates.inverse() if step % 2 else gates, inplace=True)
    if flipped:
        folded.x(flipped)
    return folded.compose(ends)
