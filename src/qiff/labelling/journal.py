"""Journals: results of a long computation, kept one by one, so that it resumes after a kill.

A journal is a file of JSON lines. The first says which computation it is of; then there is one line
for each structure, with its labels or the reason why it has none. The lines may have any order;
the first of a key counts. A last line that was cut short is dropped.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.jsonio import decode, encode

from .._checks import InputError, RunError
from .._files import atomic_write
from ..atoms.properties import labels

ELECTRONS = ("charge", "multiplicity")
"""Keys in `info` of a structure on which its labels depend."""

Outcome = ase.Atoms | str
"""A labelled structure, or the reason why it has no labels."""

Key = int | str
"""What tells structures apart: an index, or a hash of the geometry."""


class Journal(NamedTuple):
    """What a computation has found so far.

    Args:
        path: of the file.
        start: structures that were computed before the first result.
        frames: labelled structures by key.
        failures: reasons of those that could not be labelled, by key.
    """

    path: Path
    start: list[ase.Atoms]
    frames: dict[Key, ase.Atoms]
    failures: dict[Key, str]

    def n_done(self) -> int:
        """How many have an outcome."""
        return len(self.frames) + len(self.failures)

    def missing(self, items: Iterable[tuple[Key, ase.Atoms]]) -> dict[Key, ase.Atoms]:
        """Structures without an outcome, by key."""
        done = self.frames.keys() | self.failures.keys()
        return {key: atoms for key, atoms in items if key not in done}

    def record(
        self,
        n_total: int,
        outcomes: Iterable[tuple[Key, Outcome]],
        after_label: Callable[[int], None],
    ) -> None:
        """Write outcomes as they arrive, each of them for good.

        Args:
            n_total: how many there are in the end.
            outcomes: by key, in any order.
            after_label: called with the number of those that are done, first of those that
                already were.

        Raises:
            RunError: some did not arrive.
        """
        after_label(self.n_done())
        with self.path.open("a", encoding="utf-8") as lines:
            for index, outcome in outcomes:
                if isinstance(outcome, str):
                    self.failures[index] = outcome
                    record = {"index": index, "failure": outcome}
                else:
                    self.frames[index] = outcome
                    record = {"index": index, "frame": _pack(outcome)}
                lines.write(_line(record))
                lines.flush()
                os.fsync(lines.fileno())
                after_label(self.n_done())
        if self.n_done() < n_total:
            raise RunError(
                f"{self.path}: {self.n_done()} of {n_total} frames were labelled; run the same "
                "command again for the others."
            )


def journal_of(path: Path) -> Path:
    """The journal of a data set while it is computed."""
    return path.with_name(path.name + ".part")


def open_journal(
    path: Path,
    provenance: Mapping[str, Any],
    start: Callable[[], Sequence[ase.Atoms]] = tuple,
) -> Journal:
    """The journal of a computation, a new one if there is none.

    Args:
        path: of the file.
        provenance: what makes it this computation and no other, as JSON.
        start: computes what a new journal begins with.

    Raises:
        InputError: the file is no journal, or that of another computation.
    """
    if not path.exists():
        begun = [_pack(atoms) for atoms in start()]
        atomic_write(path, _line({"provenance": provenance, "start": begun}))
    try:
        text = path.read_text("utf-8")
        whole = text[: text.rfind("\n") + 1]  # a last line may have been cut short by a kill
        header, *records = map(_parsed, whole.splitlines())
        begun = [_unpack(packed) for packed in header["start"]]
        first = {_key(record["index"]): record for record in reversed(records)}
        failures = {i: str(r["failure"]) for i, r in first.items() if "failure" in r}
        frames = {i: _unpack(r["frame"]) for i, r in first.items() if i not in failures}
    except (json.JSONDecodeError, KeyError, TypeError, ValueError):
        raise InputError(f"{path}: is not a partial data set; delete it first.") from None
    if header.get("provenance") != _parsed(encode(provenance)):
        raise InputError(f"{path}: belongs to a computation with other settings; delete it first.")
    os.truncate(path, len(whole.encode()))
    return Journal(path, begun, frames, failures)


def geometry_hash(frames: Iterable[ase.Atoms]) -> str:
    """SHA-256 of elements, positions, cells, charges and multiplicities."""
    digest = hashlib.sha256()
    for atoms in frames:
        for values in (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc):
            digest.update(np.ascontiguousarray(values).tobytes())
        digest.update(repr([atoms.info.get(k) for k in ELECTRONS]).encode())
    return digest.hexdigest()


def _key(value: Any) -> Key:
    if type(value) not in (int, str):
        raise TypeError(value)
    return value


def _line(record: Mapping[str, Any]) -> str:
    return encode(record) + "\n"


def _parsed(line: str) -> Any:
    return decode(line, always_array=False)


def _pack(atoms: ase.Atoms) -> dict[str, Any]:
    """A frame with all its results."""
    return {"atoms": atoms.todict(), "results": dict(labels(atoms))}


def _unpack(packed: Mapping[str, Any]) -> ase.Atoms:
    atoms = ase.Atoms.fromdict(packed["atoms"])
    if packed["results"]:
        atoms.calc = SinglePointCalculator(atoms, **packed["results"])
    return atoms
