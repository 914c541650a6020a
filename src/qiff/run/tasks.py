"""Several runs as independent tasks: each is trained once, in this process or in others."""

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import jax

from .._checks import InputError, RunError
from .._workers import InThisProcess, Map
from .config import Run
from .train import train

PATIENCE = 60.0
"""Seconds after which files that another machine wrote must be visible on this one."""


def is_trained(folder: Path) -> bool:
    """Whether the run in a folder is finished."""
    return (folder / "metrics.json").exists()


def train_all(
    runs: Iterable[Run], show: Callable[[str], None], map: Map = map
) -> Iterator[tuple[Path, str]]:
    """Train runs that do not depend on each other; those that were begun are resumed.

    Args:
        runs: to train, each with a folder of its own.
        show: called with the name of a run when it is finished, and in this process often during
            it.
        map: applies a function to each run, see `Map`.

    Returns:
        As they are finished, the folder of each run and why it failed, empty if it did not.

    Raises:
        InputError: the data do not fit a config.
        RunError: a run was trained on a machine that has another file system.
    """
    for folder, failure in map(partial(_train, InThisProcess(show)), runs):
        if not failure:
            _wait_for(folder)
        show(folder.name)
        yield folder, failure


def _train(show: Callable[[str], None], run: Run) -> tuple[Path, str]:
    """Train one run; runs where `Map` sends it."""
    folder = Path(run.output)
    show(folder.name)
    begun = (folder / "config.toml").exists()
    try:
        train(run, resume=begun, after_validation=lambda state: show(folder.name))
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None
    except RunError as error:
        return folder, str(error)
    finally:
        jax.clear_caches()  # every run compiles its own; hundreds of them exhaust the memory maps
    return folder, ""


def _wait_for(folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_trained(folder):
        if time.monotonic() > deadline:
            raise RunError(
                f"{folder}: the run is finished, but not in this folder; start the workers in "
                "the same folder of a file system that all machines share."
            )
        time.sleep(0.5)
