"""Commands that use a model: evaluate, predict, info."""

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._checks import check_suffix
from .._files import atomic_write
from .._progress import working
from .command import (
    Commands,
    add,
    add_model_and_source,
    check_not_input,
    model_and_frames,
    print_table,
)
from .hardware import add_executor, measured, print_resources
from .options import add_settings
from .parser import Parser

if TYPE_CHECKING:
    import ase


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
    from ..atoms.properties import PROPERTIES, labels
    from ..model.ensemble import uncertainty
    from ..model.predict import Prediction, predict

    target = Path(options.target)
    check_suffix(target, (".xyz", ".extxyz"))
    check_not_input(target, options.source)
    potential, frames = model_and_frames(options)
    if options.dry_run:
        print_resources(options, potential, frames[0])
        print(f"for each of {len(frames)} frames; nothing was sent")
        return
    errors = ""
    if options.executor:
        measurements, errors = measured(options, potential, frames), " and their standard errors"
        for atoms, found in zip(frames, measurements, strict=True):
            _keep(atoms, {"energy": found.energy_error, "forces": found.forces_error}, "_error")
            atoms.info["n_shots"] = found.n_shots
        predictions = [Prediction(found.energy, found.forces) for found in measurements]
    else:
        with working("predicting"):
            predictions = predict(potential, frames)
            if potential.calibration:
                errors = " and their standard deviations"
                for atoms, expected in zip(frames, uncertainty(potential, frames), strict=True):
                    _keep(atoms, expected.results(), "_std")
    for atoms, found in zip(frames, predictions, strict=True):
        for key, value in labels(atoms).items():
            _store(atoms, key, PROPERTIES[key].aliases[0], value)
        atoms.calc = SinglePointCalculator(atoms, **found.results())
    write(target, frames)
    names = " and ".join(f"{key} ({PROPERTIES[key].unit})" for key in predictions[0].results())
    print(f"{len(frames)} frames with {names}{errors}: {target}")


def _keep(atoms: "ase.Atoms", values: Mapping[str, Any], suffix: str) -> None:
    """Store a value of each property with the frame, under its key and a suffix."""
    for key, value in values.items():
        _store(atoms, key, f"{key}{suffix}", value)


def _store(atoms: "ase.Atoms", key: str, name: str, value: Any) -> None:
    """Store a value of a property with the frame, under a name."""
    from ..atoms.properties import PROPERTIES

    (atoms.arrays if PROPERTIES[key].per_atom else atoms.info)[name] = value


def _info(options: argparse.Namespace) -> None:
    import jax

    from ..model.predict import dtype
    from ..quantum.circuit import circuits_of
    from ..quantum.engine import describe
    from ..report.architecture import model_figure, model_text
    from ..report.figures import saved
    from ..training.checkpoint import load, read_notes

    if options.draw:
        check_suffix(Path(options.draw), (".png", ".svg", ".pdf"))
    potential = load(options.model)
    lines: dict[str, object] = {
        "model": json.dumps(potential.config(), ensure_ascii=False),
        "weights": f"{sum(leaf.size for leaf in jax.tree.leaves(potential))} ({dtype(potential)})",
    }
    if len(potential.members) > 1:
        lines["ensemble"] = f"{len(potential.members)} members, all as the following"
        potential = potential.members[0]
    for number, circuit in enumerate(circuits_of(potential), 1):
        program = circuit.program
        gates = Counter(gate.name for gate in program.gates())
        count = ", ".join(f"{n} {name}" for name, n in gates.items())
        lines[f"circuit {number}"] = (
            f"{program.n_qubits} qubits; gates: {count}; engine {describe(circuit.engine, program)}"
        )
    print_table(lines | read_notes(options.model))
    if options.draw == "":
        print(f"\n{model_text(potential)}")
    elif options.draw:
        path = Path(options.draw)
        atomic_write(path, saved(model_figure(potential), path.suffix[1:]))
        print(f"drawing: {path}")


def _evaluate_arguments(parser: Parser) -> None:
    add_model_and_source(parser, "DATA")
    parser.add_argument("--json", action="store_true", help="print JSON in eV and eV/Å")


def _predict_arguments(parser: Parser) -> None:
    from ..hardware.measure import Protocol

    add_model_and_source(parser, "IN.xyz")
    parser.add_argument("target", metavar="OUT.xyz", help="extxyz with energy and forces")
    add_executor(parser)
    add_settings(parser, Protocol, only=("seed",))


def _info_arguments(parser: Parser) -> None:
    parser.add_argument("model", metavar="MODEL")
    text = "draw the model and its circuits: as text, or as a figure (.png, .svg, .pdf)"
    parser.add_argument("--draw", nargs="?", const="", metavar="FILE", help=text)


def add_commands(commands: Commands) -> None:
    """Add these commands to the parser."""
    text = "errors of a model on labelled configurations"
    add(commands, "evaluate", _evaluate, _evaluate_arguments, text)
    text = "energy and forces of every configuration of a file"
    again = "; repeat the command to resume."
    add(commands, "predict", _predict, _predict_arguments, text, again)
    add(commands, "info", _info, _info_arguments, "describe a model")
