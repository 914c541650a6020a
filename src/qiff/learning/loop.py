"""The loop of active learning: sample, check, select, label, fit, until the targets are met.

Every step leaves files and is not repeated if they are there, and every label is kept when it
arrives, so that an interrupted loop resumes where it was.
"""

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import ase
import numpy as np

from .._files import locked, read_record, save_record
from .._workers import Map
from ..atoms.data.dataset import write
from ..dynamics.settings import Dynamics
from ..labelling.levels import find_level
from ..labelling.store import LabelStore
from ..model.potential import AbstractPotential
from ..run.folder import log, log_to
from ..training.checkpoint import load
from ..training.metrics import Metrics, evaluate
from .exploration import force_uncertainties, walk
from .final import finish
from .fitting import fit_frames
from .folder import CHOSEN, UNCERTAINTY, Generation, LearnFolder, frames_in
from .initial import bare, first_frames, given_structures, starting_structures
from .records import meets, row
from .selection import SELECTIONS
from .settings import Learn
from .show import Show
from .work import Work


def _place(atoms: ase.Atoms) -> bytes:
    """What tells frames of one file apart."""
    return atoms.positions.tobytes()


def learn(
    settings: Learn,
    *,
    resume: bool = False,
    overwrite: bool = False,
    map: Map = map,
    show: Show = lambda what, done, total: None,
) -> dict[str, Any]:
    """Learn a potential from structures without labels; everything is written to one folder.

    Args:
        settings: what to do.
        resume: continue what is in the folder; no finished label is computed again.
        overwrite: replace what is in the folder.
        map: applies the level of theory to frames, see `Map`.
        show: called with what is being done, how much of it is done, and of how much.

    Returns:
        The content of `metrics.json`.

    Raises:
        InputError: the folder holds something else or is in use by another process, or a
            structure or setting cannot be used.
        RunError: a structure to start from cannot be labelled, or a fit failed.
    """
    folder = LearnFolder(Path(settings.output))
    level = find_level(settings.label.level, settings.label.settings)
    structures = given_structures(settings, level)
    with locked(folder.config):
        folder.begin(settings, resume=resume, overwrite=overwrite)
        with log_to(folder.path / "learn.log"):
            store = LabelStore(folder.labels, level, map)
            return _run(Work(settings, folder, store, show), structures)


def _run(work: Work, structures: Sequence[tuple[str, ase.Atoms]]) -> dict[str, Any]:
    finished = read_record(work.folder.metrics)
    if finished:
        return finished
    with work.timed("structures"):
        starts = starting_structures(
            structures,
            work.settings,
            work.store,
            work.folder.structures,
            work.show,
        )
    model, end, numbers = _first(work, starts), "", count(1)
    while not end:
        generation = work.folder.generation(next(numbers))
        model, end = _next(work, generation, starts, model)
    return finish(work, starts, model, end)


def _first(work: Work, starts: Sequence[ase.Atoms]) -> Path:
    """Generation 0: displaced structures."""
    generation = work.folder.generation(0)
    if not generation.record:
        if not generation.selected.exists():
            with work.timed("label"):
                frames = first_frames(work.settings, starts, work.store, work.show)
                for atoms in frames:
                    atoms.info |= {CHOSEN: "displaced", "generation": 0}
                write(generation.selected, work.labelled(frames, "labels"))
        found = {"temperature": work.settings.explore.temperature(1)}
        _record(work, generation, {**found, "n_learned": _fit(work, generation, None)})
    return generation.model


def _next(
    work: Work, generation: Generation, starts: Sequence[ase.Atoms], model: Path
) -> tuple[Path, str]:
    """One generation: the model after it, and why it is the last one; empty if it is not."""
    if not (done := generation.record):
        if not generation.path.exists() and (end := _spent(work)):
            return model, end
        ensemble = load(model)
        walks = _explore(work, generation, ensemble, starts, model)
        found = _check(work, generation, ensemble, walks)
        n_selected = 0 if found["end"] else _select(work, generation)
        n_learned = _fit(work, generation, model) if n_selected else len(work.learned())
        counts = {"n_selected": n_selected, "n_learned": n_learned}
        done = _record(work, generation, {**walks, **found, **counts})
    return (generation.model if generation.model.exists() else model), done["end"]


