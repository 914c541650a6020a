"""The HTML page of a run: one file that needs no network, with pictures, viewers and players."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from .._checks import InputError
from .._files import atomic_write
from ..atoms.properties import PROPERTIES
from ..quantum.figure import INK
from ..training.checkpoint import load
from ..training.comparison import PER_ATOM
from .architecture import model_figure
from .figures import saved
from .numbers import curves, embedded, structures, trajectory
from .predictions import FILE, Predictions, load_predictions
from .records import read_table, read_toml, results
from .tables import summary
from .verdict import GRADES, sentences

Cells = Sequence[str | int | float]


def html_page(folder: Path, metrics: Mapping[str, Any] | None = None) -> Path:
    """Write `report.html` of a run folder; nothing is computed again.

    Args:
        folder: of the run.
        metrics: if they are not in the folder yet.

    Raises:
        InputError: the folder holds no finished run.
    """
    metrics, records = results(folder, metrics)
    history = read_table(folder / "history.csv")
    shown = load_predictions(folder / FILE)
    moving = [found for name in records if (found := trajectory(folder / f"{name}.xyz"))]
    data = {
        "runs": [{"name": folder.name, "curves": curves(history)}],
        "structures": structures(shown) if shown else None,
        "trajectories": moving,
    }
    parts = [
        _head(folder, shown, metrics, history),
        _structures(data["structures"], shown) if shown else _pictures(folder),
        _distributions(data["structures"]) if shown else "",
        learning_section(data["runs"]),
        *(_player(one, number) for number, one in enumerate(moving)),
        _model(folder),
        _provenance(folder, metrics),
    ]
    path = folder / "report.html"
    atomic_write(path, page(folder.name, parts, data, viewer=bool(shown or moving)))
    return path


def page(title: str, parts: Iterable[str], data: Mapping[str, Any], *, viewer: bool) -> str:
    """A page of sections; with `viewer` the library for structures is in it, once."""
    library = ""
    if viewer:
        licence = _asset("3Dmol-LICENSE.txt").replace("--", "- -")
        code = _asset("3Dmol-min.js").replace("</script", "<\\/script")
        library = f"<!--\n{licence}\n-->\n<script>{code}</script>"
    return Template(_asset("page.html")).substitute(
        title=f"qiff: {html.escape(title)}",
        style=_asset("page.css"),
        body="\n".join(parts),
        data=embedded(data),
        library=library,
        script=_asset("page.js"),
    )


def table(head: Cells, rows: Iterable[Cells], kind: str = "") -> str:
    """A table; every cell is escaped."""
    line = lambda cells, tag: "".join(f"<{tag}>{html.escape(str(c))}</{tag}>" for c in cells)
    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    top = f"<thead><tr>{line(head, 'th')}</tr></thead>" if head else ""
    return f'<div class="scroll"><table class="{kind}">{top}<tbody>{body}</tbody></table></div>'


def section(title: str, *parts: str) -> str:
    """A section with a heading."""
    return f"<section><h2>{html.escape(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def canvas(name: str, label: str, kind: str = "small", **data: str) -> str:
    """Where a plot is drawn; `label` says what it shows."""
    more = "".join(f' data-{key}="{html.escape(value)}"' for key, value in data.items())
    text = html.escape(label)
    return (
        f'<canvas id="{html.escape(name)}" class="{kind}" role="img" aria-label="{text}"{more}>'
        f"{text}</canvas>"
    )


def picture(label: str, content: bytes) -> str:
    """A picture (PNG); `label` says what it shows."""
    data = base64.b64encode(content).decode()
    return f'<img alt="{html.escape(label)}" src="data:image/png;base64,{data}">'


def learning_section(runs: Sequence[Mapping[str, Any]]) -> str:
    """Learning curves: loss, and the errors of every property that was validated."""
    columns = dict.fromkeys(name for run in runs for name in run["curves"])
    found = [canvas("losses", "Loss against optimiser steps")]
    for key, one in PROPERTIES.items():
        for name, unit in ((f"{key}{PER_ATOM}", f"m{one.unit}/atom"), (key, f"m{one.unit}")):
            if f"{name}_mae" in columns:
                label = f"Mean absolute error of the {key} on the validation part against steps"
                shown = {"column": f"{name}_mae", "unit": f"{key} MAE ({unit})"}
                found.append(canvas(f"learning-{name}", label, **shown))
    return section("Learning curves", f'<div class="pair">{"".join(found)}</div>')


def _asset(name: str) -> str:
    return (files("qiff") / "report" / "assets" / name).read_text("utf-8")


def _head(
    folder: Path,
    shown: Predictions | None,
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, str]],
) -> str:
    lines = summary(folder, metrics)[:-1]
    parts = [f"<h1>{html.escape(folder.name)}</h1>"]
    if shown:
        rows = [{"valid_loss": float(row["valid_loss"])} for row in history]
        verdict, *more = map(html.escape, sentences(shown, metrics, rows))
        scale = ", ".join(f"{word} below {100 * limit:g} %" for limit, word in GRADES)
        parts += [
            f'<p class="verdict">{verdict}</p>',
            "<ul>" + "".join(f"<li>{line}</li>" for line in more) + "</ul>",
            f'<p class="muted">Root mean square errors over the spread of the labels: {scale}. The '
            "spread is the standard deviation of energies and the root mean square of forces and "
            "stress.</p>",
        ]
    return "\n".join([*parts, section("Errors", f"<pre>{html.escape(chr(10).join(lines))}</pre>")])


def _pictures(folder: Path) -> str:
    """Pictures of a run folder that has no predictions to show."""
    found = []
    for name in ("parity.png", "uncertainty.png"):
        if (folder / name).exists():
            alt = f"{name.removesuffix('.png')} of predictions and labels"
            found.append(picture(alt, (folder / name).read_bytes()))
    return section("Predictions and labels", *found)


def _structures(data: Mapping[str, Any], shown: Predictions) -> str:
    """The parity plot beside the viewer of structures."""
    n, total = len(data["indices"]), data["total"]
    which = f"All {total} frames" if n == total else f"{n} of {total} frames, the worst among them"
    buttons = "".join(
        f'<button data-key="{key}" aria-pressed="false">{key}</button>' for key in shown.labelled
    )
    return section(
        f"Predictions on the {shown.part} part",
        f'<p class="muted">{which}. Click a point to see its structure.</p>',
        '<div class="pair"><div>',
        f'<div class="controls" id="properties" role="group" aria-label="Property">{buttons}</div>',
        canvas("parity", "Predicted against labelled values, one point for each component", ""),
        '</div><div><div class="controls"><span>Worst:</span>',
        '<span class="controls" id="worst"></span></div>',
        '<div class="viewer" id="viewer" role="img"',
        ' aria-label="Structure of the chosen frame"></div>',
        '<div class="controls"><label for="frame">Frame</label>'
        '<input type="range" id="frame" min="0" value="0">',
        '<label><input type="checkbox" id="arrows" checked> forces: <span class="key">label</span> '
        '<span class="key two">prediction</span></label></div>',
        '<p class="muted" id="structure" aria-live="polite"></p></div></div>',
    )


def _distributions(data: Mapping[str, Any]) -> str:
    """Distributions of errors with their tables; standard deviations of an ensemble."""
    parts, sure = [], []
    for key, one in data["properties"].items():
        unit = f"m{one['unit']}"
        head = ("", "values", f"MAE {unit}", f"RMSE {unit}", f"95 % below {unit}", f"max {unit}")
        label = f"Distribution of the errors of the {key}"
        plot = canvas(f"histogram-{key}", label)
        parts.append(f"<div><h3>{key}</h3>{plot}{table(head, one['histograms']['rows'])}</div>")
        if "calibration" in one:
            label = f"Errors of the {key} against their expected standard deviations"
            sure.append(f"<div><h3>{key}</h3>{canvas(f'calibration-{key}', label)}</div>")
    found = section("Distribution of errors", f'<div class="pair">{"".join(parts)}</div>')
    if sure:
        text = "Bins of equal number; where the ensemble is calibrated, points lie on the diagonal."
        note = f'<p class="muted">{text}</p>'
        found += section("Uncertainty", note, f'<div class="pair">{"".join(sure)}</div>')
    return found


def _player(one: Mapping[str, Any], n: int) -> str:
    """A trajectory: viewer, controls, energy and temperature."""
    shown = f"{len(one['time'])} of {one['total']} recorded frames"
    label = html.escape(f"Trajectory {one['name']}")
    return section(
        f"Trajectory {one['name']}",
        f'<p class="muted">{shown}</p><div class="pair"><div>',
        f'<div class="viewer" id="movie-{n}" role="img" aria-label="{label}"></div>',
        f'<div class="controls"><button id="play-{n}">Play</button>'
        f'<input type="range" id="time-{n}" min="0" value="0" aria-label="Time"></div>',
        f'<p class="muted" id="state-{n}"></p></div><div>',
        canvas(f"energies-{n}", "Potential and total energy against time"),
        canvas(f"temperatures-{n}", "Temperature against time"),
        "</div></div>",
    )


def _model(folder: Path) -> str:
    """The drawing of the model and its circuits."""
    try:
        figure = model_figure(load(folder / "model.qiff"))
    except InputError as error:
        return section("Model", f"<p>{html.escape(str(error))}</p>")
    text = saved(figure, "svg").decode()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    before, _, after = text.partition("<metadata>")
    drawing = before + after.partition("</metadata>")[2]
    label = 'role="img" aria-label="Steps from atoms to energy, and the circuits"'
    note = (
        "Gates of data are grey; gates of one colour and label share a weight. A layer in a frame "
        "is repeated with weights of its own."
    )
    return section(
        "Model", f'<p class="muted">{note}</p><div class="scroll" {label}>{drawing}</div>'
    )


def _provenance(folder: Path, metrics: Mapping[str, Any]) -> str:
    """Config, versions, hashes, seeds and times."""
    text, config = read_toml(folder / "config.toml")
    origin = config.get("provenance", {})
    rows = [
        ("data", config.get("data", {}).get("path", "not known")),
        *((name.replace("_", " "), value) for name, value in origin.items() if value),
        ("seed", config.get("seed", "not known")),
        ("steps", metrics["steps"]),
        ("time", f"{metrics['seconds']:.0f} s"),
        ("folder", folder),
    ]
    plain = [(name, _listed(value)) for name, value in rows]
    config_text = f"<details><summary>config.toml</summary><pre>{html.escape(text)}</pre></details>"
    return section("Provenance", table((), plain, "words"), config_text)


def _listed(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return str(value)
