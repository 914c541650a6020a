"""The fit loop: optimiser steps, moving average, validation, early stopping; resumable."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._checks import RunError
from ..atoms.frames import Frames
from ..model.potential import AbstractPotential
from ..model.predict import NotFiniteError, precision
from ..model.shot_cost import ShotCost, shot_cost
from .batches import batches
from .gradients import GRADIENTS
from .loss import relative
from .parallel import connected, on_devices, on_this_device
from .settings import Training


class HistoryRow(NamedTuple):
    """One validation.

    Args:
        step: of the fit.
        loss: mean training loss since the last validation.
        valid_loss: of the averaged weights.
        learning_rate: after this step.
        errors: of the averaged weights on the validation part, as `energy_mae` in eV, see
            `Loss.validation`; empty in the state of a fit by an older version.
    """

    step: int
    loss: float
    valid_loss: float
    learning_rate: float
    errors: Mapping[str, float] = MappingProxyType({})

    def columns(self) -> dict[str, float]:
        """The row of a table."""
        return {name: value for name, value in self._asdict().items() if name != "errors"} | dict(
            self.errors
        )


class Weights(eqx.Module):
    """What an optimiser step changes."""

    potential: AbstractPotential
    average: AbstractPotential
    optimiser: optax.OptState


@dataclass(frozen=True)
class FitState:
    """Everything from which a fit can be resumed."""

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
    """The state before the first step.

    Args:
        potential: with its initial weights.
        training: how it will be fitted.

    Returns:
        What `fit` begins with.
    """
    start: Any = _of_each(potential, training.transformation.init, 0)
    with precision(potential):
        return FitState(Weights(potential, potential, start(_stacked(potential))), potential, ())


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

    The members of an ensemble are fitted side by side, each as if it were alone, with the same
    batches; the ensemble as a whole is validated and kept where it is best.

    Args:
        state: where to begin.
        train, valid: labelled configurations; the best average on `valid` is kept.
        training: how.
        seed: of the order of the configurations and of perturbations.
        after_validation: called with every state that can be resumed from.

    Returns:
        The last state; its `best` is the potential to use.

    Raises:
        RunError: the loss is not finite; the last state given to `after_validation` is finite.
    """
    with precision(state.best):
        cost = _shot_cost(state.best, train, training)
        train, valid = (on_devices(relative(frames, state.best)) for frames in (train, valid))
    while state.step < training.steps and not 0 < training.patience <= state.n_stale:
        state = _advance(state, train, valid, training, cost, seed)
        after_validation(state)
    return state


def _advance(
    state: FitState,
    train: Frames,
    valid: Frames,
    training: Training,
    cost: ShotCost | None,
    seed: int,
) -> FitState:
    """Steps up to the next validation, and that validation."""
    begin, end = state.step, min(state.step + training.evaluate_every, training.steps)
    order = batches(len(train), training.batch_size, seed, begin, end)
    try:
        with precision(state.best), connected():
            key, now = jax.random.key(seed), (jnp.asarray(order), jnp.arange(begin, end))
            weights, losses = _take_steps(
                on_devices(state.weights), train, *now, key, training, cost
            )
            valid_loss, errors = _validate(weights.average, valid, training, cost)
            weights, losses = on_this_device(weights), np.asarray(losses)
            if not (np.all(np.isfinite(losses)) and np.isfinite(valid_loss)):
                raise NotFiniteError
    except NotFiniteError:
        raise RunError(
            f"the loss became nan or infinite between steps {begin} and {end}: start again with a "
            "lower `learning_rate` or `clip`, or look for a frame with wrong labels."
        ) from None
    sizes = {name: float(value) for name, value in errors.items()}
    row = HistoryRow(end, float(losses.mean()), float(valid_loss), training.rate(end), sizes)
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
    cost: ShotCost | None,
) -> tuple[Weights, Float[Array, " n_steps"]]:
    optimiser = training.transformation
    loss_and_gradient = GRADIENTS[training.gradient]

    def step(weights: Weights, now: tuple[Array, Array]) -> tuple[Weights, Float[Array, ""]]:
        batch, number = now
        frames = jax.tree.map(lambda values: jnp.asarray(values)[batch], train)
        potential: Any = weights.potential
        average: Any = weights.average
        own_key = jax.random.fold_in(key, number)
        loss_of = lambda potential: (
            training.loss(potential, frames)
            + _of_shots(potential, frames, training, cost, jax.random.fold_in(own_key, 1))
        )
        loss, gradient = loss_and_gradient(loss_of, potential, own_key, training.perturbation)
        updates, state = optimiser.update(gradient, weights.optimiser, potential)  # pyright: ignore
        potential = optax.apply_updates(potential, updates)
        decay = jnp.minimum(training.average, (1 + number) / (10 + number))
        average = optax.incremental_update(potential, average, 1 - decay)
        return Weights(potential, average, state), loss

    step_of_each = _of_each(weights.potential, step, (0, None))
    members = Weights(_stacked(weights.potential), _stacked(weights.average), weights.optimiser)
    members, losses = jax.lax.scan(step_of_each, members, (order, steps))
    fitted = jax.tree.unflatten(jax.tree.structure(weights), jax.tree.leaves(members))
    return fitted, losses.reshape(len(losses), -1).mean(1)


def _stacked(potential: AbstractPotential) -> AbstractPotential:
    """The members as one: a single potential itself, or all members with a leading axis.

    The arrays of an ensemble are those of its members, stacked, so only the structure differs.
    """
    structure = jax.tree.structure(potential.members[0])
    return jax.tree.unflatten(structure, jax.tree.leaves(potential))


def _of_each(potential: AbstractPotential, function: Callable[..., Any], axes: Any) -> Any:
    """A function of one potential as one of `_stacked`; `axes` as `in_axes` of `jax.vmap`."""
    return jax.vmap(function, axes) if len(potential.members) > 1 else function


@eqx.filter_jit
def _validate(
    potential: AbstractPotential, frames: Frames, training: Training, cost: ShotCost | None
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    loss, errors = training.loss.validation(potential, frames)
    key = jax.random.key(0)
    terms = [_of_shots(member, frames, training, cost, key) for member in potential.members]
    return loss + sum(terms) / len(terms), errors


def _shot_cost(potential: AbstractPotential, frames: Frames, training: Training) -> ShotCost | None:
    """What is needed for `training.shot_weight`; None where that is 0."""
    if not training.shot_weight:
        return None
    return shot_cost(potential.members[0], jax.tree.map(lambda values: values[0], frames.graph))


def _of_shots(
    potential: AbstractPotential,
    frames: Frames,
    training: Training,
    cost: ShotCost | None,
    key: PRNGKeyArray,
) -> Array | float:
    """The term of the loss with `training.shot_weight`, estimated from circuits drawn by a key."""
    if cost is None:
        return 0.0
    one = lambda graph, key: cost.mean_square(potential, graph, key, training.shot_circuits)
    squares = jax.vmap(one)(frames.graph, jax.random.split(key, len(frames)))
    return training.shot_weight * squares.mean()
