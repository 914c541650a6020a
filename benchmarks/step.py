"""Training steps and the first call, side by side with another commit of qiff.

    git worktree add ../other 632ea58
    python -m venv ../other/.venv && ../other/.venv/bin/pip install --editable ../other
    python -m benchmarks.step --other ../other/.venv/bin/python

writes `results/step.json`. Both have the same weights, if the other is the older one. Seconds are
those of the processor, of all threads together: what others do on the machine counts for little.
Some steps of one are timed, then as many of the other, in turns: the ratio of steps is the median
of those of all turns.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from qiff._files import atomic_write

from .on_step import STEPS

SCRIPT = Path(__file__).with_name("on_step.py")
RESULTS = Path(__file__).parent / "results"
N_ELEMENTS = (3, 10)


class Process:
    """Training steps in a Python, whose programs are kept in a folder, as is the model."""

    def __init__(self, python: str, n_elements: int, folder: Path):
        command = [python, "-P", str(SCRIPT), str(n_elements), str(folder / f"{n_elements}.qiff")]
        cache = {**os.environ, "QIFF_CACHE": str(folder / "cache")}
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env=cache, **pipes)
        self.first = self._line()

    def step(self) -> float:
        """Seconds of a step now."""
        print(file=self.process.stdin, flush=True)
        return self._line()

    def end(self) -> None:
        self.process.communicate()

    def _line(self) -> float:
        assert self.process.stdout
        return float(self.process.stdout.readline())


def run(pythons: dict[str, str], n_elements: int, turns: int) -> dict[str, float]:
    """The least seconds of steps and of first calls, and ratios to those of `this`."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        for start, n_steps in (("cold", 1), ("warm", turns)):
            running = {
                who: Process(python, n_elements, Path(name)) for who, python in pythons.items()
            }
            timed = [[process.step() for process in running.values()] for _ in range(n_steps)]
            steps = dict(zip(running, np.transpose(timed), strict=True))
            for who, process in running.items():
                process.end()
                least = steps[who].min()
                now = {
                    f"{who}: step": least,
                    f"{who}: first call, {start} cache": process.first - STEPS * least,
                }
                if who != "this":
                    now[f"{who} / this: step"] = np.median(steps[who] / steps["this"])
                found |= {key: float(value) for key, value in now.items()}
                for key, value in now.items():
                    print(f"{n_elements} elements, {key}: {value:.4g}", flush=True)
    return found


def main() -> None:
    from .__main__ import machine

    parser = argparse.ArgumentParser(prog="python -m benchmarks.step")
    parser.add_argument("--other", help="Python in which another version is installed")
    parser.add_argument("--turns", type=int, default=12)
    options = parser.parse_args()
    pythons = {"other": options.other} if options.other else {}
    pythons |= {"this": sys.executable}
    found = {n: run(pythons, n, options.turns) for n in N_ELEMENTS}
    atomic_write(RESULTS / "step.json", json.dumps({"machine": machine(), **found}, indent=1))


if __name__ == "__main__":
    main()
