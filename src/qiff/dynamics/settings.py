"""The settings of a simulation."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from .._checks import check_at_least, check_known, check_positive, check_seed
from .thermostats import ENSEMBLES


@dataclass(frozen=True)
class Dynamics:
    """What is simulated.

    Args:
        ensemble: statistical ensemble, such as nve (constant energy) or nvt (constant
            temperature).
        temperature: K; the velocities at the start are drawn from it.
        timestep: fs.
        steps: number of time steps.
        interval: time steps between recorded states.
        friction: 1/fs, of the thermostat.
        seed: of the random velocities and the thermostat.

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

    def __post_init__(self):
        check_known("Statistical ensemble", self.ensemble, ENSEMBLES)
        check_at_least("temperature", self.temperature, 0)
        check_positive("timestep", self.timestep)
        check_at_least("steps", self.steps, 1)
        check_at_least("interval", self.interval, 1)
        check_positive("friction", self.friction)
        check_seed(self.seed)

    @property
    def isolated(self) -> bool:
        """Whether the ensemble conserves energy and total momentum."""
        return ENSEMBLES[self.ensemble].isolated

    @property
    def recorded(self) -> Int[np.ndarray, " n_frames"]:
        """Steps after which a state is recorded, the first and last among them."""
        return np.array([*range(0, self.steps, self.interval), self.steps])
