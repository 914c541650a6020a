"""Jobs under way: what was sent to a remote, and is not sent again by a process that resumes.

A job is entered with its circuits and a new tag before it is sent, and with its identifier before
its results are awaited. A process that resumes fetches the results of entered jobs; what was
entered but has no identifier is looked for by its tag.
"""

import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from .executor import AbstractRemote, Job, LostJobError


class SentJobs:
    """The file of jobs that were sent, `jobs.jsonl`; see `delivery.Cached`, which locks its folder.

    Args:
        path: the file. A line has a tag, and the keys of the circuits or the identifier of a job.
    """

    def __init__(self, path: Path):
        self.path = path
        self._keys: dict[str, list[str]] = {}
        self._identifiers: dict[str, str] = {}
        self._tags: dict[str, str] = {}
        if path.exists():
            lines = path.read_bytes().split(b"\n")
            if lines[-1]:  # cut short when the process ended
                os.truncate(path, path.stat().st_size - len(lines[-1]))
            for line in lines[:-1]:
                self._read(line)

    def _read(self, line: bytes) -> None:
        try:
            record = json.loads(line)
            if "job" in record:
                self._identifiers[str(record["tag"])] = str(record["job"])
            else:
                self._enter(str(record["tag"]), [str(key) for key in record["keys"]])
        except (KeyError, RecursionError, TypeError, ValueError):
            return  # what it held is sent again

    def _enter(self, tag: str, keys: Sequence[str]) -> None:
        self._keys[tag] = list(keys)
        self._tags.update(dict.fromkeys(keys, tag))

    def _append(self, record: dict[str, object]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def sample(
        self, remote: AbstractRemote, job: Job, keys: Sequence[str], absent: np.ndarray
    ) -> Float[np.ndarray, "n_absent dim"]:
        """Results of the circuits of a job that are absent, from jobs under way or new ones.

        Args:
            remote: where jobs go.
            job: all circuits.
            keys: of all circuits.
            absent: whether the results of a circuit are needed.

        Raises:
            LostJobError: a job failed; the next call sends its circuits again.
        """
        found = np.zeros((len(job), 2**job.program.n_qubits))
        rows = {key: row for row, key in enumerate(keys)}
        needed = np.array(keys)[absent].tolist()
        under_way = dict.fromkeys(self._tags[key] for key in needed if key in self._tags)
        for tag in [tag for tag in under_way if rows.keys() >= set(self._keys[tag])]:
            own = [rows[key] for key in self._keys[tag]]
            found[own] = self._result(remote, job.part(np.array(own)), tag, new=False)
            needed = [key for key in needed if key not in self._keys[tag]]
        if needed:
            tag, own = uuid.uuid4().hex, [rows[key] for key in needed]
            self._enter(tag, needed)
            self._append({"tag": tag, "keys": needed})
            found[own] = self._result(remote, job.part(np.array(own)), tag, new=True)
        return found[absent]

    def _result(self, remote: AbstractRemote, job: Job, tag: str, *, new: bool) -> np.ndarray:
        if tag not in self._identifiers:
            identifier = (not new and remote.find(tag)) or remote.submit(job, tag)
            self._append({"tag": tag, "job": identifier})
            self._identifiers[tag] = identifier
        try:
            return remote.fetch(self._identifiers[tag], job)
        except LostJobError:
            for key in self._keys.pop(tag):
                self._tags.pop(key, None)
            raise
