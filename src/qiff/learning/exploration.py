"""Exploration: dynamics of the present ensemble, and the frames that it leads to."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import ase
import numpy as np
from jaxtyping import Float

from ..dynamics.resume import simulated
from ..dynamics.settings import Dynamics
from ..dynamics.trajectory import read_trajectory
from ..model.ensemble import uncertainty
from ..model.potential import AbstractPotential
from ..training.checkpoint import model_hash
from .selection import broken


class Walk(NamedTuple):
    """One trajectory of an exploration.

    Args:
        frames: recorded before anything was wrong, without the start.
        picoseconds: for how long nothing was wrong.
        reason: what went wrong then; empty if nothing did.
    """

    frames: list[ase.Atoms]
    picoseconds: float
    reason: str


def walk(
    potential: AbstractPotential,
    start: ase.Atoms,
    dynamics: Dynamics,
    path: Path,
    model: Path,
    after_frame: Callable[[int], None] = lambda n_steps: None,
) -> Walk:
    """Simulate and say how long the atoms stay together; a finished trajectory is not repeated.

    Args:
        potential: what moves the atoms.
        start: the initial positions.
        dynamics: what to simulate.
        path: of the trajectory.
        model: file of the potential.
        after_frame: called with the number of steps done.
    """
    origin = {"model_sha256": model_hash(str(model))}
    record = simulated(potential, start, dynamics, path, origin, after_frame)
    _, *frames = read_trajectory(path)
    time = dynamics.timestep * dynamics.interval / 1000
    for index, atoms in enumerate(frames):
        if reason := broken(atoms, start):
            return Walk(frames[:index], index * time, reason)
    return Walk(frames, len(frames) * time, record.get("exploded", ""))


def force_uncertainties(
    ensemble: AbstractPotential, frames: Sequence[ase.Atoms]
) -> Float[np.ndarray, " n_frames"]:
    """Calibrated standard deviation in eV/Å of a force component, on the least certain atom."""
    if not frames:
        return np.zeros(0)
    return np.array([found.forces.max() for found in uncertainty(ensemble, frames)])
