"""The folder of a run: what it holds, written by one process alone."""

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import jax

from .._checks import InputError
from .._files import atomic_write, locked, save_record
from ..atoms.data.split import Split
from ..model.potential import AbstractPotential
from ..report.predictions import FILE, Predictions
from ..report.records import csv_text
from ..report.tables import present_errors, summary
from ..training.checkpoint import save, write_arrays
from ..training.fit import FitState
from .config import Run, config_text

FILES = (
    *("config.toml", "split.json", "history.csv", "metrics.json", "train.log"),
    *("state.npz", "model.qiff", "last.qiff"),
    *("parity.png", "learning.png", "uncertainty.png", FILE, "report.html"),
)
"""What a run leaves in its folder; the figure of uncertainties only if it is of an ensemble."""

log = logging.getLogger("qiff")


def _by_first_process(method: Callable[..., None]) -> Callable[..., None]:
    """A method of `RunFolder` that does nothing in the other processes of a parallel run."""

    @wraps(method)
    def guarded(folder: "RunFolder", *args: Any) -> None:
        if folder.writes:
            method(folder, *args)

    return guarded


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run.

    All processes of a parallel run may read it, only the first writes it.

    Args:
        path: of the folder.
        writes: whether this process writes.
    """

    path: Path
    writes: bool = field(default_factory=lambda: jax.process_index() == 0)

    @_by_first_process
    def check_free(self) -> None:
        """Raise InputError if there is a run in the folder already.

        Other processes do not ask: the first may have begun the run before them.
        """
        if (self.path / "config.toml").exists():
            raise InputError(
                f"{self.path}: already holds a run; resume it (--resume), replace it "
                "(--overwrite) or choose another `output`."
            )

    def check_begun(self) -> None:
        """Raise InputError if there is no run in the folder."""
        if not (self.path / "config.toml").exists():
            raise InputError(f"{self.path}: holds no run to resume.")

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder of this process for large files, removed at the end of the context."""
        folder = self.path / f"arrays-{jax.process_index()}"
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @_by_first_process
    def begin(self, run: Run, parts: Split) -> None:
        """Remove the files of an earlier run; write the split and, last, the config.

        A folder with a config holds a run, see `check_free` and `resumed`.
        """
        for name in FILES:
            (self.path / name).unlink(missing_ok=True)
        indices = {name: part.tolist() for name, part in parts._asdict().items()}
        atomic_write(self.path / "split.json", json.dumps(indices) + "\n")
        atomic_write(self.path / "config.toml", config_text(run))

    @_by_first_process
    def keep(self, state: FitState, seconds: float, run: Run) -> None:
        """Write the models and, last, the state to resume from: it is never ahead of them."""
        notes = _notes(state, seconds, run)
        save(state.best, self.path / "model.qiff", notes)
        save(state.weights.average, self.path / "last.qiff", notes)
        history = [row.columns() for row in state.history]
        atomic_write(self.path / "history.csv", csv_text(history))
        arrays = {"weights": state.weights, "best": state.best}
        header = {"history": [[*row[:-1], dict(row.errors)] for row in state.history]}
        header |= {"seconds": seconds}
        write_arrays(self.path / "state.npz", arrays, header)
        last = state.history[-1]
        line = "step %d  loss %.4g  validation %.4g  %s"
        log.info(line, *last[:3], present_errors(last.errors))

    @_by_first_process
    def replace_model(
        self, model: AbstractPotential, state: FitState, seconds: float, run: Run
    ) -> None:
        """Write another model in place of the best one, for instance calibrated."""
        save(model, self.path / "model.qiff", _notes(state, seconds, run))

    @_by_first_process
    def finish(
        self, metrics: Mapping[str, Any], figures: Mapping[str, bytes], shown: Predictions
    ) -> None:
        """Write predictions, figures by file name, the HTML page and, last, metrics; log a summary.

        A folder with metrics holds a finished run, see `is_trained`.
        """
        from ..report.page import html_page

        shown.save(self.path / FILE)
        for name, content in figures.items():
            atomic_write(self.path / name, content)
        html_page(self.path, metrics)
        save_record(self.path / "metrics.json", metrics)
        for line in summary(self.path):
            log.info(line)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """A context in which no other command writes the folder.

        Raises:
            InputError: another process is in one; it is named.
        """
        if not self.writes:
            yield
            return
        with locked(self.path / "config.toml"):
            yield

    @contextmanager
    def logged(self) -> Iterator[None]:
        """A context in which everything logged is added to `train.log`."""
        if not self.writes:
            yield
            return
        with log_to(self.path / "train.log"):
            yield


def _notes(state: FitState, seconds: float, run: Run) -> dict[str, Any]:
    """What is written into model files."""
    return {"step": state.step, "seconds": seconds, **run.provenance}


class _StrictFileHandler(logging.FileHandler):
    """A log file that fails like any other file, for instance on a full disk."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        raise


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """A context in which everything logged is added to a file, each line with its time."""
    handler = _StrictFileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%Y-%m-%d %H:%M:%S"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
