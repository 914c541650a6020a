"""One run, from a config to a folder with a model, tables and figures."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from ..model.build import with_references_of
from ..model.potential import AbstractPotential
from ..training.calibration import calibrated
from ..training.fit import FitState, fit, initial_state
from ..training.parallel import check_same
from .config import Run
from .folder import RunFolder, log
from .prepare import Prepared, prepare
from .results import results
from .resume import resumed


def train(
    run: Run,
    *,
    resume: bool = False,
    overwrite: bool = False,
    after_validation: Callable[[FitState], None] = lambda state: None,
    after_steps: Callable[[int], None] = lambda step: None,
) -> dict[str, Any]:
    """Train, evaluate and report; everything is written to the run folder `run.output`.

    Args:
        run: the config.
        resume: resume the run in the folder; the result is bit for bit the same.
        overwrite: replace the run in the folder.
        after_validation: called with every state of the fit.
        after_steps: called with the number of the step, often, between validations.

    Returns:
        The content of `metrics.json`.

    Raises:
        InputError: the data do not fit the config or the model, the folder holds another run or
            is in use by another process.
        RunError: the fit failed; the model of the best validation before is in the folder.
    """
    folder = RunFolder(Path(run.output))
    with folder.locked():
        if resume:
            folder.check_begun()
        elif not overwrite:
            folder.check_free()
        return _train(prepare(run), folder, resume, after_validation, after_steps)


def _train(
    prepared: Prepared,
    folder: RunFolder,
    resume: bool,
    after_validation: Callable[[FitState], None],
    after_steps: Callable[[int], None],
) -> dict[str, Any]:
    """Train what is prepared in a folder that is locked; the content of `metrics.json`."""
    run = prepared.run
    state, seconds = initial_state(prepared.potential, run.train), 0.0
    if resume:
        state, seconds = resumed(folder.path, run, state)
    else:
        folder.begin(run, prepared.parts)
    check_same({"config": run, "history": state.history})
    for note in prepared.notes if folder.writes else ():
        log.warning(note)
    begin = time.perf_counter() - seconds

    def keep(state: FitState) -> None:
        folder.keep(state, time.perf_counter() - begin, run)
        after_validation(state)

    with folder.logged():
        log.info("step %d of %d, %s", state.step, run.train.steps, folder.path)
        with folder.scratch() as files:
            parts = prepared.stacked("train", files), prepared.stacked("valid", files)
            after_validation(state)
            shown = {"after_validation": keep, "after_steps": after_steps}
            state = fit(state, *parts, run.train, seed=run.seed, **shown)
        seconds, best = time.perf_counter() - begin, _finished(state.best, prepared)
        folder.replace_model(best, state, seconds, run)
        found = results(best, prepared, state.history)
        metrics = {
            **found.metrics,
            "n_weights": sum(leaf.size for leaf in jax.tree.leaves(best)),
            "seconds": round(seconds, 2),
            "steps": state.step,
            "notes": list(prepared.notes),
        }
        folder.finish(metrics, found.figures, found.shown)
    return metrics


def _finished(potential: AbstractPotential, prepared: Prepared) -> AbstractPotential:
    """A fitted potential with reference energies that leave no mean error on the training part.

    Optimiser steps that are small at the end, and an average of weights, leave a constant in the
    energies. An ensemble is calibrated on the validation part.
    """
    if "energy" in prepared.run.train.loss.learned:
        potential = with_references_of(potential, prepared.part("train"))
    return calibrated(potential, prepared.part("valid")) if potential.calibration else potential
