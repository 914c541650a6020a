"""Fits of the loop: ensembles that begin with the weights of the generation before."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import ase
from ase.data import chemical_symbols

from .._files import read_record
from ..atoms.data.dataset import write
from ..atoms.data.source import PART
from ..run.config import Data, Run
from ..run.train import train
from ..training.fit import FitState
from .settings import Learn

VALIDATED = 8
"""One frame in so many is not trained on: the best weights are chosen on it, and the spread of the
ensemble is calibrated."""


def fit_frames(
    settings: Learn,
    folder: Path,
    learned: Sequence[ase.Atoms],
    checked: Sequence[ase.Atoms],
    *,
    steps: int,
    start: Path | None,
    after_validation: Callable[[FitState], None],
) -> Path:
    """Fit an ensemble; a finished fit is not repeated, and one that was interrupted is resumed.

    Args:
        settings: for the model and how it is fitted.
        folder: of the run.
        learned: labelled frames; one in `VALIDATED` is validated on, the same in every fit.
        checked: labelled frames to test on.
        steps: of the optimiser.
        start: a model whose weights to begin with; None to begin at random.
        after_validation: called with every state of the fit.

    Returns:
        The model file.

    Raises:
        InputError: the model cannot describe the frames.
        RunError: the fit failed.
    """
    model = folder / "model.qiff"
    if "n_weights" in read_record(folder / "metrics.json"):
        return model
    data = folder.parent / "data.xyz"
    parts = [
        *(("valid" if n % VALIDATED == VALIDATED - 1 else "train") for n in range(len(learned))),
        *("test" for _ in checked),
    ]
    frames = [*learned, *checked]
    for atoms, part in zip(frames, parts, strict=True):
        atoms.info[PART] = part
    if not data.exists():
        write(data, frames)
    run = Run(
        data=Data(
            str(data),
            train=parts.count("train"),
            valid=parts.count("valid"),
            test=parts.count("test"),
        ),
        model=model_for(settings, frames),
        train=replace(settings.train, steps=steps),
        output=str(folder),
        seed=settings.seed,
        members=settings.members,
        dtype=settings.dtype,
        start=str(start or ""),
    )
    begun = (folder / "state.npz").exists()
    train(run, resume=begun, overwrite=not begun, after_validation=after_validation)
    return model


def model_for(settings: Learn, frames: Sequence[ase.Atoms]) -> dict:
    """The config of the model, with the elements of the frames unless it names others."""
    elements = sorted({int(z) for atoms in frames for z in atoms.numbers})
    return {"elements": [chemical_symbols[z] for z in elements], **settings.model}
