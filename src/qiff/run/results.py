"""Errors and figures of a trained potential on the parts of its data."""

from collections.abc import Sequence
from typing import NamedTuple

from ..model.ensemble import uncertainty
from ..model.potential import AbstractPotential
from ..model.predict import predict
from ..report.figures import learning_figure, parity_figure, uncertainty_figure
from ..report.predictions import Predictions, gathered
from ..training.calibration import deviations, reliability
from ..training.fit import HistoryRow
from ..training.metrics import Metrics, errors, forces_shots
from .prepare import Prepared


class Results(NamedTuple):
    """Metrics by part of the data, figures (PNG) by file name, and the predictions to show.

    These are of the test part, or of another one if that is empty.
    """

    metrics: dict[str, Metrics]
    figures: dict[str, bytes]
    shown: Predictions


def results(
    potential: AbstractPotential, prepared: Prepared, history: Sequence[HistoryRow]
) -> Results:
    """Metrics and figures of a trained potential; the uncertainty figure is of the test part.

    With `train.shot_weight` there is `forces_shots` of the part that is shown.
    """
    frames, parts = prepared.frames, prepared.parts._asdict()
    predictions = predict(potential, frames)
    of = lambda indices, values: [values[i] for i in indices]
    found = {name: (of(part, predictions), of(part, frames)) for name, part in parts.items()}
    metrics = {name: errors(*labelled) for name, labelled in found.items()}
    figures = {"parity.png": parity_figure(found), "learning.png": learning_figure(history)}
    shown, expected = next(n for n in ("test", "valid", "train") if len(parts[n])), []
    if potential.calibration:
        expected = uncertainty(potential, frames)
        for name, labelled in found.items():
            sure = deviations(labelled[0], of(parts[name], expected), labelled[1])
            metrics[name] |= reliability(sure)
            if name == "test" and sure:
                figures["uncertainty.png"] = uncertainty_figure(sure)
    if prepared.run.train.shot_weight:
        metrics[shown]["forces_shots"] = forces_shots(potential, found[shown][1])
    of_shown = found[shown][1], found[shown][0], expected and of(parts[shown], expected)
    return Results(metrics, figures, gathered(shown, parts[shown], *of_shown))
