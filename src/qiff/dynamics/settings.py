"""The settings of a simulation."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from .._checks import check_at_least, check_finite, check_known, check_positive, check_seed
from .barostats import BAROSTATS
from .thermostats import ENSEMBLES

VELOCITIES = ("drawn", "file")
"""Where the velocities at the start come from: drawn at random, or momenta of the file."""


@dataclass(frozen=True)
class Dynamics:
    """What is simulated.

    Args:
        ensemble: statistical ensemble: nve (constant energy), nvt (constant temperature) or npt
            (constant temperature and pressure, of periodic systems).
        temperature: K; the velocities at the start are drawn from it.
        timestep: fs.
        steps: number of time steps.
        interval: time steps between recorded states.
        friction: 1/fs, of the thermostat.
        seed: of the random velocities, the thermostat and the barostat.
        pressure: GPa, of npt.
        barostat_time: fs in which the barostat of npt lets the pressure relax, if the
            compressibility is right.
        compressibility: 1/GPa, of the simulated matter, here water; a rough value is enough, for
            it only changes how fast the volume relaxes.
        coupling: how the barostat of npt changes the cell, a key of `BAROSTATS`.
        velocities: at the start, a key of `VELOCITIES`: drawn at random or the momenta of the file.

    Raises:
        InputError: the ensemble is not known or a number is outside its range.
    """

    ensemble: str = "nve"
    temperature: float = 300.0
    timestep: float = 0.5
    steps: int = 4000
    interval: int = 10
    friction: float = 0.01
    seed: int = 0
    pressure: float = 0.0
    barostat_time: float = 1000.0
    compressibility: float = 0.46
    coupling: str = "isotropic"
    velocities: str = "drawn"

    def __post_init__(self):
        check_known("Statistical ensemble", self.ensemble, ENSEMBLES)
        check_at_least("temperature", self.temperature, 0)
        check_positive("timestep", self.timestep)
        check_at_least("steps", self.steps, 1)
        check_at_least("interval", self.interval, 1)
        check_positive("friction", self.friction)
        check_seed(self.seed)
        check_finite("pressure", self.pressure)
        check_positive("barostat_time", self.barostat_time)
        check_positive("compressibility", self.compressibility)
        check_known("Coupling", self.coupling, BAROSTATS)
        check_known("Source of velocities", self.velocities, VELOCITIES)

    @property
    def isolated(self) -> bool:
        """Whether the ensemble conserves energy and total momentum."""
        return ENSEMBLES[self.ensemble].isolated

    @property
    def constant_pressure(self) -> bool:
        """Whether a barostat changes the cell."""
        return ENSEMBLES[self.ensemble].constant_pressure

    @property
    def recorded(self) -> Int[np.ndarray, " n_frames"]:
        """Steps after which a state is recorded, the first and last among them."""
        return np.array([*range(0, self.steps, self.interval), self.steps])
