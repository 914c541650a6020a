"""Time and memory of circuits of atoms against the number of atoms, in a chain of fixed density.

    python -m benchmarks.atoms

writes `results/atoms.json` and `results/atoms.png`.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import ase
import jax

import qiff
from qiff._files import atomic_write
from qiff.atoms.graph import graph
from qiff.model.derivatives import energy_and_forces
from qiff.model.potential import ScaleShiftSettings
from qiff.model.predict import dtype, enable_x64, evaluator
from qiff.studies.couzinie2025.learning_curve import exponent

from .timing import side_by_side

SIZES = (9, 18, 36, 72, 144, 288, 576, 1000)
ROUNDS = (1, 2)
TURNS = 7
RESULTS = Path(__file__).parent / "results"
_FEW_STEPS = 10  # of a short run
_ATOM_STEPS = 6_000  # atoms times further steps of a long one


def chain(n_atoms: int) -> ase.Atoms:
    """The first atoms of a zig-zag of CH2, a little out of order."""
    groups = []
    for k in range(-(-n_atoms // 3)):
        x, side = 1.27 * k, (-1) ** k
        groups += [(x, 0.42 * side, 0.0), *((x, 1.05 * side, z) for z in (0.89, -0.89))]
    atoms = ase.Atoms(("CHH" * n_atoms)[:n_atoms], groups[:n_atoms])
    atoms.rattle(0.02, seed=0)
    return atoms


def local(n_interactions: int) -> qiff.AbstractPotential:
    """Circuits as by default, with random weights, and so weak that the chain stays one."""
    config = {"kind": "local", "elements": ["C", "H"], "n_interactions": n_interactions}
    with enable_x64(False):
        settings = ScaleShiftSettings(scale=0.01, reference_energies={"C": 0.0, "H": 0.0})
        return qiff.ScaleShift(qiff.build(config, jax.random.key(0)), settings)


def run() -> Iterator[dict[str, Any]]:
    """Rows: seconds of an evaluation and of a step of dynamics, and bytes, by size.

    Seconds are those of the processor, of all threads together, and the least of several turns:
    what others do on the machine counts for little.
    """
    chains = {n: chain(n) for n in SIZES}
    for n_interactions in ROUNDS:
        potential = local(n_interactions)
        calls = {
            n: partial(evaluator(potential, atoms), atoms.positions, atoms.cell.array)
            for n, atoms in chains.items()
        }
        yield _row(
            n_interactions, "energy and forces, s", side_by_side(calls, TURNS, min, process_time)
        )
        memory = {n: _bytes(potential, atoms) for n, atoms in chains.items()}
        yield _row(n_interactions, "memory, bytes", memory)
    steps = {n: _step(local(ROUNDS[-1]), atoms) for n, atoms in chains.items()}
    yield _row(ROUNDS[-1], "step of dynamics, s", steps)


def _row(n_interactions: int, what: str, found: Mapping[int, float]) -> dict[str, Any]:
    """With the exponent of a power law and the half width of its 95 % interval."""
    fitted = exponent(list(found), [1 / value for value in found.values()])
    return {
        "rounds": n_interactions, "what": what, "by_atoms": dict(found),
        "exponent": fitted.value, "half_width": fitted.half_width,
    }  # fmt: skip


def _step(potential: qiff.AbstractPotential, atoms: ase.Atoms) -> float:
    """Seconds of a step: a long run less a short one, which has all that is not steps."""
    further = max(_FEW_STEPS, _ATOM_STEPS // len(atoms))

    def seconds(n_steps: int) -> float:
        dynamics = qiff.Dynamics(steps=n_steps, interval=10 * _ATOM_STEPS)
        with tempfile.TemporaryDirectory() as folder:
            begin = process_time()
            qiff.run_dynamics(potential, atoms, dynamics, Path(folder) / "chain.xyz")
            return process_time() - begin

    times = [(seconds(_FEW_STEPS + further), seconds(_FEW_STEPS)) for _ in range(3)]
    longer, shorter = map(min, zip(*times, strict=True))
    return (longer - shorter) / further


def _bytes(potential: qiff.AbstractPotential, atoms: ase.Atoms) -> int:
    """What the compiled energy and forces take: inputs, outputs and all in between."""
    seen = graph(atoms, dtype(potential), potential.cutoff)
    memory = jax.jit(energy_and_forces).lower(potential, seen).compile().memory_analysis()
    return sum(
        int(getattr(memory, f"{part}_size_in_bytes")) for part in ("temp", "argument", "output")
    )


def save(rows: list[dict[str, Any]], folder: Path = RESULTS) -> None:
    """Table and figure."""
    import matplotlib.pyplot as plt

    atomic_write(folder / "atoms.json", json.dumps(rows, indent=1))
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    by_what = dict(zip(dict.fromkeys(row["what"] for row in rows), axes, strict=True))
    for row in rows:
        axis = by_what[row["what"]]
        slope = f"exponent {row['exponent']:.2f} ± {row['half_width']:.2f}"
        label = f"{row['rounds']} round{'s' * (row['rounds'] > 1)}, {slope}"
        axis.loglog(list(row["by_atoms"]), list(row["by_atoms"].values()), "o-", label=label)
        axis.set(xlabel="atoms", ylabel=row["what"])
        axis.legend()
    figure.savefig(folder / "atoms.png", dpi=150)


def line(row: dict[str, Any]) -> str:
    """A row as text."""
    values = ", ".join(f"{n} atoms {value:.3g}" for n, value in row["by_atoms"].items())
    slope = f"exponent {row['exponent']:.2f} ± {row['half_width']:.2f}"
    return f"{row['what']}, rounds {row['rounds']}: {values}; {slope}"


if __name__ == "__main__":
    rows = []
    for row in run():
        rows.append(row)
        print(line(row), flush=True)
    save(rows)
