"""How a potential is fitted: one frozen record."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from .._checks import InputError, check_at_least, check_known, check_positive, check_size
from .._types import AnyArray
from ..atoms.properties import PROPERTIES
from ..model.potential import AbstractPotential
from .gradients import GRADIENTS
from .loss import Loss
from .optimisers import OPTIMISERS, SCHEDULES, clipped


@dataclass(frozen=True)
class Training:
    """How a potential is fitted.

    Args:
        steps: optimiser steps.
        batch_size: configurations per step; the whole training part if that is smaller.
        optimiser: a key of `OPTIMISERS`.
        learning_rate: at the start of the schedule.
        schedule: a key of `SCHEDULES`: how the learning rate changes with the steps.
        clip: largest norm of a gradient; longer ones are scaled down to it.
        average: decay per step of the exponential moving average of the weights, which is what
            is validated and kept; 0 turns it off. At step $n$ it is at most $(1 + n)/(10 + n)$,
            so that the initial weights are soon forgotten.
        evaluate_every: steps between validations, after each of which a fit can be resumed.
        patience: validations without improvement after which to stop; 0 never stops early.
        energy_weight, forces_weight, stress_weight: see `Loss`; without labels, they must be 0.
        per_atom: whether the error of the energy is divided by the number of atoms, so that
            configurations of different sizes count alike; see `Loss`.
        huber: errors times the square root of their weight that are larger than this count
            linearly instead of quadratically; 0 for squares throughout. See `Loss`.
        fit_references: whether errors of energies are those beyond the reference energies that fit
            each batch best; for data of many molecules. See `Loss`.
        shot_weight: of the expected mean square error of measured forces, in the inverse square of
            eV/Å, if every configuration is measured with `STATED_SHOTS` shots; see `ShotCost`. At
            0 nothing of it is computed; at `forces_weight` the loss is the one that is expected
            of measured forces.
        shot_circuits: shifted circuits that are drawn at random for each configuration and step,
            from which that error is estimated.
        gradient: a key of `GRADIENTS`: how the gradient of the loss is estimated.
        perturbation: by how much `spsa` changes every weight.

    Raises:
        InputError: a name is unknown or a number out of its range.
    """

    steps: int = 3000
    batch_size: int = 64
    optimiser: str = "adam"
    learning_rate: float = 0.05
    schedule: str = "cosine"
    clip: float = 10.0
    average: float = 0.99
    evaluate_every: int = 100
    patience: int = 0
    energy_weight: float = 1.0
    forces_weight: float = 1.0
    stress_weight: float = 0.0
    per_atom: bool = False
    huber: float = 0.0
    fit_references: bool = False
    shot_weight: float = 0.0
    shot_circuits: int = 16
    gradient: str = "derivative"
    perturbation: float = 0.05

    def __post_init__(self):
        check_size("steps", self.steps, 1)
        check_size("evaluate_every", self.evaluate_every, 1)
        check_at_least("batch_size", self.batch_size, 1)
        check_positive("learning_rate", self.learning_rate)
        check_positive("clip", self.clip)
        check_at_least("patience", self.patience, 0)
        if not 0 <= self.average < 1:
            raise InputError(f"`average` must be at least 0 and below 1, but is {self.average}.")
        check_known("Schedule", self.schedule, SCHEDULES)
        check_known("Optimiser", self.optimiser, OPTIMISERS)
        check_known("Gradient", self.gradient, GRADIENTS)
        check_positive("perturbation", self.perturbation)
        check_at_least("shot_weight", self.shot_weight, 0)
        check_at_least("shot_circuits", self.shot_circuits, 1)
        _ = self.loss  # checks the weights

    @property
    def loss(self) -> Loss:
        """Of the weights in the fields `<property>_weight`."""
        weights = {key: getattr(self, f"{key}_weight") for key in PROPERTIES}
        return Loss(weights, self.per_atom, self.huber, self.fit_references)

    def optimiser_of(self, potential: AbstractPotential) -> optax.GradientTransformation:
        """From gradients to updates of all weights, both as the vector of `ravel_pytree`."""
        shapes = [leaf.shape for leaf in jax.tree.leaves(potential)]
        step = OPTIMISERS[self.optimiser](self._schedule, shapes)
        return optax.chain(clipped(self.clip), step)

    def rate(self, step: int) -> float:
        """The learning rate at a step."""
        return float(_rate(self, np.asarray(step)))

    @property
    def _schedule(self) -> optax.Schedule:
        return SCHEDULES[self.schedule](self.learning_rate, self.steps)


@eqx.filter_jit
def _rate(training: Training, step: AnyArray) -> Float[Array, ""]:
    """As one program, instead of one for each operation."""
    return jnp.asarray(training._schedule(step))
