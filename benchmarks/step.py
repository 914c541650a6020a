"""Training steps and the first call, side by side with another commit of qiff.

    git worktree add ../other 632ea58
    python -m venv ../other/.venv && ../other/.venv/bin/pip install --editable ../other
    python -m benchmarks.step --other ../other/.venv/bin/python

writes `results/step.json`. Both have the same weights, if the other is the older one. Seconds are
those of the processor, of all threads together: what others do on the machine counts for little.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from qiff._files import atomic_write

SCRIPT = Path(__file__).with_name("on_step.py")
RESULTS = Path(__file__).parent / "results"
N_ELEMENTS = (3, 10)


def measure(python: str, n_elements: int, folder: Path) -> dict[str, float]:
    """Seconds of a step and of the first call; programs are kept in the folder, as is the model."""
    command = [python, "-P", str(SCRIPT), str(n_elements), str(folder / f"{n_elements}.qiff")]
    cache = {**os.environ, "QIFF_CACHE": str(folder / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=cache)
    return json.loads(done.stdout.splitlines()[-1])


def run(pythons: dict[str, str], turns: int) -> dict[str, float]:
    """The least seconds of all turns."""
    found: dict[str, float] = {}
    for _ in range(turns):
        with tempfile.TemporaryDirectory() as name:
            for who, python in pythons.items():
                for n_elements in N_ELEMENTS:
                    for start in ("cold", "warm"):
                        one = measure(python, n_elements, Path(name))
                        step = f"{who}: step, {n_elements} elements"
                        first = f"{who}: first call, {n_elements} elements, {start} cache"
                        for key, value in ((step, one["step"]), (first, one["first call"])):
                            found[key] = min(found.get(key, value), value)
                            print(f"{key}: {value:.4g} s", flush=True)
    return found


def main() -> None:
    from .__main__ import machine

    parser = argparse.ArgumentParser(prog="python -m benchmarks.step")
    parser.add_argument("--other", help="Python in which another version is installed")
    parser.add_argument("--turns", type=int, default=2)
    options = parser.parse_args()
    pythons = {"other": options.other} if options.other else {}
    found = run({**pythons, "this": sys.executable}, options.turns)
    for key in [key for key in found if key.startswith("this") and options.other]:
        print(f"{key}: {found[key.replace('this', 'other')] / found[key]:.2f} times faster")
    atomic_write(RESULTS / "step.json", json.dumps({"machine": machine(), **found}, indent=1))


if __name__ == "__main__":
    main()
