"""Executors of Qiskit: Aer with noise, fake devices, and devices behind Qiskit Runtime."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from .._checks import InputError, check_known, missing_extra
from ..quantum.export import Parameterised
from .executor import AbstractExecutor, Job, LostJobError, random
from .on_aer import AerSampler

Sampler = Callable[[Any, np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
"""From a compiled circuit, values of its parameters in each row, shots of each row and random
numbers to the relative frequency of each outcome; bit 0 is the least significant."""
TOKEN, INSTANCE = "QISKIT_IBM_TOKEN", "QISKIT_IBM_INSTANCE"
"""Environment variables with the credentials of Qiskit Runtime; they are not stored."""
NOISE = ("depolarising", "damping", "readout")
"""Kinds of noise of `aer`."""


@dataclass(frozen=True, eq=False)
class OnQiskit(AbstractExecutor):
    """Compiles a gate list once for each setting and runs it with arrays of parameters.

    Args:
        label: see `AbstractExecutor.name`.
        backend: the device that circuits are compiled for.
        sampler: draws outcomes of a compiled circuit, see `Sampler`.
        seed: of simulated outcomes.
        batch: largest number of circuits in a job.
    """

    label: str
    backend: Any
    sampler: Sampler
    seed: int = 0
    batch: int = 300
    _compiled: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        return f"{self.label}, seed {self.seed}"

    def counts(self, job: Job) -> dict[str, int]:
        circuit, _ = self.compiled(job)
        return {"depth": circuit.depth(), "two-qubit gates": circuit.num_nonlocal_gates()}

    def sample(self, job: Job) -> Float[np.ndarray, "n_rows dim"]:
        circuit, parameterised = self.compiled(job)
        values = parameterised.values(job.angles)
        places = {parameter: k for k, parameter in enumerate(parameterised.parameters)}
        values = values[:, [places[parameter] for parameter in circuit.parameters]]
        try:
            frequencies = self.sampler(circuit, values, job.shots, random(self.seed, job))
        except Exception as error:  # every service fails in a way of its own
            raise LostJobError(f"{type(error).__name__}: {error}") from error
        n_qubits = job.program.n_qubits
        index = np.arange(2**n_qubits).reshape((2,) * n_qubits).transpose().reshape(-1)
        return frequencies[:, index]  # Qiskit writes qubit 0 last

    def compiled(self, job: Job) -> tuple[Any, Parameterised]:
        """The circuit of a job compiled for the backend, and before it was compiled."""
        fixed = np.delete(job.angles[0], job.open_slots).tobytes()
        key = (job.program, job.setting, job.open_slots, job.fold, fixed)
        if key not in self._compiled:
            from qiskit.transpiler import generate_preset_pass_manager

            written = Parameterised(job.program, job.angles[0], job.open_slots, job.setting)
            compiler, translator = (
                generate_preset_pass_manager(level, self.backend, seed_transpiler=0)
                for level in (3, 0)
            )
            circuit = compiler.run(written.circuit)
            if job.fold > 1:
                circuit = translator.run(_folded(circuit, job.fold))
            self._compiled[key] = circuit, written
        return self._compiled[key]


def _folded(circuit: Any, fold: int) -> Any:
    """The gates forwards and backwards, with barriers so that compilers do not cancel them."""
    gates, ends = circuit.copy_empty_like(), circuit.copy_empty_like()
    for item in circuit.data:
        is_end = item.operation.name in ("measure", "barrier")
        (ends if is_end else gates).append(item)
    folded = gates.copy()
    for step in range(1, fold):
        folded.barrier()
        folded.compose(gates.inverse() if step % 2 else gates, inplace=True)
    return folded.compose(ends)


def _primitive(sampler: Callable[[], Any]) -> Sampler:
    """A sampler of Qiskit (primitives V2): one request for all circuits with the same shots."""

    def sample(
        circuit: Any, values: np.ndarray, shots: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        different, groups = np.unique(shots, return_inverse=True)
        pubs = [(circuit, values[groups == k], int(n)) for k, n in enumerate(different)]
        frequencies = np.empty((len(values), 2 ** len(circuit.cregs[0])))
        for k, result in enumerate(sampler().run(pubs).result()):
            frequencies[groups == k] = _frequencies(result.data.meas)
        return frequencies

    return sample


def _frequencies(bits: Any) -> Float[np.ndarray, "n_rows dim"]:
    """Relative frequencies of the outcomes; bit 0 is the least significant."""
    n_rows, dim = bits.array.shape[0], 2**bits.num_bits
    outcomes = np.zeros(bits.array.shape[:2], np.int64)
    for byte in np.moveaxis(bits.array, -1, 0):
        outcomes = outcomes * 256 + byte
    outcomes += dim * np.arange(n_rows)[:, None]
    return (
        np.bincount(outcomes.ravel(), minlength=n_rows * dim).reshape(n_rows, dim) / bits.num_shots
    )


def aer(argument: str, seed: int) -> OnQiskit:
    """Qiskit Aer, with noise as in `depolarising=0.01,damping=0.002,readout=0.02`.

    Args:
        argument: probabilities, 0 by default: `depolarising` after a gate on two qubits, a tenth
            of it after a gate on one; `damping` of the amplitude of each qubit after any gate;
            `readout` of 0 as 1 or 1 as 0.
        seed: of the outcomes.

    Raises:
        InputError: the argument is not of that form, or Qiskit Aer is not installed.
    """
    chances = _probabilities(argument)
    _need("qiskit_aer", "the executor `aer`")
    from qiskit_aer import AerSimulator
    from qiskit_aer import noise as models

    basis = ["rz", "sx", "x", "cx"]
    noise = models.NoiseModel(basis_gates=basis)
    depolarising, decay, wrong = (chances[name] for name in NOISE)
    damping = models.amplitude_damping_error(decay)
    one = models.depolarizing_error(depolarising / 10, 1).compose(damping)
    two = models.depolarizing_error(depolarising, 2).compose(damping.tensor(damping))
    noise.add_all_qubit_quantum_error(one, ["sx", "x"])
    noise.add_all_qubit_quantum_error(two, ["cx"])
    noise.add_all_qubit_readout_error(models.ReadoutError([[1 - wrong, wrong], [wrong, 1 - wrong]]))
    return _simulated(f"aer:{argument}", AerSimulator(noise_model=noise, basis_gates=basis), seed)


def fake(argument: str, seed: int) -> OnQiskit:
    """A simulated device with the noise of a former real one, for instance `manila`; offline.

    Raises:
        InputError: there is no such device, or Qiskit Runtime is not installed.
    """
    _need("qiskit_aer", "a fake device")
    providers = _need("qiskit_ibm_runtime", "a fake device").fake_provider
    known = {
        re.sub(r"^Fake|V2$", "", name).lower(): name
        for name in sorted(dir(providers))
        if re.match(r"Fake[A-Z]", name) and hasattr(getattr(providers, name), "target")
    }
    check_known("Fake device", argument, known)
    from qiskit_aer import AerSimulator

    device = getattr(providers, known[argument])()
    return _simulated(f"fake:{argument}", AerSimulator.from_backend(device), seed)


def runtime(argument: str, seed: int) -> OnQiskit:
    """A device behind Qiskit Runtime; the token is read from the environment.

    Raises:
        InputError: there is no token, it is refused, there is no such device, or Qiskit Runtime
            is not installed.
    """
    package = _need("qiskit_ibm_runtime", "a device of Qiskit Runtime")
    token = os.environ.get(TOKEN, "")
    if not token:
        raise InputError(f"Qiskit Runtime needs a token: set the environment variable {TOKEN}.")
    try:
        service = package.QiskitRuntimeService(
            channel="ibm_quantum_platform", token=token, instance=os.environ.get(INSTANCE)
        )
        device = service.backend(argument)
    except Exception as error:  # of many kinds, the text of some with the token in it
        reason = str(error).replace(token, "…").strip().split("\n")[0]
        raise InputError(
            f"Qiskit Runtime refused the token in {TOKEN} or has no device `{argument}`: {reason}"
        ) from None
    sampler = _primitive(lambda: package.SamplerV2(mode=device))
    return OnQiskit(f"runtime:{argument}", device, sampler, seed)


def _simulated(label: str, backend: Any, seed: int) -> OnQiskit:
    return OnQiskit(label, backend, AerSampler(backend), seed)


def _probabilities(argument: str) -> dict[str, float]:
    chances: dict[str, float] = dict.fromkeys(NOISE, 0.0)
    for part in filter(None, argument.split(",")):
        name, _, text = part.partition("=")
        check_known("Noise", name.strip(), chances)
        try:
            chances[name.strip()] = float(text)
        except ValueError:
            raise InputError(f"`{name}` must be a probability, but is `{text}`.") from None
        if not 0 <= chances[name.strip()] <= 1:
            raise InputError(f"`{name}` must be a probability, but is {text}.")
    return chances


def _need(package: str, purpose: str) -> Any:
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError:
        raise missing_extra(package.replace("_", "-"), "qiskit", purpose) from None
