"""One run, from a config to a folder with a model, tables and pictures."""

import csv
import dataclasses
import io
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ase
import jax
import numpy as np

from .._checks import InputError
from .._files import atomic_write
from ..atoms.data.dataset import file_hash, read
from ..atoms.data.split import Split, split
from ..atoms.frames import stack
from ..model.build import build, build_ensemble_for, build_for, with_defaults, with_references_of
from ..model.ensemble import Ensemble, uncertainty
from ..model.potential import AbstractPotential, ScaleShift
from ..model.predict import check_atoms, predict
from ..report import report
from ..training.calibration import calibrated, deviations, reliability
from ..training.checkpoint import fill, load, model_hash, read_arrays, save, write_arrays
from ..training.fit import FitState, HistoryRow, fit, initial_state
from ..training.metrics import errors
from .config import Run, read_config, write_config

VERSIONS = ("qiff", "jax", "jaxlib", "equinox", "optax", "ase", "numpy")

log = logging.getLogger("qiff")


def train(
    run: Run,
    *,
    resume: bool = False,
    overwrite: bool = False,
    after_validation: Callable[[FitState], None] = lambda state: None,
) -> dict[str, Any]:
    """Train, evaluate and report; everything goes to the run folder `run.output`.

    Args:
        run: the config.
        resume: go on with the run in the folder; the result is bit for bit the same.
        overwrite: replace the run in the folder.
        after_validation: called with every state of the fit.

    Returns:
        The content of `metrics.json`.

    Raises:
        InputError: the data do not fit the config or the model, the folder holds another run.
        RunError: the fit failed; the model of the best validation before is in the folder.
    """
    folder = Path(run.output)
    if (folder / "config.toml").exists() and not (resume or overwrite):
        raise InputError(
            f"{folder}: already holds a run; go on with it (--resume), replace it (--overwrite) "
            "or choose another `output`."
        )
    frames = read(run.data, need_energy=True, need_forces=run.train.forces_weight > 0)
    parts = split(frames, run.data.train, run.data.valid, run.data.test, run.seed)
    train_frames = [frames[i] for i in parts.train]
    potential = _start(run, train_frames)
    for index, atoms in enumerate(frames):
        check_atoms(potential, atoms, f"{run.data.path}: frame {index}")
    run = dataclasses.replace(run, model=with_defaults(run.model), provenance=_provenance(run))
    state, seconds = initial_state(potential, run.train), 0.0
    if resume:
        state, seconds = _resumed(folder, run, state)
    else:
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        atomic_write(folder / "config.toml", write_config(run))
        atomic_write(folder / "split.json", _split_json(parts))
    begin = time.perf_counter() - seconds

    def keep(state: FitState) -> None:
        _keep(folder, state, time.perf_counter() - begin, run)
        after_validation(state)

    with _log_to(folder / "train.log"):
        log.info("step %d of %d, %s", state.step, run.train.steps, folder)
        train_part, valid_part = (
            stack([frames[i] for i in part], run.dtype, potential.cutoff)
            for part in (parts.train, parts.valid)
        )
        after_validation(state)
        state = fit(state, train_part, valid_part, run.train, seed=run.seed, after_validation=keep)
        seconds = time.perf_counter() - begin
        if isinstance(state.best, Ensemble):
            best = calibrated(state.best, [frames[i] for i in parts.valid])
            save(best, folder / "model.qiff", _notes(state, seconds, run))
            state = dataclasses.replace(state, best=best)
        metrics = _finish(folder, state, frames, parts, seconds)
        for line in report.summary(folder):
            log.info(line)
    return metrics


def _start(run: Run, frames: Sequence[ase.Atoms]) -> AbstractPotential:
    """The potential before it is trained on these frames."""
    if run.start:
        return with_references_of(_loaded(run), frames)
    settings: dict[str, Any] = {"seed": run.seed, "dtype": run.dtype}
    if run.members > 1:
        return build_ensemble_for(frames, run.model, members=run.members, **settings)
    return build_for(frames, run.model, **settings)


def _loaded(run: Run) -> ScaleShift:
    """The potential to fine-tune."""
    found = load(run.start)
    if not isinstance(found, ScaleShift):
        raise InputError(f"{run.start}: must be a model that `qiff train` wrote, and no ensemble.")
    wanted = build(run.model, jax.random.key(0)).config()
    if different := _differences(found.potential.config(), wanted):
        key = different[0]
        raise InputError(
            f"{run.start}: must have the structure of [model], but its `{key}` is "
            f"{found.potential.config().get(key)}, not {wanted.get(key)}."
        )
    return jax.tree.map(lambda weights: np.asarray(weights, run.dtype), found)


