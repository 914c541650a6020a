"""Commands that use a model: evaluate, predict, info."""

import argparse
import json
from collections import Counter
from pathlib import Path

from .._checks import check_suffix
from .._progress import working
from ..hardware.measure import Protocol
from .command import Commands, add, add_model_and_source, check_apart, model_and_frames, print_table
from .hardware import add_executor, measured, print_resources
from .options import add_settings


def _evaluate(options: argparse.Namespace) -> None:
    from ..report.tables import error_lines, reliability_lines
    from ..training.metrics import evaluate

    potential, frames = model_and_frames(options, need_energy=True)
    with working("evaluating"):
        metrics = evaluate(potential, frames)
    lines = [*error_lines({"all": metrics}), *reliability_lines({"all": metrics})]
    print(json.dumps(metrics, indent=2) if options.json else "\n".join(lines))


def _predict(options: argparse.Namespace) -> None:
    from ase.calculators.singlepoint import SinglePointCalculator

    from ..atoms.data.dataset import write
    from ..model.ensemble import Ensemble, uncertainty
    from ..model.predict import predict

    target = Path(options.target)
    check_suffix(target, (".xyz", ".extxyz"))
    check_apart(target, options.source)
    potential, frames = model_and_frames(options)
    if options.dry_run:
        print_resources(options, potential, frames[0])
        print(f"for each of {len(frames)} frames; nothing was sent")
        return
    if options.executor:
        predictions = measured(options, potential, frames)
        for atoms, found in zip(frames, predictions, strict=True):
            atoms.arrays["forces_error"] = found.forces_error
            atoms.info |= {"energy_error": found.energy_error, "n_shots": found.n_shots}
    else:
        with working("predicting"):
            predictions = predict(potential, frames)
            deviations = uncertainty(potential, frames) if isinstance(potential, Ensemble) else []
        for atoms, expected in zip(frames, deviations, strict=False):
            atoms.info["energy_std"], atoms.arrays["forces_std"] = expected.energy, expected.forces
    for atoms, found in zip(frames, predictions, strict=True):
        atoms.calc = SinglePointCalculator(atoms, energy=found.energy, forces=found.forces)
    write(target, frames)
    if options.executor:
        errors = " and their standard errors"
    else:
        errors = " and their standard deviations" if isinstance(potential, Ensemble) else ""
    print(f"{len(frames)} frames with energy (eV) and forces (eV/Å){errors}: {target}")


def _info(options: argparse.Namespace) -> None:
    import jax

    from ..model.ensemble import Ensemble
    from ..model.predict import dtype
    from ..quantum.circuit import is_circuit
    from ..quantum.engine import describe
    from ..training.checkpoint import load, read_notes

    potential = load(options.model)
    lines: dict[str, object] = {
        "model": json.dumps(potential.config(), ensure_ascii=False),
        "weights": f"{sum(leaf.size for leaf in jax.tree.leaves(potential))} ({dtype(potential)})",
    }
    if isinstance(potential, Ensemble):
        lines["ensemble"] = f"{len(potential.members)} members, all as the following"
        potential = potential.members[0]
    circuits = [c for c in jax.tree.leaves(potential, is_leaf=is_circuit) if is_circuit(c)]
    for number, circuit in enumerate(circuits, 1):
        program = circuit.program
        gates = Counter(gate.name for gate in program.gates())
        count = ", ".join(f"{n} {name}" for name, n in gates.items())
        lines[f"circuit {number}"] = (
            f"{program.n_qubits} qubits; gates: {count}; engine {describe(circuit.engine, program)}"
        )
    print_table(lines | read_notes(options.model))


def add_commands(commands: Commands) -> None:
    """Add these commands to the parser."""
    sub = add(commands, "evaluate", _evaluate, "errors of a model on labelled configurations")
    add_model_and_source(sub, "DATA")
    sub.add_argument("--json", action="store_true", help="print JSON in eV and eV/Å")

    text = "energy and forces of every configuration of a file"
    sub = add(commands, "predict", _predict, text, "; repeat the command to resume.")
    add_model_and_source(sub, "IN.xyz")
    sub.add_argument("target", metavar="OUT.xyz", help="extxyz with energy and forces")
    add_executor(sub)
    add_settings(sub, Protocol, only=("seed",))

    add(commands, "info", _info, "describe a model").add_argument("model", metavar="MODEL")
