"""Progress of a fit: one line with rate, remaining time and the present errors."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .._progress import progress
from ..training.fit import FitState
from .tables import present_errors


@contextmanager
def training_progress(steps: int) -> Iterator[Callable[[FitState], None]]:
    """A context that yields a function which shows the progress of a fit, in a notebook too.

    Args:
        steps: of the fit.

    Returns:
        What `fit` and `train` take as `after_validation`. Errors are mean absolute ones of the
        validation part.
    """
    with progress(steps) as show:

        def after_validation(state: FitState) -> None:
            if state.step == steps:
                text = "evaluating"
            elif state.history:
                last = state.history[-1]
                text = present_errors(last.errors) or f"validation loss {last.valid_loss:.3g}"
            else:
                text = "compiling"
            show(state.step, text)

        yield after_validation
