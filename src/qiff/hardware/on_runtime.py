"""Executors of Qiskit Runtime: real devices, and fake ones in its local testing mode."""

import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from .._checks import InputError, RunError, check_known
from .compiling import Compiler
from .executor import AbstractExecutor, AbstractRemote, Job, Limits, LostJobError, random
from .on_qiskit import fake_device, in_order, need

TOKEN, INSTANCE = "QISKIT_IBM_TOKEN", "QISKIT_IBM_INSTANCE"
"""Environment variables with the credentials of Qiskit Runtime; they are not stored."""
EXECUTIONS = 10_000_000
"""Largest number of shots of all circuits of a job of a sampler, see
https://quantum.cloud.ibm.com/docs/guides/job-limits."""
DELAY = 250e-6
"""Seconds between two shots where the device does not say."""
MODES = {"job": "", "batch": "Batch", "session": "Session"}
"""How jobs are queued: each by itself, or in a class of Qiskit Runtime."""


class Device(NamedTuple):
    """All in which a real device and a fake one differ.

    Args:
        backend: what circuits are compiled for and sent to.
        job: the job with an identifier.
        tagged: jobs with a tag.
        options: of the sampler, from a seed.
    """

    backend: Any
    job: Callable[[str], Any]
    tagged: Callable[[str], list[Any]]
    options: Callable[[int], dict[str, Any]]


@dataclass(frozen=True, eq=False)
class OnRuntime(AbstractExecutor, AbstractRemote):
    """Sends circuits to a sampler of Qiskit Runtime (primitives V2).

    Args:
        label: see `AbstractExecutor.name`.
        device: see `Device`.
        mode: a key of `MODES`.
        seed: of outcomes of fake devices.
    """

    label: str
    device: Device
    mode: str = "job"
    seed: int = 0
    compiler: Compiler = field(init=False, repr=False)
    limits: Limits = field(init=False)
    _open: list[Any] = field(default_factory=list, repr=False)
    _running: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self):
        given = self.device.backend.configuration()
        delay = getattr(given, "default_rep_delay", None)
        compiler = Compiler(self.device.backend, DELAY if delay is None else delay)
        object.__setattr__(self, "compiler", compiler)
        shots = getattr(given, "max_shots", None) or EXECUTIONS
        circuits = self.device.backend.max_circuits or Limits().circuits
        limits = Limits(circuits, shots, EXECUTIONS, alike=True)
        object.__setattr__(self, "limits", limits)

    @property
    def name(self) -> str:
        return f"{self.label}, seed {self.seed}"

    @property
    def remote(self) -> AbstractRemote:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self

    def counts(self, job: Job) -> dict[str, int | float]:
        return self.compiler.counts(job)

    def sample(self, job: Job) -> Float[np.ndarray, "n_rows dim"]:
        return self.fetch(self.submit(job, ""), job)

    def submit(self, job: Job, tag: str) -> str:
        compiled = self.compiler(job)
        pub = compiled.circuit, compiled.values(job), int(job.shots[0])
        seed = int(random(self.seed, job).integers(2**31))
        options = {"environment": {"job_tags": [tag] if tag else []}}
        try:
            sampler = self._sampler(options | self.device.options(seed))
            sent = sampler.run([pub])
        except Exception as error:  # of many kinds
            self._open.clear()  # it may be closed
            raise LostJobError(_told(error)) from error
        self._running[sent.job_id()] = sent
        return sent.job_id()

    def find(self, tag: str) -> str:
        try:
            return next((job.job_id() for job in self.device.tagged(tag)), "")
        except Exception as error:  # of many kinds
            raise LostJobError(_told(error)) from error

    def fetch(self, identifier: str, job: Job) -> Float[np.ndarray, "n_rows dim"]:
        try:
            sent = self._running.pop(identifier, None) or self.device.job(identifier)
            (result,) = _awaited(sent)
        except LostJobError:
            raise
        except Exception as error:  # of many kinds
            raise RunError(
                f"the results of job {identifier} could not be fetched ({_told(error)}); run the "
                "same command again: it is not sent a second time."
            ) from error
        return in_order(frequencies_of(result.data.meas), job)

    def _sampler(self, options: dict[str, Any]) -> Any:
        """A sampler in the mode, which is opened on first use and closed with this process."""
        package, kind = need("qiskit_ibm_runtime", "a device of Qiskit Runtime"), MODES[self.mode]
        if kind and not self._open:
            opened = getattr(package, kind)(backend=self.device.backend)
            weakref.finalize(self, opened.close)
            self._open.append(opened)
        return package.SamplerV2(mode=[*self._open, self.device.backend][0], options=options)


