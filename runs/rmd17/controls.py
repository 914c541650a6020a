"""What circuits contribute: controls with as many weights, trained for as long.

    python runs/rmd17/controls.py OUT [--molecules ethanol malonaldehyde] [--seconds 150]

Models of three interactions, as in `ethanol.toml`. Each has the steps that take it so many seconds
of processor time; what a step takes is measured first, and kept in OUT/steps.json. Data are those
of `qiff.studies.couzinie2025.learning_curve`: 950 training frames of split 1, drawn for every seed
with 50 for validation, and its whole test part. Interrupted, it resumes.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import qiff
from qiff._files import atomic_write, read_record
from qiff.report.tables import spread
from qiff.studies.couzinie2025.learning_curve import elements, sample, training
from qiff.studies.harness.experiment import Experiment, carry_out

N_TRAIN = 950
RATE = 0.01  # of `ethanol.toml`
STEPS = 100  # that are measured
_CIRCUITS = {"kind": "local", "n_interactions": 3, "n_circuits": 4}
MODELS: dict[str, dict[str, Any]] = {
    "circuits, linear read-out": _CIRCUITS,
    "circuits and network": {**_CIRCUITS, "n_hidden": 32},
    "circuits without entangling gates, and network": {
        **_CIRCUITS, "n_circuits": 8, "entangling": False, "n_hidden": 32,
    },
    "network on classical invariants": {
        "kind": "classical", "n_interactions": 3, "n_channels": 22, "n_hidden": 32,
    },
}  # fmt: skip


def seconds_of_step(model: dict[str, Any], molecule: str) -> float:
    """Processor time of a training step of 8 frames, all threads together; the least of three."""
    frames = sample(molecule, 100, 0).frames
    potential = qiff.build_for(frames, model, seed=0, dtype="float32")
    data = [qiff.stack(part, "float32", potential.cutoff) for part in (frames, frames[:8])]
    settings = training(STEPS)
    found = []
    for _ in range(4):  # the first one compiles
        begin = time.process_time()
        qiff.fit(qiff.initial_state(potential, settings), data[0], data[1], settings, seed=0)
        found.append((time.process_time() - begin) / STEPS)
    return min(found[1:])


def main(out: Path, molecules: list[str], seconds: float, seeds: list[int]) -> None:
    """Print the table, row by row."""
    kept = out / "steps.json"
    steps: dict[str, int] = dict(read_record(kept))
    print("| molecule | model | weights | steps | energy MAE (meV) | forces MAE (meV/Å) |")
    print("|---|---|---|---|---|---|")
    for molecule in molecules:
        for label, settings in MODELS.items():
            model = {**settings, "elements": elements(molecule)}
            name = f"{molecule}-{label}".replace(",", "").replace(" ", "-")
            if name not in steps:
                steps[name] = round(seconds / seconds_of_step(model, molecule))
                atomic_write(kept, json.dumps(steps, indent=1) + "\n")
            experiment = Experiment(
                name,
                model,
                partial(sample, molecule, N_TRAIN),
                training(steps[name]),
                rates=(RATE,),
                dtype="float32",
            )
            found = carry_out(experiment, seeds, out, lambda text: None)
            errors = (found.mean_absolute("test", key) for key in ("energy", "forces"))
            cells = [spread(1000 * error) for error in errors]
            row = molecule, label, found.n_weights, steps[name], *cells
            print("|", " | ".join(map(str, row)), "|", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--molecules", nargs="+", default=["ethanol", "malonaldehyde"])
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    main(**vars(parser.parse_args()))
