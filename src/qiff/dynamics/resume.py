"""Simulations that can be resumed: a checkpoint beside the trajectory, continued bit for bit.

A checkpoint has the last recorded state and how its neighbours were listed, for the order of a sum
over neighbours counts in its last digits; what was recorded so far; and the size of the trajectory
then, to which it is cut before it grows again.
"""

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import ase
import jax
import numpy as np

from .._archive import check_unchanged, read_archive, write_archive
from .._checks import InputError, RunError, check_at_least
from .._files import locked, read_record, save_record
from ..model.potential import AbstractPotential
from .forces import Listing
from .integrator import CompiledIntegrator, Restart
from .settings import Dynamics
from .simulate import simulate
from .state import MDState
from .statistics import DynamicsReport, Sample, report_of, sampler, save_statistics
from .trajectory import record
from .velocities import fixed_atoms

CHECKPOINT = ".checkpoint.npz"
"""Ends the name of a checkpoint, instead of the suffix of the trajectory."""
_FORMAT, _UNCHECKED = "qiff dynamics 2", "qiff dynamics 1"  # the second without a checksum
_STATE = tuple(field.name for field in fields(MDState))
_SECONDS = 5.0  # between checkpoints; the last is written at the end or on an interrupt


class Checkpoint(NamedTuple):
    """From what a simulation is resumed.

    Args:
        restart: the last state that was recorded at a multiple of the interval, so that a longer
            simulation records it as well.
        samples: of it and all recorded states before.
        total_momenta: of the same states.
        size: bytes of the trajectory up to it.
    """

    restart: Restart
    samples: list[Sample]
    total_momenta: list[np.ndarray]
    size: int


def checkpoint_path(path: Path) -> Path:
    """The checkpoint of a trajectory."""
    return path.with_suffix(CHECKPOINT)


def run_resumable(
    potential: AbstractPotential,
    atoms: ase.Atoms,
    dynamics: Dynamics,
    path: Path,
    after_frame: Callable[[int], None] = lambda n_steps: None,
    *,
    resume: bool = False,
) -> tuple[list[Sample], DynamicsReport]:
    """Run dynamics as `run_dynamics` does, with a checkpoint beside the trajectory.

    Args:
        potential: any potential.
        atoms: see `simulate`.
        dynamics: what to simulate. A simulation may be resumed with more steps.
        path: of the trajectory (extxyz), replaced if it exists unless it is resumed.
        after_frame: called with the number of steps done whenever a frame was written.
        resume: whether to continue from the checkpoint. The files are then byte for byte those of
            a simulation without interruption on the same machine.

    Returns:
        Time, energies and temperature of the recorded states, and a summary.

    Raises:
        InputError: see `simulate`; there is no checkpoint, it is of another simulation, or another
            process writes the trajectory.
        RunError: the dynamics exploded; the frames before are in `path`.
    """
    with locked(path):
        return _run_resumable(potential, atoms, dynamics, path, after_frame, resume)


def _run_resumable(
    potential: AbstractPotential,
    atoms: ase.Atoms,
    dynamics: Dynamics,
    path: Path,
    after_frame: Callable[[int], None],
    resume: bool,
) -> tuple[list[Sample], DynamicsReport]:
    """See `run_resumable`; the trajectory is locked."""
    origin, integrator = origin_of(potential, atoms, dynamics), CompiledIntegrator()
    done = None
    if resume:
        done = read_checkpoint(path, origin, dynamics)
        integrator = CompiledIntegrator(done.restart)
    states, sample = simulate(potential, atoms, dynamics, integrator), sampler(atoms, dynamics)
    samples = list(done.samples) if done else []
    total_momenta = list(done.total_momenta) if done else []
    pending, saved = None, -np.inf

    def save(restart: Restart, n: int, size: int) -> None:
        _save(path, Checkpoint(restart, samples[:n], total_momenta[:n], size), origin)

    try:
        for state in record(states, atoms, path, done.size if done else 0):
            samples.append(sample(state))
            total_momenta.append(np.asarray(state.momenta).sum(0))
            if integrator.last and int(state.step) % dynamics.interval == 0:
                pending = integrator.last, len(samples), path.stat().st_size
            if pending and time.monotonic() - saved > _SECONDS:
                save(*pending)
                pending, saved = None, time.monotonic()
            after_frame(int(state.step))
    except RunError:
        checkpoint_path(path).unlink(missing_ok=True)
        pending = None
        raise
    finally:
        if pending:
            save(*pending)
    return samples, report_of(samples, total_momenta, atoms, dynamics)


