"""Errors of every generation of `qiff learn` on frames that it never saw, as a Markdown table.

    python runs/learn/table.py TEST.xyz FOLDER [FOLDER ...]

Each folder is of one run; rows are generations and the final model, of all folders.
"""

import sys
from pathlib import Path

import qiff
from qiff._files import read_record
from qiff.learning.folder import LearnFolder


def rows(folder: LearnFolder, frames: list) -> list[tuple]:
    """Generation, labels spent, frames learned from, and errors on the test frames."""
    found = []
    for generation in folder.generations():
        if generation.model.exists():
            record = generation.record
            models = (generation.number, record["n_labels"], record["n_learned"], generation.model)
            found.append(models)
    if metrics := read_record(folder.path / "metrics.json"):
        found.append(("final", metrics["n_labels"], metrics["n_learned"], folder.model))
    table = []
    for *numbers, model in found:
        errors = qiff.evaluate(qiff.load(model), frames)
        sizes = (f"{1000 * float(errors[f'{key}_mae'] or 0):.2f}" for key in ("energy", "forces"))
        table.append((folder.path.name, *numbers, *sizes))
    return table


if __name__ == "__main__":
    test, *folders = sys.argv[1:]
    frames = qiff.read(qiff.Source(test))
    heads = ("run", "generation", "labels", "learned", "energy MAE (meV)", "forces MAE (meV/Å)")
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for folder in folders:
        for row in rows(LearnFolder(Path(folder)), frames):
            print("| " + " | ".join(map(str, row)) + " |", flush=True)
