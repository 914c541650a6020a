"""The fit loop: optimiser with a schedule, clipping, averaging, early stopping and resume."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._checks import RunError
from ..atoms.graph import Frames
from ..model.ensemble import Ensemble
from ..model.potential import AbstractPotential
from ..model.predict import NotFiniteError, precision
from .batches import batches
from .gradients import GRADIENTS
from .loss import relative
from .settings import Training


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
    order = batches(len(train), training.batch_size, seed, begin, end)
    try:
        with precision(state.best):
            key, steps = jax.random.key(seed), np.arange(begin, end)
            weights, losses = _take_steps(state.weights, train, order, steps, key, training)
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
    order: Int[Array, "n_steps size"],
    steps: Int[Array, " n_steps"],
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
        loss_of = lambda potential: training.loss(potential, frames)
        loss, gradient = loss_and_gradient(loss_of, potential, own_key, training.perturbation)
        updates, state = optimiser.update(gradient, weights.optimiser, potential)  # pyright: ignore
        potential = optax.apply_updates(potential, updates)
        decay = jnp.minimum(training.average, (1 + number) / (10 + number))
        average = optax.incremental_update(potential, average, 1 - decay)
        return Weights(potential, average, state), loss

    numbered = jnp.asarray(order), jnp.asarray(steps)
    if not isinstance(weights.potential, Ensemble):
        return jax.lax.scan(step, weights, numbered)
    members = Weights(weights.potential.stacked, weights.average.stacked, weights.optimiser)  # pyright: ignore
    members, losses = jax.lax.scan(jax.vmap(step, (0, None)), members, numbered)
    whole = jax.tree.unflatten(jax.tree.structure(weights), jax.tree.leaves(members))
    return whole, losses.mean(1)


@eqx.filter_jit
def _validate(potential: AbstractPotential, frames: Frames, training: Training) -> Float[Array, ""]:
    return training.loss.validation_loss(potential, frames)
