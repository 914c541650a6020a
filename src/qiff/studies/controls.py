"""Does the circuit matter? The same pipeline without it, at equal training time and frames."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from ..report.section import Section
from .harness.experiment import Experiment, Outcome
from .harness.rows import error_row
from .harness.study import Budget, Study
from .learning_curve import elements, sample, training

MOLECULE = "ethanol"
N_TRAIN = 950
_CIRCUITS = {"kind": "local", "n_circuits": 2, "n_interactions": 2}
_PRODUCTS = {"kind": "classical", "n_channels": 12, "n_interactions": 2}
_LINEAR = {"kind": "classical", "n_channels": 24, "n_hidden": 0}  # 24 features: these are all
_ALONE = {"kind": "local", "n_circuits": 4, "n_interactions": 2, "entangling": False}
MODELS: dict[str, tuple[dict[str, Any], int]] = {
    "circuits, linear read-out": (_CIRCUITS, 8000),
    "circuits and network": ({**_CIRCUITS, "n_hidden": 32}, 8000),
    "circuits without entangling gates, and network": ({**_ALONE, "n_hidden": 32}, 8000),
    "network on classical invariants": ({**_PRODUCTS, "n_hidden": 32}, 12000),
    "linear in classical invariants": (_LINEAR, 24000),
}
"""Model and steps: about as many weights, and as many steps as take the same time."""


def _experiments(budget: Budget) -> dict[str, Experiment]:
    return {
        label: Experiment(
            f"{MOLECULE}-{label}".replace(",", "").replace(" ", "-"),
            {**model, "elements": elements(MOLECULE)},
            partial(sample, MOLECULE, N_TRAIN),
            training(budget.steps if budget.quick else steps),
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
    f"{N_TRAIN} training frames of split 1 of revised MD17. The controls read invariants of the "
    "same radial functions, multipoles and species, with messages between two rounds but for the "
    "linear one, which reads all products of pairs there are and so cannot have as many weights. "
    "Muon with a learning rate of 0.01 for all, one seed. A simulated circuit is a classical model "
    "too: the question is what its structure is worth, not whether a quantum computer would be."
)

CONTROLS = Study(_experiments, _section)
