"""Trajectory files: extxyz with energy, forces, momenta and stress, appended frame by frame."""

import errno
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from .._checks import RunError
from .._files import atomic_write
from .state import MDState


def record(
    states: Iterable[MDState], atoms: ase.Atoms, path: Path, kept: int = 0
) -> Iterator[MDState]:
    """Write states to a trajectory file as they come, and pass them on.

    Args:
        states: as from `simulate`.
        atoms: the simulated atoms; elements, masses and which are fixed are taken from them.
        path: an extxyz file, replaced if it exists.
        kept: bytes of the file to keep; further frames are appended.

    Raises:
        RunError: the simulation failed; the frames before are in `path`.
        OSError: the file cannot be written; the frames before are in `path`.
    """
    frame = atoms.copy()
    if kept:
        os.truncate(path, kept)
    else:
        atomic_write(path, "")
    with io.FileIO(path, "a") as trajectory:
        try:
            for state in states:
                set_state(frame, state)
                _append(trajectory, frame)
                yield state
        except RunError as error:
            raise RunError(f"{error} The frames before are in {path}.") from error


def set_state(atoms: ase.Atoms, state: MDState) -> None:
    """Give atoms the positions, momenta, energy and forces of a state, and its cell and stress if
    there is a volume."""
    atoms.positions = np.asarray(state.positions)
    atoms.set_momenta(np.asarray(state.momenta))
    results = {"energy": float(state.energy), "forces": np.asarray(state.forces)}
    if state.cell is not None and state.stress is not None:
        atoms.set_cell(np.asarray(state.cell))
        results["stress"] = np.asarray(state.stress)
    atoms.calc = SinglePointCalculator(atoms, **results)


def read_trajectory(path: Path) -> list[ase.Atoms]:
    """The frames of a trajectory file."""
    import ase.io

    return ase.io.read(path, ":")  # pyright: ignore[reportReturnType]


def _append(trajectory: io.FileIO, atoms: ase.Atoms) -> None:
    """Write one complete frame, or nothing of it."""
    import ase.io

    text = io.StringIO()
    ase.io.write(text, atoms, format="extxyz")
    content = text.getvalue().encode()
    start = trajectory.tell()
    if trajectory.write(content) < len(content):
        trajectory.truncate(start)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
