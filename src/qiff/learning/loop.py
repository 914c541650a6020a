"""The loop of active learning: sample, check, select, label, fit, until the targets are met.

Every step leaves files and is not repeated if they are there, and every label is kept when it
arrives, so that an interrupted loop resumes where it was.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import ase
import numpy as np

from .._files import atomic_write, locked, read_record, save_record
from .._workers import Map
from ..atoms.data.dataset import write
from ..atoms.properties import labels
from ..dynamics.settings import Dynamics
from ..labelling.levels import find_level
from ..labelling.store import LabelStore
from ..model.potential import AbstractPotential
from ..run.folder import log, log_to
from ..training.checkpoint import load
from ..training.metrics import Metrics, evaluate
from .exploration import force_uncertainties, walk
from .fitting import fit_frames
from .folder import CHOSEN, UNCERTAINTY, Generation, LearnFolder, frames_in
from .initial import bare, first_frames, given_structures, starting_structures
from .records import forces_rms, meets
from .report import save_report
from .selection import SELECTIONS
from .settings import Learn
from .show import Show


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
            return _Loop(settings, folder, store, show).run(structures)


@dataclass(frozen=True)
class _Loop:
    """What every step of the loop needs."""

    settings: Learn
    folder: LearnFolder
    store: LabelStore
    show: Show
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, structures: Sequence[tuple[str, ase.Atoms]]) -> dict[str, Any]:
        finished = read_record(self.folder.metrics)
        if finished:
            return finished
        with self._timed("structures"):
            starts = starting_structures(
                structures, self.settings, self.store, self.folder.structures, self.show
            )
        model, end, numbers = self._first(starts), "", count(1)
        while not end:
            generation = self.folder.generation(next(numbers))
            model, end = self._next(generation, starts, model)
        return self._finish(starts, model, end)

    # --- generations ------------------------------------------------------------------------

    def _first(self, starts: Sequence[ase.Atoms]) -> Path:
        """Generation 0: displaced structures."""
        generation = self.folder.generation(0)
        if not generation.record:
            if not generation.selected.exists():
                with self._timed("label"):
                    frames = first_frames(self.settings, starts, self.store, self.show)
                    for atoms in frames:
                        atoms.info |= {CHOSEN: "displaced", "generation": 0}
                    write(generation.selected, self._labelled(frames, "labels"))
            self._fit(generation, None)
            self._record(generation, {"temperature": self.settings.explore.temperature(1)})
        return generation.model

    def _next(
        self, generation: Generation, starts: Sequence[ase.Atoms], model: Path
    ) -> tuple[Path, str]:
        """One generation: the model after it, and why it is the last one; empty if it is not."""
        if not (done := generation.record):
            if not generation.path.exists() and (end := self._spent()):
                return model, end
            ensemble = load(model)
            walks = self._explore(generation, ensemble, starts, model)
            found = self._check(generation, ensemble, walks)
            n_selected = 0 if found["end"] else self._select(generation)
            if n_selected:
                self._fit(generation, model)
            done = self._record(generation, {**walks, **found, "n_selected": n_selected})
        return (generation.model if generation.model.exists() else model), done["end"]

    def _explore(
        self,
        generation: Generation,
        ensemble: AbstractPotential,
        starts: Sequence[ase.Atoms],
        model: Path,
    ) -> dict[str, Any]:
        """Dynamics of the ensemble; their frames are the candidates of the generation."""
        explore, number = self.settings.explore, generation.number
        kept = generation.path / "dynamics.json"
        if record := read_record(kept):
            return record
        temperature = explore.temperature(number)
        n_steps = int(1000 * explore.picoseconds / explore.timestep)
        walks, frames, total = [], [], explore.n_walkers * n_steps
        with self._timed("dynamics"):
            for n in range(explore.n_walkers):
                dynamics = Dynamics(
                    "nvt",
                    temperature=temperature,
                    timestep=explore.timestep,
                    steps=n_steps,
                    interval=explore.interval,
                    seed=self.settings.seed + 1000 * number + n,
                )
                path = generation.path / f"walk-{n}.xyz"
                after = lambda done, n=n: self.show("dynamics", n * n_steps + done, total)
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
                "uncertain": np.sum(uncertainties > self.settings.threshold) / max(1, len(frames)),
            },
        )

    def _check(
        self, generation: Generation, ensemble: AbstractPotential, walks: dict[str, Any]
    ) -> dict[str, Any]:
        """Errors of the model before on candidates drawn at random, never to be learned from; and
        why the generation is the last, empty if it is not."""
        kept = generation.path / "check.json"
        if record := read_record(kept):
            return record
        frames = frames_in(generation.candidates)
        rng = np.random.default_rng([self.settings.seed, generation.number])
        n_frames = min(self.settings.targets.n_checked, len(frames) // 2)
        chosen = [frames[n] for n in sorted(rng.permutation(len(frames))[:n_frames])]
        for atoms in chosen:
            atoms.info |= {CHOSEN: "check", "generation": generation.number}
        with self._timed("label"):
            checked = self._labelled(chosen, "labels to check")
            write(generation.checked, checked)
        check = evaluate(ensemble, checked) if checked else {}
        if not frames:
            return save_record(kept, {"check": check, "end": "every trajectory broke at once"})
        end = self._good_enough(generation, walks, check) or self._spent()
        return save_record(kept, {"check": check, "end": end})

    def _select(self, generation: Generation) -> int:
        """Label candidates to learn from; how many there are.

        Which ones is kept before the first is labelled, for it depends on what may be spent.
        """
        if not generation.chosen.exists():
            select, seed = self.settings.select, self.settings.seed + generation.number
            checked = {_place(atoms) for atoms in frames_in(generation.checked)}
            pool = [a for a in frames_in(generation.candidates) if _place(a) not in checked]
            uncertainties = np.array([atoms.info[UNCERTAINTY] for atoms in pool])
            n_frames = min(select.n_frames, self._affordable())
            with self._timed("select"):
                chosen = SELECTIONS[select.method](
                    *(pool, uncertainties, self._learned()),
                    *(self.settings.threshold, n_frames, seed),
                )
            for index in chosen:
                pool[index].info |= {CHOSEN: select.method, "generation": generation.number}
            write(generation.chosen, [pool[index] for index in chosen])
        if not generation.selected.exists():
            with self._timed("label"):
                found = self._labelled(frames_in(generation.chosen), "labels")
                write(generation.selected, found)
        return len(frames_in(generation.selected))

    def _good_enough(self, generation: Generation, walks: dict[str, Any], check: Metrics) -> str:
        """Why no other generation is needed; empty if one is."""
        explore, targets = self.settings.explore, self.settings.targets
        hottest = generation.number >= len(explore.temperatures)
        sure = not walks["broken"] and walks["uncertain"] <= targets.uncertain
        good = hottest and sure and meets(check, targets)
        return "the targets are met" if good else ""

    def _spent(self) -> str:
        """Why no other generation can be afforded; empty if one can."""
        if self._affordable() <= self.settings.targets.n_checked:
            return "the budget of labels is spent"
        if 0 < self.settings.targets.hours < self._hours():
            return "the time is spent"
        return ""

    # --- the end ----------------------------------------------------------------------------

    def _finish(self, starts: Sequence[ase.Atoms], model: Path, end: str) -> dict[str, Any]:
        """The final fit, its dynamics, their labels, the report."""
        settings, targets, final = self.settings, self.settings.targets, self.folder.final
        with self._timed("fit"):
            model = fit_frames(
                settings,
                final / "run",
                self._learned(),
                self._checked(),
                steps=settings.final_steps,
                start=model,
                after_validation=self._show_fit(settings.final_steps),
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
        with self._timed("dynamics"):
            after = lambda done: self.show("final dynamics", done, n_steps)
            found = walk(ensemble, starts[0], dynamics, final / "dynamics.xyz", model, after)
        if not (path := final / "validated.xyz").exists():
            n_frames = min(targets.n_validated, len(found.frames))
            every = np.linspace(0, len(found.frames) - 1, n_frames).round().astype(int)
            frames = [bare(found.frames[index]) for index in every]
            for atoms in frames:
                atoms.info[CHOSEN] = "validation"
            with self._timed("label"):
                write(path, self._labelled(frames, "labels to validate"))
        validated = frames_in(path)
        validation = evaluate(ensemble, validated) if validated else {}
        atomic_write(self.folder.model, model.read_bytes())
        metrics = {
            "end": end,
            "targets_met": bool(meets(validation, targets) and not found.reason),
            "n_generations": len(self.folder.generations()),
            "n_labels": len(self.store),
            "n_failed": self.store.n_failed,
            "n_learned": len(self._learned()),
            "validation": validation,
            "forces_rms": forces_rms(validated),
            "stable_picoseconds": found.picoseconds,
            "broken": found.reason,
            "seconds": self._total_seconds(),
            "level": self.store.provenance,
        }
        save_report(self.folder, settings, metrics)
        return save_record(self.folder.metrics, metrics)

    # --- what the steps share ---------------------------------------------------------------

    def _labelled(self, frames: Sequence[ase.Atoms], what: str) -> list[ase.Atoms]:
        """Labelled copies of the frames that could be labelled; the others are named in the log."""
        if not frames:
            return []
        found = self.store.label(frames, lambda done: self.show(what, done, len(frames)))
        for index, reason in found.failures.items():
            log.warning("%s: frame %d could not be labelled: %s", what, index, reason)
        return found.frames

    def _learned(self) -> list[ase.Atoms]:
        """Labelled frames to learn from, of all generations so far."""
        paths = sorted(self.folder.path.glob("generation-*/selected.xyz"))
        largest = self.settings.select.largest_force
        return [
            atoms
            for path in paths
            for atoms in frames_in(path)
            if np.abs(labels(atoms)["forces"]).max() <= largest
        ]

    def _checked(self) -> list[ase.Atoms]:
        """Labelled frames that are never learned from, of all generations so far."""
        paths = sorted(self.folder.path.glob("generation-*/checked.xyz"))
        return [atoms for path in paths for atoms in frames_in(path)]

    def _fit(self, generation: Generation, start: Path | None) -> None:
        with self._timed("fit"):
            fit_frames(
                self.settings,
                generation.run,
                self._learned(),
                self._checked(),
                steps=self.settings.train.steps,
                start=start,
                after_validation=self._show_fit(self.settings.train.steps),
            )

    def _show_fit(self, steps: int):
        return lambda state: self.show("fit", state.step, steps)

    def _record(self, generation: Generation, found: dict[str, Any]) -> dict[str, Any]:
        """What is kept of a finished generation."""
        record = {
            "generation": generation.number,
            "end": "",
            **found,
            "n_learned": len(self._learned()),
            "n_labels": len(self.store),
            "seconds": dict(self.seconds),
        }
        self.seconds.clear()
        log.info("generation %d: %s", generation.number, record)
        return save_record(generation.path / "generation.json", record)

    def _affordable(self) -> int:
        """Labels that may still be spent before the final validation."""
        left = self.settings.label.budget - len(self.store)
        return max(0, left - self.settings.targets.n_validated)

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0) + time.perf_counter() - begin

    def _total_seconds(self) -> dict[str, float]:
        """By kind of work, of all generations and what follows."""
        total: dict[str, float] = dict(self.seconds)
        for generation in self.folder.generations():
            for what, seconds in generation.record["seconds"].items():
                total[what] = total.get(what, 0.0) + seconds
        return {what: round(seconds, 1) for what, seconds in total.items()}

    def _hours(self) -> float:
        return sum(self._total_seconds().values()) / 3600
