"""Few frames of a molecule by DFT: training from a model of many molecules, and from scratch.

    python runs/organic/fine_tuning.py MODEL OUT [--molecules ethanol] [--sizes 25 100]

Data are those of revised MD17, split 1: frames for training and 50 for validation are drawn from
its training part for every seed, and tests are on its whole test part. Both starts have the same
structure, steps and learning rates, of which validation chooses one. Interrupted, it resumes.
"""

import argparse
from functools import partial
from pathlib import Path

import qiff
from qiff.report.tables import spread
from qiff.studies.couzinie2025.learning_curve import sample, training
from qiff.studies.couzinie2025.transfer import FINE_STEPS, RATES, SIZES
from qiff.studies.harness.experiment import Experiment, carry_out


def main(model: Path, out: Path, molecules: list[str], sizes: list[int], seeds: list[int]) -> None:
    """Print the table, row by row."""
    config = qiff.load(model).config()["potential"]
    print("| molecule | frames | start | rate | energy MAE (meV) | forces MAE (meV/Å) |")
    print("|---|---|---|---|---|---|")
    for molecule in molecules:
        for size in sizes:
            for name, start in (("from scratch", None), ("fine-tuned", model)):
                experiment = Experiment(
                    f"{molecule}-{size}-{name}".replace(" ", "-"),
                    config,
                    partial(sample, molecule, size),
                    training(FINE_STEPS),
                    rates=RATES,
                    dtype="float32",
                    start=start,
                )
                found = carry_out(experiment, seeds, out, lambda text: None)
                errors = (found.mean_absolute("test", label) for label in ("energy", "forces"))
                cells = [spread(1000 * error) for error in errors]
                row = molecule, size, name, found.rate, *cells
                print("|", " | ".join(map(str, row)), "|", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--molecules", nargs="+", default=["ethanol", "malonaldehyde"])
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    main(**vars(parser.parse_args()))
