"""Energy conservation of water for 1 ns at constant energy, in both precisions, and its figure.

    python runs/nve/water.py FOLDER

Trains the model of `make demo`, equilibrates it for 20 ps at 300 K, and continues for 1 ns without
a thermostat. What has been done is kept in the folder; a call that was interrupted is repeated.
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np

from qiff._files import read_record
from qiff.cli import main
from qiff.dynamics.statistics import read_samples
from qiff.run.templates import template

matplotlib.use("Agg")
TIMESTEP = 0.5  # fs
EQUILIBRATION = ("--ensemble", "nvt", "--temperature", "300", "--timestep", "0.5")


def dynamics(model: Path, start: str, path: Path, *options: str) -> None:
    """Simulate, or continue where the simulation was interrupted."""
    if path.with_suffix(".json").exists():
        return
    resumed = ["--resume"] if path.with_suffix(".checkpoint.npz").exists() else []
    assert main(["md", str(model), start, "--out", str(path), *options, *resumed]) == 0


def simulated(folder: Path, precision: str, steps: int) -> Path:
    """The trajectory at constant energy in a precision."""
    run, config = folder / precision, folder / "water.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(template("water"))
    if not (run / "metrics.json").exists():
        set_ = [f"--set={name}" for name in (f"output={run}", f"dtype={precision}")]
        assert main(["train", str(config), "--overwrite", *set_]) == 0
    model, warm, path = run / "model.qiff", run / "nvt.xyz", run / "nve.xyz"
    dynamics(model, "bundled:water", warm, *EQUILIBRATION, "--steps", "40000", "--interval", "1000")
    constant = ("--ensemble", "nve", "--velocities", "file", "--timestep", str(TIMESTEP))
    length = ("--steps", str(steps), "--interval", "1000")
    dynamics(model, f"{warm}@-1", path, *constant, *length)
    return path


def drift(path: Path) -> tuple[float, float]:
    """Slope of the total energy and its standard error, in meV/atom/ps."""
    samples = read_samples(path.with_suffix(".csv"))
    time = np.array([sample.time for sample in samples]) / 1000
    total = np.array([sample.total for sample in samples]) * 1000 / 3
    fit, covariance = np.polyfit(time, total - total[0], 1, cov=True)
    return float(fit[0]), float(np.sqrt(covariance[0, 0]))


def figure(paths: list[Path], target: Path) -> None:
    """The total energy against time."""
    from matplotlib import pyplot

    shown, axes = pyplot.subplots(figsize=(6, 2.6), layout="constrained")
    for path in paths:
        samples = read_samples(path.with_suffix(".csv"))
        total = np.array([sample.total for sample in samples]) * 1000 / 3
        time = [sample.time / 1e6 for sample in samples]
        axes.plot(time, total - total.mean(), ".", markersize=1.5, label=path.parent.name)
    axes.set(xlabel="time (ns)", ylabel="total energy (meV/atom)", title="one water molecule, NVE")
    axes.legend(markerscale=5, loc="upper right")
    shown.savefig(target, dpi=110)


if __name__ == "__main__":
    folder, steps = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2_000_000
    paths = [simulated(folder, precision, steps) for precision in ("float64", "float32")]
    print("| precision | drift (meV/atom/ps) | spread (meV/atom) | mean temperature (K) |")
    print("|---|---|---|---|")
    for path in paths:
        slope, error = drift(path)
        record = read_record(path.with_suffix(".json"))
        numbers = f"{record['spread']:.3f} | {record['mean_temperature']:.0f}"
        print(f"| {path.parent.name} | {slope:.1e} ± {error:.0e} | {numbers} |")
    figure(paths, folder / "nve.png")
