"""A service of Qiskit Runtime in a folder, whose jobs outlive the process that sent them.

    python -m tests.fake_service FOLDER ARGUMENTS OF QIFF

carries out a command of qiff with it. `FOLDER/jobs.txt` has a line for each job that was taken.
"""

import hashlib
import os
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import qiskit_ibm_runtime
import qiskit_ibm_runtime.fake_provider as fake_provider
from qiskit.primitives.containers import BitArray

Local = qiskit_ibm_runtime.SamplerV2


class Job:
    """A job that was taken: its results are there before anybody asks."""

    def __init__(self, folder: Path, identifier: str, wait: float = 0.0):
        self.folder, self.identifier, self.wait = folder, identifier, wait

    def job_id(self) -> str:
        return self.identifier

    def result(self) -> list[Any]:
        time.sleep(self.wait)
        with np.load(self.folder / f"{self.identifier}.npz") as stored:
            bits = [BitArray(stored[name], int(stored["n"])) for name in stored if name != "n"]
        return [SimpleNamespace(data=SimpleNamespace(meas=of)) for of in bits]

    def in_final_state(self) -> bool:
        return True

    def done(self) -> bool:
        return True


class Service:
    """Stands for `QiskitRuntimeService`."""

    def __init__(self, folder: Path, wait: float = 0.0):
        self.folder, self.wait = folder, wait
        self.device = fake_provider.FakeManilaV2()
        folder.mkdir(exist_ok=True)

    @property
    def taken(self) -> list[tuple[str, str]]:
        """Identifier and tag of every job."""
        path = self.folder / "jobs.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(identifier, tag) for identifier, _, tag in (line.partition(" ") for line in lines)]

    def backend(self, name: str) -> Any:
        assert name == "ibm_manila"
        return self.device

    def job(self, identifier: str) -> Job:
        if identifier not in dict(self.taken):
            raise qiskit_ibm_runtime.RuntimeJobNotFound(identifier)
        return Job(self.folder, identifier, self.wait)

    def jobs(self, job_tags: list[str], limit: int) -> list[Job]:
        return [self.job(identifier) for identifier, tag in self.taken if [tag] == job_tags][:limit]

    def run(self, pubs: list[Any], tag: str) -> Job:
        """Take a job; outcomes depend on circuits alone."""
        content = b"".join(values.tobytes() + bytes([shots % 256]) for _, values, shots in pubs)
        seed = int.from_bytes(hashlib.sha256(content).digest()[:4], "big") // 2
        sampler = Local(mode=self.device, options={"simulator": {"seed_simulator": seed}})
        bits = [result.data.meas for result in sampler.run(pubs).result()]
        identifier = f"job{len(self.taken)}"
        arrays = {f"pub{k}": of.array for k, of in enumerate(bits)}
        np.savez(self.folder / f"{identifier}.npz", n=bits[0].num_bits, **arrays)
        with (self.folder / "jobs.txt").open("a") as file:
            file.write(f"{identifier} {tag}\n")
            file.flush()
            os.fsync(file.fileno())
        time.sleep(self.wait)  # the identifier is on its way
        return Job(self.folder, identifier, self.wait)


def install(service: Service, patch: Any) -> None:
    """Put a service in place of that of Qiskit Runtime."""

    def sampler(mode: Any, options: dict[str, Any]) -> Any:
        if mode is not service.device:
            return Local(mode=mode, options=options)
        assert set(options) == {"environment"}
        (tag,) = options["environment"]["job_tags"] or [""]
        return SimpleNamespace(run=lambda pubs: service.run(pubs, tag))

    def connect(**arguments: Any) -> Service:
        assert arguments["token"] == os.environ["QISKIT_IBM_TOKEN"]
        return service

    patch(qiskit_ibm_runtime, "QiskitRuntimeService", connect)
    patch(qiskit_ibm_runtime, "SamplerV2", sampler)


if __name__ == "__main__":
    from qiff.cli import main

    warnings.simplefilter("ignore", DeprecationWarning)
    install(Service(Path(sys.argv[1]), wait=0.1), setattr)
    sys.exit(main(sys.argv[2:]))
