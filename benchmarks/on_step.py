"""Training steps of circuits of atoms, in a process of its own, with any version of qiff.

    python -P benchmarks/on_step.py N_ELEMENTS MODEL

prints the seconds of the first call, and for every line it reads those of a step; all of the
processor. The model of `runs/rmd17/ethanol.toml` that knows so many elements, and random frames of
molecules of nine atoms. Its weights are read from the file `MODEL`, or random and written there.
"""

import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ase
import ase.build
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

import qiff

ELEMENTS = ("H", "C", "O", "N", "F", "S", "Cl", "P", "Br", "Si")
MODEL = {"kind": "local", "n_circuits": 4, "n_interactions": 3, "n_hidden": 32}
RENAMED = {"n_circuits": "n_copies", "n_interactions": "n_rounds", "n_embedding": "n_kinds"}
"""Settings in version 0.1."""
CUTOFF = 5.0  # Å
STEPS = 50  # of a call


def frames(n_elements: int, n: int = 64) -> list[ase.Atoms]:
    """Distorted ethanol with random labels; with more than three elements, of random elements."""
    random, found = np.random.default_rng(0), []
    for _ in range(n):
        atoms = ase.build.molecule("CH3CH2OH")
        atoms.positions += random.normal(scale=0.1, size=(9, 3))
        if n_elements > 3:
            atoms.symbols = random.choice(ELEMENTS[:n_elements], 9)
        labels = {"energy": random.normal(), "forces": random.normal(size=(9, 3))}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        found.append(atoms)
    return found


def potential(n_elements: int, labelled: list[ase.Atoms], path: Path) -> Any:
    """The model, from its file if there is one."""
    if path.exists():
        return qiff.load(path)
    settings = MODEL | {"elements": ELEMENTS[:n_elements], "n_embedding": 3}
    if version("qiff").startswith("0.1"):
        settings = {RENAMED.get(name, name): value for name, value in settings.items()}
    made = qiff.build_for(labelled, settings, seed=0, dtype="float32")
    qiff.save(made, path)
    return made


def main() -> None:
    n_elements, path = int(sys.argv[1]), Path(sys.argv[2])
    labelled = frames(n_elements)
    model = potential(n_elements, labelled, path)
    stack = qiff.stack(labelled, "float32", CUTOFF)
    valid = qiff.stack(labelled[:1], "float32", CUTOFF)
    training = qiff.Training(
        steps=STEPS, batch_size=8, evaluate_every=STEPS, optimiser="muon", learning_rate=0.01,
        average=0.999, forces_weight=30.0,
    )  # fmt: skip

    def seconds() -> float:
        begin = time.process_time()
        state = qiff.initial_state(model, training)
        qiff.fit(state, stack, valid, training, seed=0)
        return time.process_time() - begin

    print(seconds(), flush=True)
    for _ in sys.stdin:
        print(seconds() / STEPS, flush=True)


if __name__ == "__main__":
    main()
