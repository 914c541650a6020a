"""Molecular dynamics of liquid water: time, memory and neighbour search against size; and MACE.

    python -m benchmarks.matter

writes `results/matter.json` and `results/matter.png`. Every size runs in a process of its own, so
that its peak memory is its own. MACE (`pip install mace-torch`) is measured side by side if it is
installed: with random weights, the same cutoff and precision, through its own ASE calculator.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ase
import ase.units
import jax
import numpy as np
from ase.md.verlet import VelocityVerlet
from scipy.spatial.transform import Rotation

import qiff
from qiff._files import atomic_write
from qiff.dynamics.forces import ForceEvaluator
from qiff.model.potential import ScaleShiftSettings
from qiff.model.predict import enable_x64
from qiff.studies.couzinie2025.learning_curve import exponent

SIZES = (64, 512, 4096)  # molecules
CUTOFF = 5.0  # Å
SPACING = 3.1042  # Å between molecules on a lattice: 1 g/cm³
RESULTS = Path(__file__).parent / "results"
_ATOM_STEPS = 300_000  # atoms times steps of a run
_MOLECULE = np.array([[0, 0, 0], [0.757, 0.586, 0], [-0.757, 0.586, 0]])
MODEL = {
    "kind": "local", "elements": ["H", "O"], "cutoff": CUTOFF,
    "n_circuits": 4, "n_interactions": 2, "n_hidden": 32,
}  # fmt: skip


def box(n_molecules: int) -> ase.Atoms:
    """Molecules on a cubic lattice, turned at random."""
    side = round(n_molecules ** (1 / 3))
    places = SPACING * np.stack(np.meshgrid(*[np.arange(side)] * 3), -1).reshape(-1, 3)
    turns = Rotation.from_quat(np.random.default_rng(0).normal(size=(len(places), 4)))
    positions = [place + turn.apply(_MOLECULE) for place, turn in zip(places, turns, strict=True)]
    length = side * SPACING
    return ase.Atoms("OHH" * len(places), np.concatenate(positions), cell=[length] * 3, pbc=True)


def local() -> qiff.AbstractPotential:
    """The model of runs/water.toml with random weights, so weak that molecules hardly move."""
    with enable_x64(False):
        settings = ScaleShiftSettings(scale=0.01, reference_energies={"O": 0.0, "H": 0.0})
        return qiff.ScaleShift(qiff.build(MODEL, jax.random.key(0)), settings)


def ours(n_molecules: int) -> dict[str, Any]:
    """Seconds of a step of NVT, share of neighbour search, peak memory in MiB."""
    atoms, potential = box(n_molecules), local()
    searched, search = [0.0], ForceEvaluator.with_neighbours

    def timed(*arguments: Any, **named: Any) -> ForceEvaluator:
        begin = time.perf_counter()
        found = search(*arguments, **named)
        searched[0] += time.perf_counter() - begin
        return found

    setattr(ForceEvaluator, "with_neighbours", timed)  # noqa: B010 (a module of the compiler)

    def seconds(n_steps: int) -> float:
        dynamics = qiff.Dynamics("nvt", temperature=300.0, steps=n_steps, interval=n_steps)
        searched[0] = 0.0
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            qiff.run_dynamics(potential, atoms, dynamics, Path(folder) / "water.xyz")
            return time.perf_counter() - begin

    few, many = 10, 10 + max(20, _ATOM_STEPS // len(atoms))
    seconds(many)
    short, long = seconds(few), seconds(many)
    step = (long - short) / (many - few)
    return {
        "seconds": step, "neighbours": searched[0] / (step * many),
        "MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip


def mace(n_molecules: int) -> dict[str, Any]:
    """Seconds of a step of velocity Verlet through ASE, and peak memory in MiB."""
    import torch  # pyright: ignore[reportMissingImports]
    from e3nn import o3  # pyright: ignore[reportMissingImports]
    from mace.calculators import MACECalculator  # pyright: ignore[reportMissingImports]
    from mace.modules import MACE, interaction_classes  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    torch.set_default_dtype(torch.float32)
    block = interaction_classes["RealAgnosticResidualInteractionBlock"]
    model = MACE(
        r_max=CUTOFF, num_bessel=8, num_polynomial_cutoff=5, max_ell=2, num_interactions=2,
        interaction_cls=block, interaction_cls_first=block, num_elements=2,
        hidden_irreps=o3.Irreps("32x0e + 32x1o"), MLP_irreps=o3.Irreps("16x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.zeros(2), avg_num_neighbors=50.0, atomic_numbers=[1, 8], correlation=3,
        radial_type="bessel",
    )  # fmt: skip
    atoms = box(n_molecules)
    atoms.calc = MACECalculator(models=[model], device="cpu", default_dtype="float32")
    driver = VelocityVerlet(atoms, timestep=0.01 * ase.units.fs)
    n_steps = max(2, _ATOM_STEPS // 20 // len(atoms))
    driver.run(2)
    begin = time.perf_counter()
    driver.run(n_steps)
    return {
        "seconds": (time.perf_counter() - begin) / n_steps,
        "MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


PEERS = {"qiff": ours, "MACE": mace}


def run(python: dict[str, str], turns: int) -> dict[str, Any]:
    """All sizes of all programs, taking turns, each in a process of its own; the least time."""
    found: dict[str, Any] = {}
    for _ in range(turns):
        for size in SIZES:
            for name, interpreter in python.items():
                command = [interpreter, "-m", "benchmarks.matter", "--one", name, str(size)]
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
        sizes = [size for size in SIZES if size in rows]
        fitted = exponent(sizes, [1 / rows[size]["seconds"] for size in sizes])
        rows["exponent"] = fitted.value
    return found


def save(found: dict[str, Any], folder: Path = RESULTS) -> None:
    """Table and figure."""
    from matplotlib.figure import Figure

    atomic_write(folder / "matter.json", json.dumps(found, indent=1))
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    for axes, key in zip(figure.subplots(1, 2), ("seconds", "MiB"), strict=True):
        for name in PEERS:
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
        versions = {}
        for package in ("jax", "torch", "mace-torch"):
            try:
                versions[package] = version(package)
            except PackageNotFoundError:
                continue
        print(json.dumps({**PEERS[name](int(size)), "versions": versions}))
        return
    found = run({"qiff": sys.executable, "MACE": options.mace}, options.turns)
    save({"machine": machine(), "model": MODEL, **found})


if __name__ == "__main__":
    main()
