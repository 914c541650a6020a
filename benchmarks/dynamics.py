"""Molecular dynamics of water: steps per second by the compiled loop and through ASE."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase
import jax
import numpy as np
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import all_changes
from ase.md.verlet import VelocityVerlet

import qiff
from qiff.model.potential import ScaleShiftSettings
from qiff.model.predict import enable_x64, evaluator

from . import peers
from .circuits import WATER
from .timing import side_by_side

N_STEPS = 20_000
N_ASE_STEPS = 300


class Nothing(AseCalculator):
    """A calculator that costs nothing, for atoms that move: what is left is ASE."""

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        zero = np.zeros((3, 3))
        self.results = {"energy": 0.0, "free_energy": 0.0, "forces": zero}


def water(engine: str = "auto") -> qiff.AbstractPotential:
    config = {"kind": "triatomic", "elements": ["O", "H", "H"], "n_layers": 6, "engine": engine}
    with enable_x64(True):
        settings = ScaleShiftSettings(scale=0.5, reference_energies={"O": -2000.0, "H": -13.0})
        return qiff.ScaleShift(qiff.build(config, jax.random.key(1)), settings)


def compiled_loop(ensemble: str) -> Callable[[], float]:
    """Seconds per step; the time of a short run, which has all that is not steps, is taken off."""
    atoms, potential = ase.Atoms("OHH", WATER), water()

    def seconds(n_steps: int) -> float:
        dynamics = qiff.Dynamics(ensemble, timestep=0.25, steps=n_steps, interval=1000)
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            qiff.run_dynamics(potential, atoms, dynamics, Path(folder) / "water.xyz")
            return time.perf_counter() - begin

    seconds(2000), seconds(N_STEPS)
    return lambda: (seconds(N_STEPS) - seconds(2000)) / (N_STEPS - 2000)


def through_ase(calculator: AseCalculator) -> Callable[[], float]:
    """Seconds per step of velocity Verlet."""

    def seconds() -> float:
        atoms = ase.Atoms("OHH", WATER)
        atoms.set_momenta(0.05 * np.random.default_rng(0).normal(size=(3, 3)))
        atoms.calc = calculator
        driver = VelocityVerlet(atoms, timestep=0.05)
        driver.run(20)
        begin = time.perf_counter()
        driver.run(N_ASE_STEPS)
        return (time.perf_counter() - begin) / N_ASE_STEPS

    return seconds


def run(rounds: int = 25) -> dict[str, Any]:
    """Median microseconds per step, taking turns, and of a single evaluation from Python."""
    peers.register()
    runs = {
        "compiled loop, nve": compiled_loop("nve"),
        "compiled loop, nvt": compiled_loop("nvt"),
        "ASE, a calculator that costs nothing": through_ase(Nothing()),
        "ASE, qiff": through_ase(qiff.Calculator(water())),
        "ASE, PennyLane jitted": through_ase(qiff.Calculator(water("pennylane"))),
    }
    times = {name: [] for name in runs}
    for _ in range(rounds):
        for name, function in runs.items():
            times[name].append(function())
    steps = {name: 1e6 * float(np.median(found)) for name, found in times.items()}
    nothing = np.array(times["ASE, a calculator that costs nothing"])
    over_ase = {
        name: float(np.median(np.array(found) / nothing))
        for name, found in times.items()
        if name.startswith("ASE")
    }
    atoms = ase.Atoms("OHH", WATER)
    evaluate = {name: evaluator(water(name), atoms) for name in ("native", "pennylane")}
    single = side_by_side(
        {n: (lambda f=f: f(WATER, np.zeros((3, 3)))) for n, f in evaluate.items()}
    )
    return {
        "microseconds_per_step": steps,
        "times_what_ase_costs": over_ase,
        "microseconds_per_evaluation": {name: 1e6 * s for name, s in single.items()},
    }
