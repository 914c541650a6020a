"""The table of a sweep: its settings in order of their validation errors."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._files import atomic_write
from ..atoms.properties import PROPERTIES
from .figures import COLOURS, new_figure, png
from .records import csv_text
from .section import Section
from .tables import spread


class Member(NamedTuple):
    """A run of a sweep.

    Args:
        values: of the keys that vary, as text, without the seed.
        seed: of the run.
        folder: name of its folder.
        metrics: the content of its `metrics.json`; empty until it is finished.
        failure: why it failed; empty if it did not.
    """

    values: Mapping[str, str]
    seed: int
    folder: str
    metrics: Mapping[str, Any]
    failure: str = ""

    @property
    def state(self) -> str:
        """`finished`, `failed` and why, or `waiting`."""
        if self.failure:
            return f"failed: {self.failure}"
        return "finished" if self.metrics else "waiting"

    def error(self, part: str, key: str) -> float:
        """Mean absolute error of a property, in a thousandth of its unit; NaN without any."""
        found = self.metrics.get(part, {}).get(f"{key}_mae")
        return math.nan if found is None else 1000 * found


def write_report(out: Path, members: Sequence[Member], by: str, with_tests: bool = False) -> Path:
    """Write `sweep.csv`, a row for each run, and `sweep.md`, a row for each setting.

    The first setting is the one with the lowest mean validation error over its seeds, of those
    whose runs are all finished. When no run is waiting, its test errors are shown and a figure is
    drawn.

    Args:
        out: the folder of the sweep.
        members: its runs.
        by: key of the property whose errors are compared.
        with_tests: whether test errors of all settings are shown.

    Returns:
        The file `sweep.md`.
    """
    ranked = _ranked(members, by)
    done = all(member.state != "waiting" for member in members)
    tested = ranked if with_tests else ranked[: int(done)]
    keys = [key for key in PROPERTIES if any(m.error("valid", key) >= 0 for m in members)]
    of_runs = [_row_of_run(m, keys, group in tested) for group in ranked for m in group]
    atomic_write(out / "sweep.csv", csv_text(of_runs))
    of_settings = [_row_of_setting(group, keys, group in tested) for group in ranked]
    figures = {"sweep": _figure(ranked, by)} if done and keys else {}
    for name, content in figures.items():
        atomic_write(out / f"{name}.png", content)
    finished = sum(bool(member.metrics) for member in members)
    notes = [
        f"{finished} of {len(members)} runs are finished. Settings in order of their mean "
        f"validation error of {by}; mean ± standard deviation over seeds. Test errors take no part "
        "in the choice."
    ]
    section = Section("sweep", "Sweep", of_settings, figures=figures, notes=notes)
    atomic_write(out / "sweep.md", section.markdown())
    return out / "sweep.md"


def _ranked(members: Iterable[Member], by: str) -> list[list[Member]]:
    """Runs by setting, the best first; settings with unfinished runs are last."""
    groups: dict[tuple[str, ...], list[Member]] = {}
    for member in members:
        groups.setdefault(tuple(member.values.values()), []).append(member)

    def rank(group: list[Member]) -> float:
        mean = float(np.mean([member.error("valid", by) for member in group]))
        return mean if math.isfinite(mean) else math.inf

    return sorted(groups.values(), key=rank)


def _row_of_run(member: Member, keys: Sequence[str], tested: bool) -> dict[str, str | int]:
    return {
        **member.values,
        "seed": member.seed,
        **_errors([member], keys, tested, lambda values: f"{values[0]:.6g}"),
        "weights": member.metrics.get("n_weights", ""),
        "training s": member.metrics.get("seconds", ""),
        "state": member.state,
        "folder": member.folder,
    }


def _row_of_setting(group: Sequence[Member], keys: Sequence[str], tested: bool) -> dict[str, Any]:
    finished = [member for member in group if member.metrics]
    return {
        **group[0].values,
        "runs": f"{len(finished)} of {len(group)}",
        **_errors(finished, keys, tested),
        "weights": finished[0].metrics["n_weights"] if finished else "",
        "training s": round(sum(member.metrics["seconds"] for member in finished)),
        "failed": "; ".join(dict.fromkeys(member.failure for member in group if member.failure)),
    }


def _errors(
    group: Sequence[Member],
    keys: Sequence[str],
    tested: bool,
    text: Callable[[np.ndarray], str] = spread,
) -> dict[str, str]:
    """Errors of runs, as text, by the head of their column."""
    found = {}
    for part, name, shown in (("valid", "validation", True), ("test", "test", tested)):
        for key in keys:
            values = np.array([member.error(part, key) for member in group])
            known = shown and len(values) and np.all(values >= 0)
            head = f"{name} {key} MAE (m{PROPERTIES[key].unit})"
            found[head] = text(values) if known else ""
    return found


def _figure(ranked: Sequence[Sequence[Member]], by: str) -> bytes:
    """Validation errors of the runs of each setting, as PNG."""
    labels = [_label(group[0]) for group in ranked]
    figure, (axes,) = new_figure(1, width=7, height=1.2 + 0.3 * len(ranked))
    for place, group in enumerate(ranked):
        values = [member.error("valid", by) for member in group]
        axes.plot(values, [place] * len(values), "o", ms=5, color=COLOURS["test"])
    axes.set_yticks(range(len(ranked)), labels)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel=f"validation {by} MAE (m{PROPERTIES[by].unit})")
    return png(figure)


def _label(member: Member) -> str:
    return ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in member.values.items())
