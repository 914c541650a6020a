r"""Learning curves on revised MD17: errors against the number of training frames.

A power law $\epsilon \propto N^{-a}$ is a straight line of slope $-a$ in logarithms; $a$ is fitted
to all sizes and seeds by least squares, with its 95 % interval by Student's t.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from ase.data import chemical_symbols

from ...report.section import Claim, Section
from ...training.settings import Training
from ..harness import figures
from ..harness.data import SeedData, read_frames
from ..harness.experiment import Experiment, Outcome
from ..harness.parts import ExperimentsPart, StudySettings
from ..harness.rows import REPORTED, error_row

MOLECULES = ("ethanol", "malonaldehyde", "aspirin")
SIZES = (25, 50, 100, 200, 400, 950)
FEW = 200
"""Up to this number of frames every seed is trained, above it only the first."""
N_VALID = 50
REPEATED = "ethanol"
"""The molecule for which original and revised are trained for every seed as well."""
FITTED = 50
"""Smallest number of frames in the fit of an exponent."""

_RECONSTRUCTED = {"n_layers": 6, "n_repeats": 2}
MODELS: dict[str, dict[str, Any]] = {
    "original": {"kind": "cartesian_triplets", **_RECONSTRUCTED},
    "revised": {"kind": "radial_triplets", **_RECONSTRUCTED},
    "local": {"kind": "local", "n_circuits": 2, "n_interactions": 2, "n_hidden": 32},
}
OURS = "local"


class Exponent(NamedTuple):
    """The exponent of a learning curve and the half width of its 95 % interval."""

    value: float
    half_width: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.half_width:.2f}"


def exponent(sizes: Sequence[float] | np.ndarray, errors: Sequence[float] | np.ndarray) -> Exponent:
    """Fit $a$ of $\\epsilon \\propto N^{-a}$; at least three points."""
    from scipy.stats import linregress, t

    fit: Any = linregress(np.log(sizes), np.log(errors))
    return Exponent(-float(fit.slope), float(t.ppf(0.975, len(sizes) - 2) * fit.stderr))


def sample(molecule: str, n_train: int, seed: int) -> SeedData:
    """Frames of split 1: `n_train` and 50 drawn from its training part, and its whole test part."""
    train, test = (read_frames(f"rmd17:{molecule}/{part}") for part in ("train", "test"))
    order = np.random.default_rng(seed).permutation(len(train))[: n_train + N_VALID]
    return SeedData([train[i] for i in order], N_VALID, {"test": test})


def elements(molecule: str) -> list[str]:
    """Chemical symbols of a molecule, by atomic number."""
    atoms = read_frames(f"rmd17:{molecule}/train")[0]
    return [chemical_symbols[z] for z in np.unique(atoms.numbers)]


def training(steps: int, batch_size: int = 8) -> Training:
    """Training settings of all models of the study."""
    return Training(
        steps=steps,
        batch_size=batch_size,
        optimiser="muon",
        average=0.999,
        forces_weight=30.0,
        evaluate_every=max(1, steps // 40),
    )


def _training(molecule: str, model: str, size: int) -> Training:
    """More steps for more frames; smaller batches where a frame is expensive.

    An atom of aspirin is in 190 triplets, one of ethanol in 28.
    """
    if model == OURS:
        return training(max(3000, 30 * size))
    return training(max(3000, 16 * size), batch_size=2 if molecule == "aspirin" else 8)


def _experiments(molecule: str, settings: StudySettings) -> dict[str, Experiment]:
    def experiment(model: str, size: int) -> Experiment:
        repeated = size <= FEW and (model == OURS or molecule == REPEATED)
        return Experiment(
            f"{molecule}-{model}-{size}",
            {**MODELS[model], "elements": elements(molecule)},
            partial(sample, molecule, size),
            training(settings.steps) if settings.quick else _training(molecule, model, size),
            rates=(0.01,),
            n_seeds=None if repeated else 1,
            dtype="float32",
        )

    sizes = SIZES[:2] if settings.quick else SIZES
    return {f"{model}, {n}": experiment(model, n) for model in MODELS for n in sizes}


def _section(molecule: str, found: Mapping[str, Outcome]) -> Section:
    rows = [error_row(label, outcome, "test") for label, outcome in found.items()]
    curves: dict[str, dict[int, Outcome]] = {}
    for label, outcome in found.items():
        model, size = label.split(", ")
        curves.setdefault(model, {})[int(size)] = outcome
    claims = [_claim(model, curve) for model, curve in curves.items() if len(curve) > 2]
    panels = [
        {
            "series": {model: _errors(curve, key) for model, curve in curves.items()},
            "x": "training frames",
            "y": f"{molecule}: {key} MAE, m{one.unit}",
            "xscale": "log",
            "yscale": "log",
        }
        for key, one in REPORTED.items()
    ]
    return Section(
        f"learning-curve-{molecule}",
        f"Revised MD17, {molecule}: errors against training frames",
        rows,
        claims,
        {"curves": figures.lines(panels)},
        [_NOTES],
    )


def _errors(curve: Mapping[int, Outcome], key: str) -> tuple[list[int], list[np.ndarray]]:
    return list(curve), [1000 * outcome.mean_absolute("test", key) for outcome in curve.values()]


def _claim(model: str, curve: Mapping[int, Outcome]) -> Claim:
    """Whether the errors of forces follow a power law, and whether that agrees with the claim."""
    points = [
        (size, error)
        for size, outcome in curve.items()
        if size >= FITTED
        for error in outcome.mean_absolute("test", "forces")
    ]
    found = exponent(*zip(*points, strict=True))
    finding = f"force MAE falls with N to the power −({found})"
    steady = found.value >= 0.5 and found.value - found.half_width > 0.4
    if model == OURS:
        return Claim("Circuits of atoms improve steadily with more frames (ours)", finding, steady)
    return Claim(f"The {model} architecture shows no meaningful scaling", finding, not steady)


_NOTES = (
    "Split 1 of revised MD17: training and 50 validation frames are drawn from its training part, "
    "errors are those on its 1000 test frames. Energies and forces are from one model; Muon with a "
    "learning rate of 0.01, weight of forces 30, float32. Original and revised are reconstructed "
    f"(see `qiff.model.triplets`). Up to {FEW} frames three seeds, above one; original and revised "
    f"one seed except for {REPEATED}. 30 steps of 8 frames for each training frame; original and "
    "revised 16 steps (of 2 frames on aspirin); at least 3000."
)

LEARNING_CURVES = {
    f"learning-curve-{molecule}": ExperimentsPart(
        partial(_experiments, molecule), partial(_section, molecule)
    )
    for molecule in MOLECULES
}
