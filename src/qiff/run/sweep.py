"""Sweeps: one run for each combination of settings, compared by their validation errors."""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from .._checks import InputError, check_at_least, check_known
from .._files import read_record, save_record
from .._workers import Map
from ..atoms.data.dataset import file_hash
from ..atoms.properties import PROPERTIES
from ..report.sweep import Member, write_report
from .config import Run, read_config
from .prepare import differences
from .tasks import is_trained, train_all

SEED = "seed"
"""The key that combinations are repeated over: their errors are means over its values."""


class Combination(NamedTuple):
    """A value for each key of the grid, as text, and the run that has them."""

    values: Mapping[str, str]
    run: Run


@dataclass(frozen=True)
class Sweep:
    """Runs over a grid of settings.

    Args:
        out: folder of the runs and their table.
        combinations: one for each run.
        by: key of the property in `PROPERTIES` whose validation error is compared.
        record: config and grid, to recognise the sweep by.
    """

    out: Path
    combinations: Sequence[Combination]
    by: str
    record: Mapping[str, Any]


def read_sweep(
    config: Path,
    overrides: Sequence[str],
    grid: Sequence[str],
    *,
    n_seeds: int = 0,
    out: Path | None = None,
    by: str = "",
) -> Sweep:
    """Read the config of a run and a grid of its settings; every combination is checked.

    Args:
        config: a TOML file, see `read_config`.
        overrides: such as `train.steps=100`, for every run.
        grid: such as `train.learning_rate=0.01,0.003`, one for each key.
        n_seeds: above 0 every combination has so many runs, from the seed of the config on.
        out: the folder; None for that of the config with `-sweep` at its end.
        by: property whose validation error is compared; empty for forces where every run learns
            them, else energy.

    Raises:
        InputError: a key or a value is wrong, in the config or in the grid.
    """
    base, axes = read_config(config, overrides), _axes(grid)
    check_at_least("seeds", n_seeds, 0)
    if n_seeds:
        if SEED in axes:
            raise InputError("`--seeds` and `--grid seed=…` exclude each other; give one of them.")
        axes[SEED] = [str(base.seed + n) for n in range(n_seeds)]
    if not axes:
        raise InputError("a sweep needs `--grid` or `--seeds`.")
    out = out or Path(f"{base.output.rstrip('/')}-sweep")
    combinations = []
    for number, texts in enumerate(product(*axes.values()), 1):
        values = dict(zip(axes, texts, strict=True))
        run = read_config(config, [*overrides, *(f"{key}={text}" for key, text in values.items())])
        run = dataclasses.replace(run, output=str(out / "runs" / _name(number, values)))
        combinations.append(Combination(values, run))
    runs = [combination.run for combination in combinations]
    hashes = {path: file_hash(path) for path in sorted({run.data.path for run in runs})}
    kept = dataclasses.asdict(base) | {"output": ""}
    record = {"grid": axes, "config": kept, "data_sha256": hashes}
    return Sweep(out, combinations, _compared(runs, by), record)


def sweep(
    found: Sweep,
    show: Callable[[int, str], None] = lambda n_done, text: None,
    map: Map = map,
    *,
    with_tests: bool = False,
) -> Path:
    """Train the runs of a sweep; finished ones are kept and those that were begun resume.

    The table is written anew after each run. Test errors are shown of the combination with the
    lowest validation error alone, since the choice must not depend on them.

    Args:
        found: what to train.
        show: called with the number of finished runs and a text.
        map: applies a function to each run, see `Map`.
        with_tests: whether test errors of all combinations are shown.

    Returns:
        The table as Markdown.

    Raises:
        InputError: the folder holds another sweep; the data do not fit a config.
    """
    _check_same(found)
    waiting = [c.run for c in found.combinations if not is_trained(Path(c.run.output))]
    n_before, failures = len(found.combinations) - len(waiting), {}
    report = partial(_report, found, with_tests)
    show(n_before, "runs")
    finished: list[Path] = []
    during = lambda name: show(n_before + len(finished), name)
    for folder, failure in train_all(waiting, during, map):
        finished.append(folder)
        failures[folder] = failure
        report(failures)
        during(folder.name)
    return report(failures)


def _axes(grid: Sequence[str]) -> dict[str, list[str]]:
    """The values of each key, as text."""
    axes: dict[str, list[str]] = {}
    for text in grid:
        key, equals, values = (part.strip() for part in text.partition("="))
        if not (key and equals and values):
            raise InputError(f"`--grid` needs key=value,value, but got `{text}`.")
        if key in axes or key in ("output", "provenance"):
            raise InputError(f"`--grid {text}`: `{key}` is given twice or cannot vary.")
        axes[key] = [value.strip() for value in _BETWEEN_VALUES.split(values)]
        if "" in axes[key] or len(set(axes[key])) < len(axes[key]):
            raise InputError(f"`--grid {text}`: a value is empty or given twice.")
    return axes


_BETWEEN_VALUES = re.compile(r",(?![^\[{]*[\]}])")
"""A comma that is not inside brackets."""


def _name(number: int, values: Mapping[str, str]) -> str:
    """A folder name: the number of a combination, and its values for a person to read."""
    text = "-".join(f"{key.rpartition('.')[2]}-{value}" for key, value in values.items())
    return f"{number:03d}-" + re.sub(r"[^\w.+-]+", "_", text)[:80]


def _compared(runs: Sequence[Run], by: str) -> str:
    """The property whose errors are compared; every run must learn it."""
    learned = [run.train.loss.learned for run in runs]
    chosen = by or ("forces" if all("forces" in keys for keys in learned) else "energy")
    check_known("Property", chosen, PROPERTIES)
    if not all(chosen in keys for keys in learned):
        raise InputError(f"runs are compared by their errors of {chosen}, but not all learn it.")
    return chosen


def _check_same(found: Sweep) -> None:
    """Raise unless the folder is new or holds this sweep, which a file there records."""
    path, before = found.out / "sweep.json", read_record(found.out / "sweep.json")
    if not before:
        save_record(path, found.record)
        return
    wanted = json.loads(json.dumps(found.record))
    if changed := differences(before, wanted):
        raise InputError(
            f"{found.out}: holds another sweep, `{changed[0]}` differs; choose another --out."
        )


def _report(found: Sweep, with_tests: bool, failures: Mapping[Path, str]) -> Path:
    """Write the table of what is finished so far."""
    members = []
    for values, run in found.combinations:
        folder, shown = Path(run.output), {k: v for k, v in values.items() if k != SEED}
        metrics = read_record(folder / "metrics.json")
        members.append(Member(shown, run.seed, folder.name, metrics, failures.get(folder, "")))
    return write_report(found.out, members, found.by, with_tests)
