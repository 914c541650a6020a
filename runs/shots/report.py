"""Table and figure of the points that `path.py` has computed.

    python runs/shots/report.py OUT docs/hardware

OUT is the folder of `path.py`. For every seed the validation part chooses the point of fewest shots
whose error of forces is at most `ALLOWED` times that of a model without `shot_weight`.
"""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qiff.report.figures import new_figure, png
from qiff.report.section import Section
from qiff.studies.harness.figures import COLOURS

ALLOWED = 1.2
MODELS = {
    "LiH siVQLM": ("lih-sivqlm", "lih-sivqlm-pairs4"),
    "water siVQLM": ("water-sivqlm", "water-sivqlm-pairs8"),
    "ethanol local": ("ethanol-local", "ethanol-local-classical12"),
}
"""Tables of a model: of its circuits alone, and with a pair energy or classical invariants."""
BEFORE = {
    "LiH siVQLM": (234e6, 44.4e6, 382e6),
    "water siVQLM": (432e6, 395e6, 380e6),
    "ethanol local": (1.3e9, 1.3e9, 1.3e9),
}
"""Shots of the circuits alone with shifts along x, y and z, seeds 0, 1, 2; of ethanol seed 0."""

Point = Mapping[str, Any]


def points(out: Path, name: str) -> list[Point]:
    """All points of a table; none if it is not there."""
    table = out / f"path-{name}.jsonl"
    return [json.loads(line) for line in table.read_text().splitlines()] if table.exists() else []


def named(found: Iterable[Point], name: str) -> list[Point]:
    """The point of a name of every seed."""
    return sorted((one for one in found if one["point"] == name), key=lambda one: one["seed"])


def chosen(found: Sequence[Point], limits: Mapping[int, float]) -> list[Point]:
    """For every seed the point of fewest shots whose validation error is within its limit."""
    within = [
        one
        for one in found
        if one["point"] != "alone" and one["valid_forces_mae"] <= limits.get(one["seed"], 0)
    ]
    seeds = sorted({one["seed"] for one in within})
    return [
        min((one for one in within if one["seed"] == seed), key=lambda one: one["shots"])
        for seed in seeds
    ]


def factor(before: float, shots: float) -> str:
    """How many times fewer shots, in two digits."""
    return f"{float(format(before / shots, '.2g')):g}" if shots else "–"


def row(model: str, what: str, found: Sequence[Point], reference: Sequence[Point]) -> dict:
    """A row of the table: a value for each seed."""
    listed = lambda values, form: ", ".join(format(value, form) for value in values)
    before = BEFORE[model]
    errors = {one["seed"]: one["test_forces_mae"] for one in reference}
    return {
        "model": model,
        "what": what,
        "shots for 10 meV/Å (millions)": listed((one["shots"] / 1e6 for one in found), ".3g"),
        "times fewer": ", ".join(factor(before[one["seed"]], one["shots"]) for one in found),
        "forces, validation (meV/Å)": listed(
            (1e3 * one["valid_forces_mae"] for one in found), ".3g"
        ),
        "forces, test (meV/Å)": listed((1e3 * one["test_forces_mae"] for one in found), ".3g"),
        "test error of forces over circuits alone": listed(
            (
                one["test_forces_mae"] / errors[one["seed"]]
                for one in found
                if one["seed"] in errors
            ),
            ".2f",
        ),
    }


def rows(model: str, circuits: Sequence[Point], both: Sequence[Point]) -> list[dict]:
    """Rows of one model."""
    reference, trained = named(circuits, "trained"), named(both, "trained")
    chosen_by = {
        f"both, chosen: at most {ALLOWED} times the error of {what}": chosen(
            both, {one["seed"]: ALLOWED * one["valid_forces_mae"] for one in compared}
        )
        for what, compared in (("both", trained), ("circuits alone", reference))
    }
    given = {
        "circuits alone": reference,
        "classical part alone": named(both, "alone"),
        "both": trained,
        **{
            f"both, `shot_weight` {weight}, point {number}": named(both, name)
            for name in dict.fromkeys(one["point"] for one in both)
            for number, is_on_path, weight in [name.partition("-weight-")]
            if is_on_path
        },
        **chosen_by,
    }
    return [row(model, what, found, reference) for what, found in given.items() if found]


def figure(tables: Mapping[str, tuple[list[Point], list[Point]]]) -> bytes:
    """Shots against errors along the paths, a panel for each model."""
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    drawn, axes = new_figure(len(tables), width=4.2 * len(tables))
    for one, (model, (circuits, both)) in zip(axes, tables.items(), strict=True):
        for seed in sorted({point["seed"] for point in [*circuits, *both]}):
            style = {"color": COLOURS[seed], "ms": 4}
            for found, marker, label in ((circuits, "s", "circuits alone"), (both, "o", "both")):
                own = [
                    p
                    for p in found
                    if p["seed"] == seed and p["shots"] and "fresh" not in p["point"]
                ]
                x, y = (
                    [p[key] * unit for p in own]
                    for key, unit in (("test_forces_mae", 1e3), ("shots", 1))
                )
                one.plot(x, y, marker=marker, lw=0.9, label=label if seed == 0 else None, **style)
            for point in both:
                if point["seed"] == seed and point["point"] == "alone":
                    one.axvline(1e3 * point["test_forces_mae"], color=COLOURS[seed], lw=0.8, ls=":")
        one.set(xscale="log", yscale="log", title=model)
        one.xaxis.set_major_formatter(ScalarFormatter())
        one.xaxis.set_minor_formatter(NullFormatter())
        one.set_xticks([20, 50, 100, 200, 500])
        one.set(xlabel="test error of forces (meV/Å)", ylabel="shots for 10 meV/Å")
        one.legend(frameon=False, fontsize=7, loc="best")
    return png(drawn)


def main() -> None:
    """See the docstring of the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("docs", type=Path)
    options = parser.parse_args()
    tables = {
        model: (points(options.out, alone), points(options.out, both))
        for model, (alone, both) in MODELS.items()
        if points(options.out, both)
    }
    section = Section(
        "path",
        "Shots along the path of shot_weight",
        [line for model, found in tables.items() for line in rows(model, *found)],
        figures={"path": figure(tables)},
        notes=[
            "Values of seeds 0, 1, 2. Shots are predicted for 10 meV/Å, the root mean square of "
            "standard errors of forces, for the best allocation, mean of three test geometries. "
            "Colours: seeds. Dotted: the classical part alone, without shots. Points are chosen by "
            "errors of the validation part: that of fewest shots within the limit."
        ],
    )
    print(section.save(options.docs, {"tables": MODELS, "before": BEFORE, "allowed": ALLOWED}))


if __name__ == "__main__":
    main()
