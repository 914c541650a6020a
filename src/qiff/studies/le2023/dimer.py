"""The water dimer: its full surface and a one-dimensional cut. (Le et al. 2023, Sec. III.3.)"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ...atoms.properties import labels
from ...report.section import Claim, Section
from ...training.settings import Training
from ..harness import figures
from ..harness.data import read_frames, shuffled
from ..harness.experiment import Experiment, Outcome, test_frames
from ..harness.parts import LOSSES, ExperimentsPart, StudySettings
from ..harness.rows import REPORTED, error_row, ratio

WATER = ["O", "H", "H"]
PAIR = WATER * 2
_COUPLED = {
    "kind": "coupled_dimer",
    "elements": PAIR,
    "n_layers": 12,
    "initial_scale": 0.4,
    "initial_spread": 0.5,
}
_DIMER_MODELS: dict[str, dict[str, Any]] = {
    "siVQLM": {"kind": "dimer", "elements": PAIR, "n_layers": 16},
    "siVQLM broken": {
        "kind": "dimer",
        "elements": PAIR,
        "n_layers": 16,
        "symmetry_breaking": True,
    },
    "fragments": {
        "kind": "fragments",
        "molecule": {"kind": "triatomic", "elements": WATER, "n_layers": 14, "n_repeats": 2},
        "pair": {**_COUPLED, "n_layers": 16},
        "pair_cutoff": 8.0,
    },
    "coupled": _COUPLED,
    "hybrid": {"kind": "hybrid", "n_hidden": 16, "circuits": [_COUPLED]},
    "circuits of atoms": {
        "kind": "local",
        "elements": ["H", "O"],
        "n_circuits": 4,
        "n_hidden": 32,
        "cutoff": 6.0,
    },
}
_RATES = {"coupled": 1, "hybrid": 1, "circuits of atoms": 1}
"""Number of learning rates that are tried, where it is not two."""
_OF_ATOMS: dict[str, Any] = {"optimiser": "muon", "average": 0.999}
"""Further training settings of circuits of atoms."""
_FORCES_OF_ATOMS = 0.1
"""Weight of their forces: of 0.1, 1 and 30 that of the lowest validation error of energies."""
DIMER_FRAMES = (1200, 100)
CUT_FRAMES = (30, 10)


def _dimer_experiments(
    path: str, frames: tuple[int, int], models: Sequence[str], settings: StudySettings
) -> dict[str, Experiment]:
    name = path.removeprefix("bundled:water-")
    longer = replace(settings, steps=2 * settings.steps)

    def training(label: str, weight: float) -> Training:
        if _DIMER_MODELS[label]["kind"] != "local":
            return longer.training(weight)
        return replace(longer.training(_FORCES_OF_ATOMS * weight), **_OF_ATOMS)

    return {
        f"{label}, {loss}": Experiment(
            f"{name}-{label}-{loss}".lower().replace(" ", "-"),
            _DIMER_MODELS[label],
            partial(shuffled, path, *frames),
            training(label, weight),
            settings.rates[: _RATES.get(label, 2)],
        )
        for label in models
        for loss, weight in LOSSES.items()
    }


def _dimer_section(name: str, title: str, notes: str, found: Mapping[str, Outcome]) -> Section:
    rows = [error_row(label, outcome, "test") for label, outcome in found.items()]
    claims = []
    for label in dict.fromkeys(label.rsplit(", ", 1)[0] for label in found):
        alone, both = (found[f"{label}, {loss}"] for loss in LOSSES)
        share = [_explained(alone, key) for key in REPORTED]
        claims.append(
            Claim(
                f"{label}: trained on energies it learns energies and fails at forces",
                f"R² of energies {share[0]:.4f}, of forces {share[1]:.4f}",
                share[0] >= 0.98 and share[1] < share[0],
            )
        )
        gain = [ratio(*(o.mean_square("test", key) for o in (alone, both))) for key in REPORTED]
        claims.append(
            Claim(
                f"{label}: with forces in the loss both are ten times better",
                f"MSE lower by factors of {gain[0]:.3g} (energies) and {gain[1]:.3g} (forces)",
                min(gain) >= 10,
            )
        )
    first = {label: outcome.folders[0] for label, outcome in found.items()}
    pictures = {
        "parity": figures.parity(first, test_frames(found)),
        "learning": figures.learning_curves(found),
    }
    if name == "dimer-cut":
        pictures["cut"] = figures.cut(first, read_frames("bundled:water-dimer-cut"))
    return Section(name, title, rows, claims, pictures, [notes])


def _explained(outcome: Outcome, what: str) -> float:
    """Coefficient of determination R² on the test frames, mean over seeds."""
    found = []
    for seed, square in zip(outcome.seeds, outcome.mean_square("test", what), strict=True):
        wanted = [labels(atoms)[what] for atoms in outcome.experiment.sample(seed).tests["test"]]
        found.append(1 - square / np.var(wanted))
    return float(np.mean(found))


_DIMER_NOTES = (
    "Frames of ab initio molecular dynamics, MP2/def2-SVP at 300 K: 1200 training, 100 validation, "
    "the others are the test; successive frames are 3 fs apart, so the test is one of "
    "interpolation. siVQLM is the circuit of the paper as reconstructed, whose energy does not "
    "depend on distances between oxygen and hydrogen; broken has a z rotation in each layer. "
    "Coupled, fragments, hybrid and circuits of atoms are ours; circuits of atoms are trained with "
    f"Muon, and the weight of their forces is {_FORCES_OF_ATOMS}."
)
_CUT_NOTES = (
    "The bridging hydrogen of the relaxed dimer moves along its bond, all other atoms are fixed: "
    "30 training and 10 validation frames; the others are the test. Errors of forces are over all "
    "atoms."
)


DIMER_STUDY = ExperimentsPart(
    partial(_dimer_experiments, "bundled:water-dimer", DIMER_FRAMES, tuple(_DIMER_MODELS)),
    partial(_dimer_section, "dimer", "Water dimer, full surface", _DIMER_NOTES),
)
CUT_STUDY = ExperimentsPart(
    partial(
        _dimer_experiments,
        "bundled:water-dimer-cut",
        CUT_FRAMES,
        ("siVQLM", "siVQLM broken", "coupled"),
    ),
    partial(_dimer_section, "dimer-cut", "Water dimer, one-dimensional cut", _CUT_NOTES),
)
