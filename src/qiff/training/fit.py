"""The fit loop: optimiser steps, moving average, validation, early stopping; resumable."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._checks import RunError
from .._compiled import large_program
from .._types import AnyArray
from ..atoms.frames import Frames
from ..model.potential import AbstractPotential
from ..model.predict import NotFiniteError, precision
from .batches import Batches, pieces
from .gradients import GRADIENTS
from .loss import relative
from .parallel import connected, on_devices, on_this_device
from .settings import Training
from .shot_term import ShotTerm, shot_term

_SHOTS = "shots"


class HistoryRow(NamedTuple):
    """One validation.

    Args:
        step: of the fit.
        loss: mean training loss since the last validation.
        valid_loss: of the averaged weights.
        learning_rate: after this step.
        errors: of the averaged weights on the validation part, as `energy_mae` in eV, see
            `Loss.validation`.
    """

    step: int
    loss: float
    valid_loss: float
    learning_rate: float
    errors: Mapping[str, float]

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
    with precision(potential):
        optimiser = _initial_optimiser(potential, training)
        return FitState(Weights(potential, potential, optimiser), potential, ())


@eqx.filter_jit
def _initial_optimiser(potential: AbstractPotential, training: Training) -> optax.OptState:
    """Its state before the first step, of every member."""
    optimiser = training.optimiser_of(potential.members[0])
    start: Any = _of_each(potential, lambda weights: optimiser.init(_vector(weights)), 0)
    return start(_stacked(potential))


def fit(
    state: FitState,
    train: Frames,
    valid: Frames,
    training: Training,
    *,
    seed: int,
    after_validation: Callable[[FitState], None] = lambda state: None,
    after_steps: Callable[[int], None] = lambda step: None,
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
        after_steps: called with the number of the step, often, between validations.

    Returns:
        The last state; its `best` is the potential to use.

    Raises:
        RunError: the loss is not finite; the last state given to `after_validation` is finite.
    """
    with precision(state.best):
        term = shot_term(state.best, train, training)
        train, valid = (relative(frames, state.best) for frames in (train, valid))
    batches = Batches(train, training.batch_size, seed)
    while state.step < training.steps and not 0 < training.patience <= state.n_stale:
        state = _advance(state, batches, valid, training, term, after_steps)
        after_validation(state)
    return state


def _advance(
    state: FitState,
    batches: Batches,
    valid: Frames,
    training: Training,
    term: ShotTerm | None,
    after_steps: Callable[[int], None],
) -> FitState:
    """Steps up to the next validation, and that validation."""
    begin, end = state.step, min(state.step + training.evaluate_every, training.steps)
    try:
        with precision(state.best), connected():
            weights = on_devices(state.weights)
            weights, losses = _fitted(weights, batches, training, term, begin, end, after_steps)
            valid_loss, errors = _validate(weights.average, valid, training, term)
            weights = on_this_device(weights)
            if not (np.all(np.isfinite(losses)) and np.isfinite(valid_loss)):
                raise NotFiniteError
    except NotFiniteError:
        raise RunError(
            f"the loss became nan or infinite between steps {begin} and {end}: start again with a "
            "lower `learning_rate` or `clip`, or look for a frame with wrong labels."
        ) from None
    row = HistoryRow(end, float(losses.mean()), valid_loss, training.rate(end), errors)
    history = (*state.history, row)
    improved = _best(history) == len(history) - 1
    return FitState(weights, weights.average if improved else state.best, history)


def _fitted(
    weights: Weights,
    batches: Batches,
    training: Training,
    term: ShotTerm | None,
    begin: int,
    end: int,
    after_steps: Callable[[int], None],
) -> tuple[Weights, Float[np.ndarray, " n_steps"]]:
    """Steps `begin` to `end`, and the loss of each.

    The batches of some steps are gathered here and given to the compiled program of their shape,
    which therefore depends neither on the number of frames nor on where they are; the next ones
    are gathered while it runs.
    """
    key, losses = jax.random.key(batches.seed), []
    for steps, frames in batches.between(begin, end, training.evaluate_every):
        frames = on_devices(frames)
        if losses:
            jax.block_until_ready(losses[-1])
            after_steps(int(steps[0]))
        weights, found = _take_steps(weights, frames, steps, key, training, term)
        losses.append(on_this_device(found))
    return weights, np.concatenate(losses)


