"""Progress of a fit: one line with rate, remaining time and the present errors."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .._progress import progress
from ..training.fit import FitState
from .tables import present_errors


@contextmanager
def training_progress(steps: int) -> Iterator["TrainingProgress"]:
    """A context that yields what shows the progress of a fit, in a notebook too.

    Args:
        steps: of the fit.

    Returns:
        What `fit` and `train` take as `after_validation`; its method `after_steps` is what they
        take as `after_steps`. Errors are mean absolute ones of the validation part.
    """
    with progress(steps) as show:
        yield TrainingProgress(steps, show)


class TrainingProgress:
    """Shows the states of a fit, and the steps between them; see `training_progress`."""

    def __init__(self, steps: int, show: Callable[[int, str], None]):
        self._steps, self._show, self._errors = steps, show, ""

    def __call__(self, state: FitState) -> None:
        """Show a state of the fit."""
        if state.history:
            last = state.history[-1]
            self._errors = present_errors(last.errors) or f"validation loss {last.valid_loss:.3g}"
        text = "evaluating" if state.step == self._steps else self._errors or "compiling"
        self._show(state.step, text)

    def after_steps(self, step: int) -> None:
        """Show a step between two validations, with the errors of the one before."""
        self._show(step, self._errors)
