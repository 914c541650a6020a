"""Water: the generic circuit, the symmetric one, and one with a broken symmetry. (Sec. III.2.)"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from ..._files import read_record
from ...report.section import Claim, Section
from ..harness import figures
from ..harness.data import WATER_DEMO, shuffled
from ..harness.experiment import Experiment, Outcome, test_frames
from ..harness.parts import LOSSES, ExperimentsPart, StudySettings
from ..harness.rows import REPORTED, error_row, ratio

WATER = ["O", "H", "H"]
_SI_WATER = {"kind": "triatomic", "elements": WATER, "n_layers": 10, "n_repeats": 2}
_VQLM_WATER = {"kind": "generic", "elements": WATER, "n_qubits": 3, "n_layers": 10}
_WATER_MODELS = {
    "VQLM": _VQLM_WATER,
    "siVQLM": _SI_WATER,
    "siVQLM broken": _SI_WATER | {"symmetry_breaking": True},
}
WATER_FRAMES = (640, 40)


def _water_experiments(path: str, name: str, settings: StudySettings) -> dict[str, Experiment]:
    found = {
        f"{label}, {loss}": Experiment(
            f"{name}-{label}-{loss}".lower().replace(" ", "-"),
            model,
            partial(shuffled, path, *WATER_FRAMES),
            settings.training(weight),
            settings.rates,
        )
        for loss, weight in LOSSES.items()
        for label, model in _WATER_MODELS.items()
    }
    grid = {} if settings.quick else _breaking_grid(path, name, settings)
    return {**found, **grid}


def _breaking_grid(path: str, name: str, settings: StudySettings) -> dict[str, Experiment]:
    """With and without symmetry breaking over depths, starts and numbers of training frames."""
    variants = {
        **{f"D = {depth}": ({"n_layers": depth}, WATER_FRAMES[0]) for depth in (2, 4, 6, 14)},
        **{f"spread {s:g}": ({"initial_spread": s}, WATER_FRAMES[0]) for s in (0.01, 0.5, 1.5)},
        **{f"{n} frames": ({}, n) for n in (25, 50, 100, 200)},
    }
    return {
        f"grid: {variant}, {kind}": Experiment(
            f"{name}-grid-{variant}-{kind}".replace(" ", "").lower(),
            _SI_WATER | change | {"symmetry_breaking": kind == "broken"},
            partial(shuffled, path, n_train, max(10, WATER_FRAMES[1] * n_train // WATER_FRAMES[0])),
            replace(settings.training(0.0), steps=settings.steps // 2),
            (0.03,),
        )
        for variant, (change, n_train) in variants.items()
        for kind in ("symmetric", "broken")
    }


def _water_section(name: str, title: str, found: Mapping[str, Outcome]) -> Section:
    main = {label: outcome for label, outcome in found.items() if not label.startswith("grid")}
    grid = {label: outcome for label, outcome in found.items() if label.startswith("grid")}
    rows = [error_row(label, outcome, "test") for label, outcome in found.items()]
    of = lambda label, loss, what: main[f"{label}, {loss}"].mean_square("test", what)
    claims = []
    for loss in LOSSES:
        gain = {
            (other, what): ratio(of(other, loss, what), of("siVQLM broken", loss, what))
            for other in ("siVQLM", "VQLM")
            for what in REPORTED
        }
        claims.append(
            Claim(
                f"symmetry breaking improves energies and forces tenfold ({loss})",
                "MSE over that of the broken siVQLM: "
                + ", ".join(f"{other} {what} {g:.3g}" for (other, what), g in gain.items()),
                min(gain.values()) >= 10,
            )
        )
    gaps = {
        label: _overfit(outcome) for label, outcome in main.items() if label.endswith("energies")
    }
    claims.append(
        Claim(
            "train and test errors of the siVQLMs agree, of the VQLM less",
            "energy MSE of test over training: "
            + ", ".join(f"{label.split(',')[0]} {gap:.3g}" for label, gap in gaps.items()),
            max(gap for label, gap in gaps.items() if label.startswith("si")) < 1.5,
        )
    )
    pictures = {
        "forces": figures.parity({k: o.folders[0] for k, o in main.items()}, test_frames(main)),
        "learning": figures.learning_curves(main),
    }
    if grid:
        gains = _gains(grid)
        helped = sum(gain > 1 for gain in gains["energy"].values())
        span = [f(gains[what].values()) for what in REPORTED for f in (min, max)]
        claims.append(
            Claim(
                "over depth, start and number of frames (energies alone)",
                f"breaking lowers the energy MSE in {helped} of {len(gains['energy'])} settings, "
                "by factors from {:.2g} to {:.2g}; forces from {:.2g} to {:.2g}".format(*span),
                min(gains["energy"].values()) >= 10,
            )
        )
        pictures["breaking"] = figures.gains(gains)
    notes = [
        "640 training and 40 validation frames; the others are the test. Numbers of weights and "
        "learning rates are in the table; the learning rate was chosen by the validation loss of "
        "the first seed. The grid of variants has a learning rate of 0.03 and half the steps."
    ]
    return Section(name, title, rows, claims, pictures, notes)


def _overfit(outcome: Outcome) -> float:
    """Energy MSE of the test part over that of the training part, means over seeds."""
    train = [read_record(f / "metrics.json")["train"]["energy_rmse"] ** 2 for f in outcome.folders]
    return ratio(outcome.mean_square("test", "energy"), np.array(train))


def _gains(grid: Mapping[str, Outcome]) -> dict[str, dict[str, float]]:
    """By property and variant: MSE of the symmetric model over that of the broken one."""
    variants = dict.fromkeys(label.rsplit(", ", 1)[0] for label in grid)
    return {
        key: {
            variant.removeprefix("grid: "): ratio(
                *(grid[f"{variant}, {k}"].mean_square("test", key) for k in ("symmetric", "broken"))
            )
            for variant in variants
        }
        for key in REPORTED
    }


WATER_STUDY = ExperimentsPart(
    partial(_water_experiments, "bundled:water", "water"),
    partial(_water_section, "water", "Water, PBE0/def2-TZVP"),
)
DEMO_STUDY = ExperimentsPart(
    partial(_water_experiments, WATER_DEMO, "water-demo"),
    partial(_water_section, "water-demo", "Water, the public set of the paper"),
)