def _provenance(run: Run) -> dict[str, Any]:
    return {
        "versions": {package: version(package) for package in VERSIONS},
        "data_sha256": file_hash(run.data.path),
        "start_sha256": model_hash(run.start) if run.start else "",
    }


FILES = (
    *("config.toml", "split.json", "history.csv", "metrics.json", "train.log"),
    *("state.npz", "model.qiff", "last.qiff"),
    *("parity.png", "learning.png", "uncertainty.png", "report.html"),
)
"""What a run leaves in its folder; the picture of uncertainties only if it is of an ensemble."""


def _resumed(folder: Path, run: Run, fresh: FitState) -> tuple[FitState, float]:
    """The last state kept in a folder and the seconds it took; a fresh one if none was kept."""
    config = folder / "config.toml"
    if not config.exists():
        raise InputError(f"{folder}: holds no run to resume.")
    before = read_config(config)
    if before.provenance.get("data_sha256") != run.provenance["data_sha256"]:
        raise InputError(f"{run.data.path}: is not the data that the run in {folder} began with.")
    changed = _differences(dataclasses.asdict(before), dataclasses.asdict(run))
    if changed:
        raise InputError(f"{folder}: cannot resume, `{changed[0]}` is not what the run began with.")
    if before.provenance.get("start_sha256", "") != run.provenance["start_sha256"]:
        raise InputError(f"{run.start}: is not the model that the run in {folder} began with.")
    for package, used in run.provenance["versions"].items():
        if before.provenance.get("versions", {}).get(package) != used:
            log.warning("%s is %s, not the version the run began with", package, used)
    if not (folder / "state.npz").exists():
        return fresh, 0.0
    header, arrays = read_arrays(folder / "state.npz")
    kept = {"weights": fresh.weights, "best": fresh.best}
    history = tuple(HistoryRow(*row) for row in header["history"])
    return FitState(**fill(kept, arrays, folder / "state.npz"), history=history), header["seconds"]


def _differences(before: Any, after: Any, place: str = "") -> list[str]:
    """Dotted keys at which two nested tables differ."""
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        return [] if before == after else [place]
    return [
        difference
        for key in {**before, **after}
        if key != "provenance"
        for difference in _differences(
            before.get(key), after.get(key), f"{place}.{key}" if place else key
        )
    ]


def _keep(folder: Path, state: FitState, seconds: float, run: Run) -> None:
    """Write the models and, last, what a resume needs: it is never ahead of them."""
    notes = _notes(state, seconds, run)
    save(state.best, folder / "model.qiff", notes)
    save(state.weights.average, folder / "last.qiff", notes)
    atomic_write(folder / "history.csv", _history_csv(state.history))
    arrays = {"weights": state.weights, "best": state.best}
    write_arrays(folder / "state.npz", arrays, {"history": state.history, "seconds": seconds})
    log.info("step %d  loss %.4g  validation %.4g", *state.history[-1][:3])


def _notes(state: FitState, seconds: float, run: Run) -> dict[str, Any]:
    """What is written into model files."""
    return {"step": state.step, "seconds": seconds, **run.provenance}


def _finish(
    folder: Path, state: FitState, frames: Sequence[ase.Atoms], parts: Split, seconds: float
) -> dict[str, Any]:
    """Errors and figures of the best model."""
    predictions = predict(state.best, frames)
    found = {
        name: ([predictions[i] for i in indices], [frames[i] for i in indices])
        for name, indices in parts._asdict().items()
    }
    table = {name: errors(*part) for name, part in found.items()}
    if isinstance(state.best, Ensemble):
        expected = uncertainty(state.best, frames)
        for name, indices in parts._asdict().items():
            sure = deviations(found[name][0], [expected[i] for i in indices], found[name][1])
            table[name] |= reliability(sure)
            if name == "test" and sure:
                atomic_write(folder / "uncertainty.png", report.uncertainty_figure(sure))
    metrics: dict[str, Any] = {
        **table,
        "n_weights": sum(leaf.size for leaf in jax.tree.leaves(state.best)),
        "seconds": round(seconds, 2),
        "steps": state.step,
    }
    atomic_write(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    atomic_write(folder / "parity.png", report.parity_figure(found))
    atomic_write(folder / "learning.png", report.learning_figure(state.history))
    report.html_page(folder)
    return metrics


def _split_json(parts: Split) -> str:
    return json.dumps({name: indices.tolist() for name, indices in parts._asdict().items()}) + "\n"


def _history_csv(history: Sequence[HistoryRow]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(HistoryRow._fields)
    table.writerows(history)
    return text.getvalue()


class _StrictFileHandler(logging.FileHandler):
    """A log file that fails like any other file, for instance on a full disk."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        raise


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Add what is logged to a file, each line with its time."""
    handler = _StrictFileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%Y-%m-%d %H:%M:%S"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