def _explore(
    work: Work,
    generation: Generation,
    ensemble: AbstractPotential,
    starts: Sequence[ase.Atoms],
    model: Path,
) -> dict[str, Any]:
    """Dynamics of the ensemble; their frames are the candidates of the generation."""
    explore, number = work.settings.explore, generation.number
    kept = generation.path / "dynamics.json"
    if record := read_record(kept):
        return record
    temperature = explore.temperature(number)
    n_steps = int(1000 * explore.picoseconds / explore.timestep)
    walks, frames, total = [], [], explore.n_walkers * n_steps
    with work.timed("dynamics"):
        for n in range(explore.n_walkers):
            dynamics = Dynamics(
                "nvt",
                temperature=temperature,
                timestep=explore.timestep,
                steps=n_steps,
                interval=explore.interval,
                seed=work.settings.seed + 1000 * number + n,
            )
            path = generation.path / f"walk-{n}.xyz"
            after = lambda done, n=n: work.show("dynamics", n * n_steps + done, total)
            walks.append(walk(ensemble, starts[n % len(starts)], dynamics, path, model, after))
            frames += walks[-1].frames
        uncertainties = force_uncertainties(ensemble, frames)
        candidates = [bare(atoms) for atoms in frames]
        for atoms, value in zip(candidates, uncertainties, strict=True):
            atoms.info[UNCERTAINTY] = float(value)
        write(generation.candidates, candidates)
    return save_record(
        kept,
        {
            "temperature": temperature,
            "picoseconds": [one.picoseconds for one in walks],
            "broken": [one.reason for one in walks if one.reason],
            "n_candidates": len(frames),
            "uncertain": np.sum(uncertainties > work.settings.threshold) / max(1, len(frames)),
        },
    )


def _check(
    work: Work, generation: Generation, ensemble: AbstractPotential, walks: dict[str, Any]
) -> dict[str, Any]:
    """Errors of the model before on candidates drawn at random, never to be learned from; and
    why the generation is the last, empty if it is not."""
    kept = generation.path / "check.json"
    if record := read_record(kept):
        return record
    frames = frames_in(generation.candidates)
    rng = np.random.default_rng([work.settings.seed, generation.number])
    n_frames = min(work.settings.targets.n_checked, len(frames) // 2)
    chosen = [frames[n] for n in sorted(rng.permutation(len(frames))[:n_frames])]
    for atoms in chosen:
        atoms.info |= {CHOSEN: "check", "generation": generation.number}
    with work.timed("label"):
        checked = work.labelled(chosen, "labels to check")
        write(generation.checked, checked)
    check = evaluate(ensemble, checked) if checked else {}
    if not frames:
        return save_record(kept, {"check": check, "end": "every trajectory broke at once"})
    end = _good_enough(work, generation, walks, check) or _spent(work)
    return save_record(kept, {"check": check, "end": end})


def _select(work: Work, generation: Generation) -> int:
    """Label candidates to learn from; how many there are.

    Which ones is kept before the first is labelled, for it depends on what may be spent.
    """
    if not generation.chosen.exists():
        select, seed = work.settings.select, work.settings.seed + generation.number
        checked = {_place(atoms) for atoms in frames_in(generation.checked)}
        pool = [a for a in frames_in(generation.candidates) if _place(a) not in checked]
        uncertainties = np.array([atoms.info[UNCERTAINTY] for atoms in pool])
        n_frames = min(select.n_frames, work.affordable())
        with work.timed("select"):
            chosen = SELECTIONS[select.method](
                *(pool, uncertainties, work.learned()),
                *(work.settings.threshold, n_frames, seed),
            )
        for index in chosen:
            pool[index].info |= {CHOSEN: select.method, "generation": generation.number}
        write(generation.chosen, [pool[index] for index in chosen])
    if not generation.selected.exists():
        with work.timed("label"):
            found = work.labelled(frames_in(generation.chosen), "labels")
            write(generation.selected, found)
    return len(frames_in(generation.selected))


def _good_enough(work: Work, generation: Generation, walks: dict[str, Any], check: Metrics) -> str:
    """Why no other generation is needed; empty if one is."""
    explore, targets = work.settings.explore, work.settings.targets
    hottest = generation.number >= len(explore.temperatures)
    sure = not walks["broken"] and walks["uncertain"] <= targets.uncertain
    good = hottest and sure and meets(check, targets)
    return "the targets are met" if good else ""


def _spent(work: Work) -> str:
    """Why no other generation can be afforded; empty if one can."""
    if work.affordable() <= work.settings.targets.n_checked:
        return "the budget of labels is spent"
    if 0 < work.settings.targets.hours < work.hours():
        return "the time is spent"
    return ""


def _fit(work: Work, generation: Generation, start: Path | None) -> int:
    """Fit to all frames so far; how many there are."""
    with work.timed("fit"):
        learned, steps = work.learned(), work.settings.train.steps
        fit_frames(
            work.settings,
            generation.run,
            learned,
            work.checked(),
            steps=steps,
            start=start,
            after_validation=lambda state: work.show("fit", state.step, steps),
        )
    return len(learned)


def _record(work: Work, generation: Generation, found: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a finished generation."""
    record = {
        "generation": generation.number,
        "end": "",
        **found,
        "n_labels": len(work.store),
        "seconds": dict(work.seconds),
    }
    work.seconds.clear()
    numbers = (f"{name} {value}" for name, value in row(record).items())
    log.info("%s  %s", "  ".join(numbers), record["end"])
    return save_record(generation.path / "generation.json", record)
