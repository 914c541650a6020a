"""Executors of Qiskit that simulate: Aer with noise, and fake devices."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from .._checks import InputError, check_known, missing_extra
from .compiling import Compiler
from .executor import AbstractExecutor, Job, LostJobError, random
from .on_aer import AerSampler

Sampler = Callable[[Any, np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
"""From a compiled circuit, values of its parameters in each row, shots of each row and random
numbers to the relative frequency of each outcome; bit 0 is the least significant."""
NOISE = ("depolarising", "damping", "readout")
"""Kinds of noise of `aer`."""


@dataclass(frozen=True, eq=False)
class OnQiskit(AbstractExecutor):
    """Compiles circuits for a simulated device and draws their outcomes.

    Args:
        label: see `AbstractExecutor.name`.
        compiler: of circuits.
        sampler: draws outcomes of a compiled circuit, see `Sampler`.
        seed: of the outcomes.
    """

    label: str
    compiler: Compiler
    sampler: Sampler
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{self.label}, seed {self.seed}"

    def counts(self, job: Job) -> dict[str, int | float]:
        return self.compiler.counts(job)

    def sample(self, job: Job) -> Float[np.ndarray, "n_rows dim"]:
        compiled = self.compiler(job)
        rng = random(self.seed, job)
        try:
            found = self.sampler(compiled.circuit, compiled.values(job), job.shots, rng)
        except Exception as error:  # every simulator fails in a way of its own
            raise LostJobError(f"{type(error).__name__}: {error}") from error
        return in_order(found, job)


def in_order(
    frequencies: Float[np.ndarray, "n_rows dim"], job: Job
) -> Float[np.ndarray, "n_rows dim"]:
    """Frequencies with qubit 0 as the most significant bit; Qiskit writes it last."""
    n_qubits = job.program.n_qubits
    index = np.arange(2**n_qubits).reshape((2,) * n_qubits).transpose().reshape(-1)
    return frequencies[:, index]


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
    need("qiskit_aer", "the executor `aer`")
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
    need("qiskit_aer", "a fake device")
    device = fake_device(need("qiskit_ibm_runtime", "a fake device"), argument)
    from qiskit_aer import AerSimulator

    delay = device.configuration().default_rep_delay
    return _simulated(f"fake:{argument}", AerSimulator.from_backend(device), seed, delay)


def fake_device(package: Any, name: str) -> Any:
    """The fake device of Qiskit Runtime with a name such as `manila`.

    Raises:
        InputError: there is no such device.
    """
    providers = package.fake_provider
    known = {
        re.sub(r"^Fake|V2$", "", name).lower(): name
        for name in sorted(dir(providers))
        if re.match(r"Fake[A-Z]", name) and hasattr(getattr(providers, name), "target")
    }
    check_known("Fake device", name, known)
    return getattr(providers, known[name])()


def _simulated(label: str, backend: Any, seed: int, delay: float | None = None) -> OnQiskit:
    return OnQiskit(label, Compiler(backend, delay), AerSampler(backend), seed)


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


def need(package: str, purpose: str) -> Any:
    """An installed package.

    Raises:
        InputError: it is absent.
    """
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError:
        raise missing_extra(package.replace("_", "-"), "qiskit", purpose) from None
