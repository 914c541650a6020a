"""Controls: the same pipeline without the circuit, with equal training time and frames."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from ...report.section import Section
from ..harness.experiment import Experiment, Outcome
from ..harness.parts import ExperimentsPart, StudySettings
from ..harness.rows import error_row
from .learning_curve import elements, sample, training

MOLECULE = "ethanol"
N_TRAIN = 950
_CIRCUITS = {"kind": "local", "n_circuits": 2, "n_interactions": 2}
_PRODUCTS = {"kind": "classical", "n_channels": 12, "n_interactions": 2}
_LINEAR = {"kind": "classical", "n_channels": 24, "n_hidden": 0}  # 24 invariants: there are no more
_ALONE = {"kind": "local", "n_circuits": 4, "n_interactions": 2, "entangling": False}
MODELS: dict[str, tuple[dict[str, Any], int]] = {
    "circuits, linear read-out": (_CIRCUITS, 8000),
    "circuits and network": ({**_CIRCUITS, "n_hidden": 32}, 8000),
    "circuits without entangling gates, and network": ({**_ALONE, "n_hidden": 32}, 8000),
    "network on classical invariants": ({**_PRODUCTS, "n_hidden": 32}, 12000),
    "linear in classical invariants": (_LINEAR, 24000),
}
"""Model and training steps: about the same number of weights and the same training time."""


def _experiments(settings: StudySettings) -> dict[str, Experiment]:
    return {
        label: Experiment(
            f"{MOLECULE}-{label}".replace(",", "").replace(" ", "-"),
            {**model, "elements": elements(MOLECULE)},
            partial(sample, MOLECULE, N_TRAIN),
            training(settings.steps if settings.quick else steps),
            rates=(0.01,),
            n_seeds=1,
            dtype="float32",
        )
        for label, (model, steps) in MODELS.items()
    }


def _section(found: Mapping[str, Outcome]) -> Section:
    rows = [error_row(label, outcome, "test") for label, outcome in found.items()]
    return Section("controls", "Does the circuit matter? Ethanol", rows, notes=[_NOTES])


_NOTES = (
    f"{N_TRAIN} training frames of split 1 of revised MD17. The input of the controls are "
    "invariants of the same radial functions, multipoles and species. They have two interactions "
    "with message passing; the linear one has none, and uses all products of pairs, which gives it "
    "fewer weights. Muon with a learning rate of 0.01 for all, one seed. A simulated circuit is a "
    "classical model too: the controls measure the value of its structure, not that of a quantum "
    "computer."
)

CONTROLS = ExperimentsPart(_experiments, _section)
