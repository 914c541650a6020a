"""The fit loop: optimiser with a schedule, clipping, averaging, early stopping and resume."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from jaxtyping import Array, Float, Int, PRNGKeyArray
from optax.contrib import MuonDimensionNumbers

from .._checks import InputError, RunError, check_at_least, check_known, check_positive
from ..atoms.frames import Frames
from ..model.ensemble import Ensemble
from ..model.potential import AbstractPotential
from ..model.predict import NotFiniteError, precision
from .loss import Loss, relative

SCHEDULES: dict[str, Callable[[float, int], optax.Schedule]] = {
    "cosine": optax.cosine_decay_schedule,
    "constant": lambda rate, steps: optax.constant_schedule(rate),
}


def _matrices(weights: Any) -> Any:
    """Which axes of weights are a matrix: the last two of two or three."""
    axes = {2: MuonDimensionNumbers(0, 1), 3: MuonDimensionNumbers(1, 2)}
    return jax.tree.map(lambda weight: axes.get(weight.ndim), weights)


OPTIMISERS: dict[str, Callable[[optax.Schedule], optax.GradientTransformation]] = {
    "adam": optax.adam,
    "muon": partial(optax.contrib.muon, muon_weight_dimension_numbers=_matrices),
}
"""Muon turns the steps of matrices into orthogonal ones, so that weak directions learn as fast as
strong ones (Jordan et al. 2024); all other weights are left to Adam."""


@dataclass(frozen=True)
class Training:
    """How a potential is fitted.

    Args:
        steps: optimiser steps.
        batch_size: configurations per step; the whole training part if that is smaller.
        optimiser: a key of `OPTIMISERS`.
        learning_rate: at the start of the schedule.
        schedule: a key of `SCHEDULES`: how the learning rate goes on.
        clip: largest norm of a gradient; longer ones are shortened to it.
        average: decay per step of the exponential moving average of the weights, which is what
            is validated and kept; 0 turns it off. At step $n$ it is at most $(1 + n)/(10 + n)$,
            so that what the weights began as is soon forgotten.
        evaluate_every: steps between validations, which are also the points of resume.
        patience: validations without improvement after which to stop; 0 never stops early.
        energy_weight, forces_weight: see `Loss`.
        gradient: a key of `GRADIENTS`: how the gradient of the loss is found.
        perturbation: by how much `spsa` changes every weight.
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
    gradient: str = "derivative"
    perturbation: float = 0.05

    def __post_init__(self):
        for name in ("steps", "batch_size", "evaluate_every"):
            check_at_least(name, getattr(self, name), 1)
        check_positive("learning_rate", self.learning_rate)
        check_positive("clip", self.clip)
        check_at_least("patience", self.patience, 0)
        if not 0 <= self.average < 1:
            raise InputError(f"`average` must be at least 0 and below 1, but is {self.average}.")
        check_known("Schedule", self.schedule, SCHEDULES)
        check_known("Optimiser", self.optimiser, OPTIMISERS)
        check_known("Gradient", self.gradient, GRADIENTS)
        check_positive("perturbation", self.perturbation)
        Loss(self.energy_weight, self.forces_weight)

    @property
    def loss(self) -> Loss:
        return Loss(self.energy_weight, self.forces_weight)

    @property
    def transformation(self) -> optax.GradientTransformation:
        """From gradients to steps."""
        step = OPTIMISERS[self.optimiser](self._schedule)
        return optax.chain(optax.clip_by_global_norm(self.clip), step)

    def rate(self, step: int) -> float:
        """The learning rate at a step."""
        return float(np.asarray(self._schedule(step)))

    @property
    def _schedule(self) -> optax.Schedule:
        return SCHEDULES[self.schedule](self.learning_rate, self.steps)


LossAndGradient = tuple[Float[Array, ""], AbstractPotential]


def _derivative(
    training: Training, potential: AbstractPotential, frames: Frames, key: PRNGKeyArray
) -> LossAndGradient:
    """By differentiation, through the circuits or by their shift rules as the engine has it."""
    return jax.value_and_grad(training.loss)(potential, frames)


def _spsa(
    training: Training, potential: AbstractPotential, frames: Frames, key: PRNGKeyArray
) -> LossAndGradient:
    r"""Simultaneous perturbation: two values of the loss, however many weights there are.

    $$ g = \frac{L(w + c\Delta) - L(w - c\Delta)}{2c}\, \Delta, \qquad \Delta_i = \pm 1 $$

    Unbiased up to $O(c^2)$; the loss returned is the mean of the two.

    Reference: Spall, IEEE Trans. Autom. Control 37, 332 (1992).
    """
    leaves, structure = jax.tree.flatten(potential)
    keys = jax.random.split(key, len(leaves))
    signs = [jax.random.rademacher(k, w.shape, w.dtype) for k, w in zip(keys, leaves, strict=True)]
    direction = jax.tree.unflatten(structure, signs)
    c = training.perturbation
    ahead, behind = (
        training.loss(jax.tree.map(lambda w, s: w + step * s, potential, direction), frames)  # noqa: B023
        for step in (c, -c)
    )
    slope = (ahead - behind) / (2 * c)
    return (ahead + behind) / 2, jax.tree.map(lambda s: slope * s, direction)


GRADIENTS: dict[str, Callable[..., LossAndGradient]] = {
    "derivative": _derivative,
    "spsa": _spsa,
}


class HistoryRow(NamedTuple):
    """One validation: step, mean training loss since the last, validation loss, learning rate."""

    step: int
    loss: float
    valid_loss: float
    learning_rate: float


class Weights(eqx.Module):
    """What an optimiser step changes."""

    potential: AbstractPotential
    average: AbstractPotential
    optimiser: optax.OptState


