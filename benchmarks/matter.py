"""Molecular dynamics of liquid water: time, memory and neighbour search against size; and MACE.

    python -m benchmarks.matter

writes `results/matter.json` and `results/matter.png`. Every size runs in a process of its own, so
that its peak memory is its own. MACE (`pip install mace-torch`) is measured side by side, in an
environment of its own (`--mace PYTHON`): with random weights, the same cutoff and precision,
through its own ASE calculator. Seconds are those of the processor, of all threads together: what
others do on the machine counts for little.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

import qiff
from qiff._files import atomic_write
from qiff.atoms.neighbours import neighbour_table
from qiff.dynamics.forces import ForceEvaluator
from qiff.model.potential import ScaleShiftSettings
from qiff.model.predict import enable_x64
from qiff.studies.couzinie2025.learning_curve import exponent

from .on_mace import ATOM_STEPS, CUTOFF, box

SIZES = (64, 512, 4096)  # molecules
RESULTS = Path(__file__).parent / "results"
MODEL = {
    "kind": "local", "elements": ["H", "O"], "cutoff": CUTOFF,
    "n_circuits": 4, "n_interactions": 2, "n_hidden": 32,
}  # fmt: skip


def local() -> qiff.AbstractPotential:
    """The model of runs/matter/water64.toml with random weights, so weak that little moves."""
    with enable_x64(False):
        settings = ScaleShiftSettings(scale=0.01, reference_energies={"O": 0.0, "H": 0.0})
        return qiff.ScaleShift(qiff.build(MODEL, jax.random.key(0)), settings)


def ours(n_molecules: int) -> dict[str, Any]:
    """Processor seconds of a step of NVT, share of neighbour search, peak memory in MiB."""
    atoms, potential = box(n_molecules), local()
    searched, search = [0.0], ForceEvaluator.with_neighbours

    def timed(*arguments: Any, **named: Any) -> ForceEvaluator:
        begin = time.process_time()
        found = search(*arguments, **named)
        searched[0] += time.process_time() - begin
        return found

    setattr(ForceEvaluator, "with_neighbours", timed)  # noqa: B010 (a module of the compiler)

    def seconds(n_steps: int) -> float:
        dynamics = qiff.Dynamics("nvt", temperature=300.0, steps=n_steps, interval=n_steps)
        searched[0] = 0.0
        with tempfile.TemporaryDirectory() as folder:
            begin = time.process_time()
            qiff.run_dynamics(potential, atoms, dynamics, Path(folder) / "water.xyz")
            return time.process_time() - begin

    few, many = 10, 10 + max(20, ATOM_STEPS // len(atoms))
    seconds(many)
    short, long = seconds(few), seconds(many)
    step = (long - short) / (many - few)
    return {
        "seconds": step, "neighbours": searched[0] / (step * many),
        "MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip


def neighbours(n_molecules: int) -> dict[str, Any]:
    """Processor seconds of one table of neighbours, and the bytes that it takes, in MiB."""
    atoms = box(n_molecules)
    begin = time.process_time()
    table = neighbour_table(atoms.positions, CUTOFF, atoms.cell.array, atoms.pbc)
    return {
        "seconds": time.process_time() - begin,
        "MiB": sum(values.nbytes for values in table if values is not None) / 2**20,
        "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


OURS = {"qiff": ours, "neighbours": neighbours}
SIZES_OF = {"neighbours": (512, 4096, 32768)}
"""Molecules, where not `SIZES`."""


def run(python: dict[str, str], turns: int) -> dict[str, Any]:
    """All sizes of all programs, taking turns, each in a process of its own; the least time."""
    found: dict[str, Any] = {}
    for _ in range(turns):
        for name, interpreter in python.items():
            for size in SIZES_OF.get(name, SIZES):
                module = ["benchmarks.matter", "--one", name]
                if name not in OURS:
                    module = ["benchmarks.on_mace"]
                command = [interpreter, "-m", *module, str(size)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    print(f"{name}, {size} molecules: {done.stderr.strip().splitlines()[-1:]}")
                    continue
                one = json.loads(done.stdout.splitlines()[-1])
                print(f"{name}, {size} molecules: {one}", flush=True)
                rows = found.setdefault(name, {})
                if size not in rows or one["seconds"] < rows[size]["seconds"]:
                    rows[size] = one
    for rows in found.values():
        sizes = list(rows)
        fitted = exponent(sizes, [1 / rows[size]["seconds"] for size in sizes])
        rows["exponent"] = fitted.value
    return found


def save(found: dict[str, Any], folder: Path = RESULTS) -> None:
    """Table and figure."""
    from matplotlib.figure import Figure

    atomic_write(folder / "matter.json", json.dumps(found, indent=1))
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    for axes, key in zip(figure.subplots(1, 2), ("seconds", "MiB"), strict=True):
        for name in ("qiff", "MACE"):
            rows = {n: row for n, row in found.get(name, {}).items() if isinstance(row, dict)}
            axes.loglog(list(rows), [row[key] for row in rows.values()], "o-", label=name)
        axes.set(
            xlabel="water molecules", ylabel={"MiB": "peak memory (MiB)"}.get(key, "s per step")
        )
        axes.legend(frameon=False)
    figure.savefig(folder / "matter.png", dpi=150)


def main() -> None:
    from .__main__ import machine

    parser = argparse.ArgumentParser(prog="python -m benchmarks.matter")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--mace", default=sys.executable, help="Python in which MACE is installed")
    parser.add_argument("--turns", type=int, default=2)
    options = parser.parse_args()
    if options.one:
        name, size = options.one
        print(json.dumps(OURS[name](int(size)) | {"versions": {"jax": version("jax")}}))
        return
    own = sys.executable
    found = run({"neighbours": own, "qiff": own, "MACE": options.mace}, options.turns)
    save({"machine": machine(), "model": MODEL, **found})


if __name__ == "__main__":
    main()
