"""The end of active learning: the final fit, its dynamics, their labels, the report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np

from .._files import atomic_write, save_record
from ..atoms.data.dataset import write
from ..dynamics.settings import Dynamics
from ..training.checkpoint import load
from ..training.metrics import evaluate
from .exploration import walk
from .fitting import fit_frames
from .folder import CHOSEN, frames_in
from .initial import bare
from .records import forces_rms, meets
from .report import save_report
from .work import Work


def finish(work: Work, starts: Sequence[ase.Atoms], model: Path, end: str) -> dict[str, Any]:
    """Everything after the last generation; the content of `metrics.json`.

    Args:
        work: what the loop has done.
        starts: structures; the dynamics start from the first.
        model: of the last generation.
        end: why there is no other one.
    """
    settings, targets, final = work.settings, work.settings.targets, work.folder.final
    learned = work.learned()
    with work.timed("fit"):
        model = fit_frames(
            settings,
            final / "run",
            learned,
            work.checked(),
            steps=settings.final_steps,
            start=model,
            after_validation=lambda state: work.show("fit", state.step, settings.final_steps),
        )
    ensemble, n_steps = load(model), int(1000 * targets.picoseconds / settings.explore.timestep)
    dynamics = Dynamics(
        "nvt",
        temperature=targets.temperature,
        timestep=settings.explore.timestep,
        steps=n_steps,
        interval=max(1, n_steps // (10 * targets.n_validated)),
        seed=settings.seed,
    )
    with work.timed("dynamics"):
        after = lambda done: work.show("final dynamics", done, n_steps)
        found = walk(ensemble, starts[0], dynamics, final / "dynamics.xyz", model, after)
    if not (path := final / "validated.xyz").exists():
        n_frames = min(targets.n_validated, len(found.frames))
        every = np.linspace(0, len(found.frames) - 1, n_frames).round().astype(int)
        frames = [bare(found.frames[index]) for index in every]
        for atoms in frames:
            atoms.info[CHOSEN] = "validation"
        with work.timed("label"):
            write(path, work.labelled(frames, "labels to validate"))
    validated = frames_in(path)
    validation = evaluate(ensemble, validated) if validated else {}
    atomic_write(work.folder.model, model.read_bytes())
    metrics = {
        "end": end,
        "targets_met": bool(meets(validation, targets) and not found.reason),
        "n_generations": len(work.folder.generations()),
        "n_labels": len(work.store),
        "n_failed": work.store.n_failed,
        "n_learned": len(learned),
        "validation": validation,
        "forces_rms": forces_rms(validated),
        "stable_picoseconds": found.picoseconds,
        "broken": found.reason,
        "seconds": work.total_seconds(),
        "level": work.store.provenance,
    }
    save_report(work.folder, settings, metrics)
    return save_record(work.folder.metrics, metrics)