@large_program
def _take_steps(
    weights: Weights,
    batches: Frames,
    steps: Int[AnyArray, " n_steps"],
    key: PRNGKeyArray,
    training: Training,
    term: ShotTerm | None,
) -> tuple[Weights, Float[Array, " n_steps"]]:
    """Several steps. Optimiser and average work on the vector of all weights."""
    optimiser = training.optimiser_of(weights.potential.members[0])
    _, tree_of = ravel_pytree(weights.potential.members[0])
    loss_and_gradient = GRADIENTS[training.gradient]

    def step(state: tuple[Any, ...], now: tuple[Frames, Array]) -> tuple[Any, Float[Array, ""]]:
        (vector, average, optimiser_state), (frames, number) = state, now
        own_key = jax.random.fold_in(key, number)

        def loss_of(potential: AbstractPotential) -> Float[Array, ""]:
            loss = training.loss(potential, frames)
            if term is None:
                return loss
            return loss + term(potential, frames, jax.random.fold_in(own_key, 1))

        potential = tree_of(vector)
        loss, gradient = loss_and_gradient(loss_of, potential, own_key, training.perturbation)
        updates, optimiser_state = optimiser.update(_vector(gradient), optimiser_state, vector)
        vector += updates
        decay = jnp.minimum(training.average, (1 + number) / (10 + number))
        average = optax.incremental_update(vector, average, 1 - decay)
        return (vector, average, optimiser_state), loss

    of_each: Any = partial(_of_each, weights.potential)
    vectors = (of_each(_vector, 0)(_stacked(p)) for p in (weights.potential, weights.average))
    state = (*vectors, weights.optimiser)
    (*vectors, optimiser_state), losses = jax.lax.scan(
        of_each(step, (0, None)), state, (batches, steps)
    )
    potential, average = (of_each(tree_of, 0)(vector) for vector in vectors)
    fitted = Weights(potential, average, optimiser_state)
    fitted = jax.tree.unflatten(jax.tree.structure(weights), jax.tree.leaves(fitted))
    return fitted, losses.reshape(len(losses), -1).mean(1)


def _vector(tree: Any) -> Float[Array, " n_weights"]:
    """All its arrays, one after the other."""
    return ravel_pytree(tree)[0]


def _stacked(potential: AbstractPotential) -> AbstractPotential:
    """The members as one: a single potential itself, or all members with a leading axis.

    The arrays of an ensemble are those of its members, stacked, so only the structure differs.
    """
    structure = jax.tree.structure(potential.members[0])
    return jax.tree.unflatten(structure, jax.tree.leaves(potential))


def _of_each(potential: AbstractPotential, function: Callable[..., Any], axes: Any) -> Any:
    """A function of one potential as one of `_stacked`; `axes` as `in_axes` of `jax.vmap`."""
    return jax.vmap(function, axes) if len(potential.members) > 1 else function


def _validate(
    potential: AbstractPotential, frames: Frames, training: Training, term: ShotTerm | None
) -> tuple[float, dict[str, float]]:
    """See `Loss.validation`, with the term of shots; some frames at a time, by a program that does
    not depend on how many there are."""
    total: dict[str, Any] = {}
    for piece in pieces(frames):
        found = on_this_device(_sums(potential, on_devices(piece), training, term))
        total = {key: total.get(key, 0) + np.asarray(values) for key, values in found.items()}
    loss, errors = training.loss.validation(total)
    of_shots, n_frames = total.get(_SHOTS, (0.0, 1))
    return loss + float(of_shots / n_frames), errors


@large_program
def _sums(
    potential: AbstractPotential, frames: Frames, training: Training, term: ShotTerm | None
) -> dict[str, Float[Array, " _"]]:
    found = training.loss.sums(potential, frames)
    if term is None:
        return found
    return found | {_SHOTS: term.sums(potential, frames, jax.random.key(0))}