def simulated(
    potential: AbstractPotential,
    start: ase.Atoms,
    dynamics: Dynamics,
    path: Path,
    origin: Mapping[str, Any],
    after_frame: Callable[[int], None] = lambda n_steps: None,
) -> dict[str, Any]:
    """The record of a trajectory, simulated unless there is one, or resumed if it was begun.

    Args:
        potential: any potential.
        start: see `simulate`.
        dynamics: what to simulate.
        path: of the trajectory; its record and table are written beside it.
        origin: which model it is; goes into the record.
        after_frame: called with the number of steps done.

    Returns:
        See `save_statistics`; or settings, origin and the error of an explosion as `exploded`.

    Raises:
        InputError: see `simulate`; the trajectory is of another model or other dynamics.
    """
    wanted, defaults = {**asdict(dynamics), **origin}, asdict(Dynamics())
    before = read_record(path.with_suffix(".json"))
    if before and path.exists():
        if any(before.get(key, defaults.get(key)) != value for key, value in wanted.items()):
            raise InputError(
                f"{path}: is of another model or other dynamics; choose another --out."
            )
        return before
    after_frame(0)
    begun = path.exists() and checkpoint_path(path).exists()
    try:
        samples, report = run_resumable(potential, start, dynamics, path, after_frame, resume=begun)
    except RunError as error:
        return save_record(path.with_suffix(".json"), {**wanted, "exploded": str(error)})
    return save_statistics(path, dynamics, samples, report, origin)


def origin_of(potential: AbstractPotential, atoms: ase.Atoms, dynamics: Dynamics) -> dict[str, Any]:
    """What a simulation is determined by, apart from its length: settings, and hashes."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(potential)]
    start = [atoms.numbers, atoms.positions, atoms.get_masses(), atoms.cell.array, atoms.pbc]
    start += [fixed_atoms(atoms)]
    if dynamics.velocities == "file":
        start += [atoms.get_momenta()]
    settings = {name: value for name, value in asdict(dynamics).items() if name != "steps"}
    return {"model": _hash(repr(potential.config()), leaves), "start": _hash("", start), **settings}


def _hash(text: str, arrays: list[np.ndarray]) -> str:
    digest = hashlib.sha256(text.encode())
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def _save(path: Path, checkpoint: Checkpoint, origin: Mapping[str, Any]) -> None:
    """Write a checkpoint, after the frames that it counts on."""
    with path.open("rb") as trajectory:
        os.fsync(trajectory.fileno())
    (state, listing), samples, total_momenta, size = checkpoint
    header = {"format": _FORMAT, "skin": listing.skin, "width": listing.width, "size": size}
    rows = [[value for value in sample if value is not None] for sample in samples]
    arrays = {
        **{f"state.{name}": getattr(state, name) for name in _STATE},
        "listing.positions": listing.positions,
        "listing.cell": listing.cell,
        "samples": np.array(rows),
        "total_momenta": np.array(total_momenta),
    }
    there = {name: np.asarray(value) for name, value in arrays.items() if value is not None}
    write_archive(checkpoint_path(path), {**header, "origin": dict(origin)}, there)


def read_checkpoint(path: Path, origin: Mapping[str, Any], dynamics: Dynamics) -> Checkpoint:
    """The checkpoint of a trajectory.

    Args:
        path: of the trajectory.
        origin: what the simulation must have been determined by, see `origin_of`.
        dynamics: for its number of steps.

    Raises:
        InputError: there is none, it cannot be read, it is of another simulation or a longer one,
            or the trajectory has been cut.
    """
    file = checkpoint_path(path)
    if not file.exists():
        raise InputError(f"{path}: cannot resume, there is no checkpoint {file.name} beside it.")
    archive = read_archive(file)
    check_unchanged(file, archive, required=archive.header.get("format") != _UNCHECKED)
    try:
        found, checkpoint = _checkpoint(archive.header, archive.arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{file}: is not a checkpoint of this version; start anew (--overwrite)."
        ) from error
    for name, value in origin.items():
        if found.get(name) != value:
            what = {"model": "the model", "start": "the start"}.get(name, f"`{name}`")
            was = "" if what[0] != "`" else f", which was {found.get(name)} and is {value}"
            raise InputError(f"{path}: cannot resume, {what} is not what it began with{was}.")
    check_at_least("steps", dynamics.steps, int(checkpoint.restart.state.step))
    if not path.exists() or path.stat().st_size < checkpoint.size:
        raise InputError(f"{path}: cannot resume, frames that the checkpoint counts on are gone.")
    return checkpoint


def _checkpoint(
    header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> tuple[dict[str, Any], Checkpoint]:
    """What the simulation of a checkpoint was determined by, and the checkpoint."""
    if header["format"] not in (_FORMAT, _UNCHECKED):
        raise ValueError(header["format"])
    found, skin, width, size = (header[name] for name in ("origin", "skin", "width", "size"))
    state = MDState(**{name: arrays.get(f"state.{name}") for name in _STATE})  # pyright: ignore[reportArgumentType]
    positions, cell = arrays["listing.positions"], arrays.get("listing.cell")
    samples = [Sample(*row) for row in arrays["samples"].tolist()]
    shapes = [arrays[f"state.{name}"].shape for name in _STATE[:6]]
    if shapes != [*[positions.shape] * 2, (), positions.shape, (), ()]:
        raise ValueError(shapes)
    restart = Restart(state, Listing(positions, cell, float(skin), int(width)))
    return dict(found), Checkpoint(restart, samples, list(arrays["total_momenta"]), int(size))
