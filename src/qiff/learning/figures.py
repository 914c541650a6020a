"""Figures of `qiff learn`, as PNG. matplotlib is imported inside."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import ase
import numpy as np

from ..report.figures import COLOURS, new_figure, png
from .folder import UNCERTAINTY, Generation, frames_in
from .records import error_of
from .selection import descriptors


def generation_figure(
    generation: Generation, known: Sequence[ase.Atoms], threshold: float
) -> bytes:
    """Uncertainties of the candidates, and where candidates and chosen frames lie.

    The second panel shows the two directions in which the descriptors vary most.

    Args:
        generation: a finished one, from 1 on.
        known: frames that were learned from before.
        threshold: of the uncertainty in eV/Å.
    """
    candidates, selected = frames_in(generation.candidates), frames_in(generation.selected)
    figure, (left, right) = new_figure(2, width=9.5)
    values = [1000 * np.array([a.info[UNCERTAINTY] for a in f]) for f in (candidates, selected)]
    top = max(1000 * threshold, *(value.max(initial=0) for value in values))
    bins = np.linspace(0, 1.02 * top, 40)
    left.hist(values[0], bins, color=COLOURS["train"], label="candidates")
    left.hist(values[1], bins, color=COLOURS["test"], label="selected")
    left.axvline(1000 * threshold, color=COLOURS["valid"], lw=1, label="threshold")
    left.set(xlabel="force uncertainty of the least certain atom (meV/Å)", ylabel="frames")
    left.legend(frameon=False, fontsize=8)
    groups = {"learned before": known, "candidates": candidates, "selected": selected}
    places = _projected([atoms for frames in groups.values() for atoms in frames])
    for (name, frames), colour, size in zip(
        groups.items(), ("0.75", COLOURS["train"], COLOURS["test"]), (3, 4, 5), strict=True
    ):
        here, places = places[: len(frames)], places[len(frames) :]
        right.plot(*here.T, "o", ms=size, mew=0, color=colour, label=name)
    right.set(xlabel="first principal component", ylabel="second", xticks=[], yticks=[])
    right.legend(frameon=False, fontsize=8)
    return png(figure)


def _projected(frames: Sequence[ase.Atoms]) -> np.ndarray:
    """The first two principal components of the descriptors of frames."""
    found = descriptors(frames)
    found -= found.mean(0)
    _, _, directions = np.linalg.svd(found, full_matrices=False)
    return found @ directions[:2].T


def progress_figure(
    generations: Sequence[Mapping[str, Any]],
    metrics: Mapping[str, Any],
    targets: Mapping[str, float],
) -> bytes:
    """Errors on frames that were never learned from, against the labels spent before.

    Args:
        generations: records of finished ones.
        metrics: of the final model, the content of `metrics.json`.
        targets: of the mean absolute error by property, in eV/Å and eV.
    """
    figure, panels = new_figure(2, width=9)
    for axes, (key, target), unit in zip(panels, targets.items(), ("meV/Å", "meV"), strict=True):
        pairs = [(a, b["check"]) for a, b in pairwise(generations) if b.get("check")]
        spent = [before["n_labels"] for before, _ in pairs]
        errors = [1000 * error_of(check, key) for _, check in pairs]
        axes.plot(spent, errors, "o-", color=COLOURS["test"], label="generations")
        if metrics["validation"]:
            last = 1000 * error_of(metrics["validation"], key)
            axes.plot(metrics["n_labels"], last, "*", ms=11, color=COLOURS["test"], label="final")
        axes.axhline(1000 * target, color=COLOURS["valid"], lw=1, label="target")
        axes.set(xlabel="labels", ylabel=f"{key} MAE ({unit})", yscale="log")
        for which in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            which("{x:g}")
        axes.legend(frameon=False, fontsize=8)
    return png(figure)