def _awaited(sent: Any) -> Any:
    """Results of a job of the runtime.

    Raises:
        LostJobError: it failed.
    """
    try:
        return sent.result()
    except Exception as error:  # of many kinds
        if sent.in_final_state() and not sent.done():
            raise LostJobError(_told(error)) from error
        raise


def _told(error: Exception) -> str:
    """Kind and first line of an error, without the token."""
    text = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {_without_token(text)}"


def _without_token(text: str) -> str:
    token = os.environ.get(TOKEN, "")
    return text.replace(token, "…") if token else text


def frequencies_of(bits: Any) -> Float[np.ndarray, "n_rows dim"]:
    """Relative frequencies of the outcomes; bit 0 is the least significant."""
    n_rows, dim = bits.array.shape[0], 2**bits.num_bits
    outcomes = np.zeros(bits.array.shape[:2], np.int64)
    for byte in np.moveaxis(bits.array, -1, 0):
        outcomes = outcomes * 256 + byte
    outcomes += dim * np.arange(n_rows)[:, None]
    return (
        np.bincount(outcomes.ravel(), minlength=n_rows * dim).reshape(n_rows, dim) / bits.num_shots
    )


def runtime(argument: str, seed: int) -> OnRuntime:
    """A device behind Qiskit Runtime, or a fake one in its local testing mode.

    Args:
        argument: name of the device, for instance `ibm_torino` or `fake_manila`, and after a comma
            a key of `MODES`. Fake devices need no account, others a token, which is read from the
            environment.
        seed: of outcomes of fake devices.

    Raises:
        InputError: there is no token, it is refused, there is no such device or mode, or Qiskit
            Runtime is not installed.
    """
    name, _, mode = argument.partition(",")
    mode = mode or "job"
    check_known("Mode", mode, MODES)
    package = need("qiskit_ibm_runtime", "a device of Qiskit Runtime")
    find = _local if name.startswith("fake_") else _real
    return OnRuntime(f"runtime:{name}", find(package, name), mode, seed)


def _local(package: Any, name: str) -> Device:
    need("qiskit_aer", "a fake device")

    def gone(identifier: str) -> Any:
        raise LostJobError(f"job {identifier} ended with the process that simulated it")

    options = lambda seed: {"simulator": {"seed_simulator": seed}}
    return Device(fake_device(package, name.removeprefix("fake_")), gone, lambda tag: [], options)


def _real(package: Any, name: str) -> Device:
    token = os.environ.get(TOKEN, "")
    if not token:
        raise InputError(f"Qiskit Runtime needs a token: set the environment variable {TOKEN}.")
    try:
        service = package.QiskitRuntimeService(
            channel="ibm_quantum_platform", token=token, instance=os.environ.get(INSTANCE)
        )
        backend = service.backend(name)
    except Exception as error:  # of many kinds, the text of some with the token in it
        reason = _without_token(str(error).strip().split("\n")[0])
        raise InputError(
            f"Qiskit Runtime refused the token in {TOKEN} or has no device `{name}`: {reason}"
        ) from None

    def job(identifier: str) -> Any:
        try:
            return service.job(identifier)
        except package.RuntimeJobNotFound as error:
            raise LostJobError(str(error)) from error

    return Device(backend, job, lambda tag: service.jobs(job_tags=[tag], limit=1), lambda seed: {})
