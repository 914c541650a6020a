"""Small models of the hardware study, and what its parts work with."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ase
import numpy as np

from ..._checks import InputError
from ...hardware.executor import AbstractExecutor
from ...hardware.executors import make_executor
from ...hardware.measure import Mitigation
from ...model.potential import AbstractPotential
from ...training.checkpoint import load
from ...training.settings import Training
from ..couzinie2025 import learning_curve
from ..harness.data import SeedData, shuffled
from ..harness.experiment import Experiment, Progress, carry_out
from ..harness.parts import StudySettings

SHOTS_PER_CIRCUIT = 100_000
MITIGATED = Mitigation(readout=True, folds=(1, 3))
"""Mitigation of the readout and extrapolation to zero noise."""
_WATER, _LIH = ["O", "H", "H"], ["Li", "H"]
_PERIOD = np.pi / 3.6
"""Radians per Å for which the bond lengths of LiH are one period."""


class SmallModel(NamedTuple):
    """A small model whose circuits are measured.

    Args:
        config: see `qiff.model.build`.
        sample: draws the data of a seed.
        training: its training settings.
        rate: its learning rate.
        dtype: its precision.
    """

    config: Mapping[str, Any]
    sample: Callable[[int], SeedData]
    training: Callable[[StudySettings], Training] = lambda settings: settings.training(1.0)
    rate: float = 0.03
    dtype: str = "float64"

    def missing(self) -> str:
        """The reason why its data are not there; empty if they are."""
        try:
            self.sample(0)
        except InputError as error:
            return str(error)
        return ""


_LIH_DATA = partial(shuffled, "bundled:lih", 60, 20)
_WATER_DATA = partial(shuffled, "bundled:water", 640, 40)
_DIMER_DATA = partial(shuffled, "bundled:water-dimer", 1200, 100)
_ETHANOL = {"kind": "local", "elements": ["H", "C", "O"], "n_layers": 2, "n_circuits": 1}

SMALL_MODELS = {
    "LiH siVQLM": SmallModel({"kind": "diatomic", "elements": _LIH, "n_layers": 3}, _LIH_DATA),
    "LiH VQLM": SmallModel(
        {
            "kind": "generic",
            "elements": _LIH,
            "n_qubits": 4,
            "n_layers": 6,
            "initial_scale": _PERIOD,
        },
        _LIH_DATA,
    ),
    "water siVQLM": SmallModel(
        {"kind": "triatomic", "elements": _WATER, "n_layers": 3}, _WATER_DATA
    ),
    "water siVQLM, 4 layers": SmallModel(
        {"kind": "triatomic", "elements": _WATER, "n_layers": 4}, _WATER_DATA
    ),
    "water VQLM": SmallModel(
        {"kind": "generic", "elements": _WATER, "n_qubits": 3, "n_layers": 8}, _WATER_DATA
    ),
    "dimer siVQLM": SmallModel(
        {"kind": "dimer", "elements": _WATER * 2, "n_layers": 3}, _DIMER_DATA
    ),
    "dimer coupled": SmallModel(
        {"kind": "coupled_dimer", "elements": _WATER * 2, "n_layers": 3, "initial_scale": 0.4},
        _DIMER_DATA,
    ),
    "ethanol local": SmallModel(
        _ETHANOL,
        partial(learning_curve.sample, "ethanol", 200),
        lambda settings: learning_curve.training(settings.steps // 2),
        rate=0.01,
        dtype="float32",
    ),
}


class Workspace(NamedTuple):
    """What a part of the study works with.

    Args:
        out: folder of runs and reports.
        settings: seeds and steps.
        show: see `Progress`.
    """

    out: Path
    settings: StudySettings
    show: Progress

    def trained(self, name: str) -> tuple[AbstractPotential, Sequence[ase.Atoms]]:
        """A trained model and its test frames."""
        small = SMALL_MODELS[name]
        experiment = Experiment(
            f"hardware-{name}".lower().replace(",", "").replace(" ", "-"),
            small.config,
            small.sample,
            small.training(self.settings),
            (small.rate,),
            dtype=small.dtype,
        )
        outcome = carry_out(experiment, self.settings.seeds[:1], self.out, self.show)
        tests = experiment.sample(outcome.seeds[0]).tests["test"]
        return load(outcome.folders[0] / "model.qiff"), tests

    def executor(self, name: str) -> AbstractExecutor:
        """An executor whose results are kept in the folder of runs."""
        return make_executor(name, cache=self.out / "runs" / name.replace(":", "-"))