@dataclass(frozen=True)
class FitState:
    """Everything a fit needs to go on."""

    weights: Weights
    best: AbstractPotential
    history: tuple[HistoryRow, ...]

    @property
    def step(self) -> int:
        return self.history[-1].step if self.history else 0

    @property
    def n_stale(self) -> int:
        """Validations since the best one."""
        return len(self.history) - 1 - _best(self.history) if self.history else 0


def _best(history: tuple[HistoryRow, ...]) -> int:
    return min(range(len(history)), key=lambda i: history[i].valid_loss)


def initial_state(potential: AbstractPotential, training: Training) -> FitState:
    """The state before the first step."""
    start: Any = training.transformation.init
    with precision(potential):
        if isinstance(potential, Ensemble):
            optimiser = jax.vmap(start)(potential.stacked)
        else:
            optimiser = start(potential)
        return FitState(Weights(potential, potential, optimiser), potential, ())


def fit(
    state: FitState,
    train: Frames,
    valid: Frames,
    training: Training,
    *,
    seed: int,
    after_validation: Callable[[FitState], None] = lambda state: None,
) -> FitState:
    """Fit a potential, from `initial_state` or any later one: both end bit for bit the same.

    Members of an `Ensemble` are fitted side by side, each as if it were alone, with the same
    batches; validated, and kept where it is best, is the ensemble.

    Args:
        state: where to begin.
        train, valid: labelled configurations; the best average on `valid` is kept.
        training: how.
        seed: of the order of the configurations and of perturbations.
        after_validation: called with every state that can be resumed from.

    Returns:
        The last state; its `best` is the potential to use.

    Raises:
        RunError: the loss is not finite. The state last passed on is still good.
    """
    train, valid = (relative(frames, state.best) for frames in (train, valid))
    while state.step < training.steps and not 0 < training.patience <= state.n_stale:
        state = _advance(state, train, valid, training, seed)
        after_validation(state)
    return state


def _advance(
    state: FitState, train: Frames, valid: Frames, training: Training, seed: int
) -> FitState:
    """Steps up to the next validation, and that validation."""
    begin, end = state.step, min(state.step + training.evaluate_every, training.steps)
    batches = _batches(len(train), training.batch_size, seed, begin, end)
    try:
        with precision(state.best):
            key, steps = jax.random.key(seed), np.arange(begin, end)
            weights, losses = _take_steps(state.weights, train, batches, steps, key, training)
            valid_loss, losses = _validate(weights.average, valid, training), np.asarray(losses)
            if not (np.all(np.isfinite(losses)) and np.isfinite(valid_loss)):
                raise NotFiniteError
    except NotFiniteError:
        raise RunError(
            f"the loss became nan or infinite between steps {begin} and {end}: start anew with a "
            "lower `learning_rate` or `clip`, or look for a frame with wrong labels."
        ) from None
    row = HistoryRow(end, float(losses.mean()), float(valid_loss), training.rate(end))
    history = (*state.history, row)
    improved = _best(history) == len(history) - 1
    return FitState(weights, weights.average if improved else state.best, history)


@eqx.filter_jit
def _take_steps(
    weights: Weights,
    train: Frames,
    batches: Int[np.ndarray, "n_steps size"],
    steps: Int[np.ndarray, " n_steps"],
    key: PRNGKeyArray,
    training: Training,
) -> tuple[Weights, Float[Array, " n_steps"]]:
    optimiser = training.transformation
    loss_and_gradient = GRADIENTS[training.gradient]

    def step(weights: Weights, now: tuple[Array, Array]) -> tuple[Weights, Float[Array, ""]]:
        batch, number = now
        frames = jax.tree.map(lambda values: jnp.asarray(values)[batch], train)
        potential: Any = weights.potential
        average: Any = weights.average
        own_key = jax.random.fold_in(key, number)
        loss, gradient = loss_and_gradient(training, potential, frames, own_key)
        updates, state = optimiser.update(gradient, weights.optimiser, potential)  # pyright: ignore
        potential = optax.apply_updates(potential, updates)
        decay = jnp.minimum(training.average, (1 + number) / (10 + number))
        average = optax.incremental_update(potential, average, 1 - decay)
        return Weights(potential, average, state), loss

    numbered = jnp.asarray(batches), jnp.asarray(steps)
    if not isinstance(weights.potential, Ensemble):
        return jax.lax.scan(step, weights, numbered)
    members = Weights(weights.potential.stacked, weights.average.stacked, weights.optimiser)  # pyright: ignore
    members, losses = jax.lax.scan(jax.vmap(step, (0, None)), members, numbered)
    whole = jax.tree.unflatten(jax.tree.structure(weights), jax.tree.leaves(members))
    return whole, losses.mean(1)


@eqx.filter_jit
def _validate(potential: AbstractPotential, frames: Frames, training: Training) -> Float[Array, ""]:
    return training.loss.validation_loss(potential, frames)


def _batches(
    n_frames: int, batch_size: int, seed: int, begin: int, end: int
) -> Int[np.ndarray, "n_steps size"]:
    """Indices of the batches of steps `begin` to `end`: a function of seed and step alone.

    Every epoch is a new permutation, cut into batches of equal size; the rest is left out.
    """
    size = min(batch_size, n_frames)
    per_epoch = n_frames // size
    epochs = range(begin // per_epoch, -(-end // per_epoch))
    order = [
        np.random.default_rng([seed, epoch]).permutation(n_frames)[: per_epoch * size]
        for epoch in epochs
    ]
    offset = begin - epochs.start * per_epoch
    return np.concatenate(order).reshape(-1, size)[offset : offset + end - begin]
