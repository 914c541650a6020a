"""Commands that use a model: evaluate, predict, md, validate, info."""

import argparse
import json
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from .._checks import InputError, check_suffix
from .._progress import progress, working
from .command import (
    Commands,
    add,
    add_model_and_source,
    check_apart,
    mention_slow_engine,
    model_and_frames,
    print_table,
)
from .hardware import add_executor, integrator_of, measured, print_resources

if TYPE_CHECKING:
    from ..dynamics.md import Dynamics


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
            atoms.info["energy_std"], atoms.arrays["forces_std"] = expected
    for atoms, found in zip(frames, predictions, strict=True):
        atoms.calc = SinglePointCalculator(atoms, energy=found.energy, forces=found.forces)
    write(target, frames)
    if options.executor:
        errors = " and their standard errors"
    else:
        errors = " and their standard deviations" if isinstance(potential, Ensemble) else ""
    print(f"{len(frames)} frames with energy (eV) and forces (eV/Å){errors}: {target}")


def _md(options: argparse.Namespace) -> None:
    from ..dynamics.md import simulate
    from ..report.dynamics import dynamics_line, save_dynamics

    dynamics = _dynamics(options)
    path = Path(options.out)
    table, record, picture = (path.with_suffix(suffix) for suffix in (".csv", ".json", ".png"))
    check_suffix(path, (".xyz", ".extxyz"))
    check_apart(path, options.source)
    for target in (path, table, record, picture):
        if target.exists() and not options.overwrite:
            raise InputError(f"{target}: exists; choose another --out or replace it (--overwrite).")
    potential, (start, *_) = model_and_frames(options)
    if options.dry_run:
        print_resources(options, potential, start)
        print(f"for each of {dynamics.steps + 1} geometries; nothing was sent")
        return
    motion = integrator_of(options, path) if options.executor else None
    mention_slow_engine()
    for target in (table, record, picture):
        target.unlink(missing_ok=True)
    with progress(dynamics.steps) as show:
        text = f"{dynamics.ensemble} dynamics"
        show(0, text)
        if motion:
            motion.after_job = lambda n: show(len(motion.measured), f"{text}, {n} circuits")
        samples, report = simulate(
            potential, start, dynamics, path, lambda done: show(done, text), motion
        )
    origin = _origin(options.model)
    if motion:
        origin |= {"executor": options.executor, "shots": motion.n_shots}
    found = save_dynamics(path, dynamics, samples, report, origin)
    print(f"{dynamics_line(dynamics.ensemble, found)}\ntrajectory: {path}")


def _dynamics(options: argparse.Namespace) -> "Dynamics":
    from ..dynamics.md import Dynamics

    given = {f.name for f in fields(Dynamics)} & vars(options).keys()
    return Dynamics(**{name: getattr(options, name) for name in given})


def _origin(model: str) -> dict[str, object]:
    """Which model it was, for records."""
    from ..training.checkpoint import model_hash

    return {"model": model, "model_sha256": model_hash(model)}


def _validate(options: argparse.Namespace) -> None:
    from ..studies.dynamics import courses, validate

    dynamics, out = _dynamics(options), Path(options.out)
    potential, frames = model_and_frames(options)
    mention_slow_engine()
    with progress(sum(course.steps for course in courses(dynamics).values())) as show:
        origin = _origin(options.model)
        section, record = validate(potential, frames, dynamics, out, origin, show)
    report = section.save(out.parent, record)
    print_table({str(row["what"]): row["found"] for row in section.rows})
    print(f"report: {report}")


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
        gates = Counter(gate.name for gate in circuit.program.gates())
        count = ", ".join(f"{n} {name}" for name, n in gates.items())
        lines[f"circuit {number}"] = (
            f"{circuit.program.n_qubits} qubits; gates: {count}; engine {describe(circuit.engine)}"
        )
    print_table(lines | read_notes(options.model))


def add_commands(commands: Commands) -> None:
    """Add these commands to the parser."""
    sub = add(commands, "evaluate", _evaluate, "errors of a model on labelled configurations")
    add_model_and_source(sub, "DATA")
    sub.add_argument("--json", action="store_true", help="print JSON in eV and eV/Å")

    sub = add(commands, "predict", _predict, "energy and forces of every configuration of a file")
    add_model_and_source(sub, "IN.xyz")
    sub.add_argument("target", metavar="OUT.xyz", help="extxyz with energy and forces")
    add_executor(sub)
    sub.add_argument("--seed", type=int, default=0, help="of simulated outcomes, default 0")
    sub.add_argument("--dry-run", action="store_true", help="say what would be sent, send nothing")
    sub.set_defaults(remedy="; the same command goes on.")

    sub = add(commands, "md", _md, "molecular dynamics from the first configuration of a file")
    add_model_and_source(sub, "START.xyz")
    sub.add_argument("--ensemble", default=argparse.SUPPRESS, help="nve (default) or nvt")
    _add_dynamics(sub, steps=4000, interval=10)
    sub.add_argument("--out", default="traj.xyz", help="default traj.xyz; also .csv, .json, .png")
    sub.add_argument("--overwrite", action="store_true", help="replace the trajectory")
    add_executor(sub)
    sub.add_argument("--dry-run", action="store_true", help="say what would be sent, send nothing")
    sub.set_defaults(remedy="; the frames so far are in the trajectory.")

    sub = add(commands, "validate", _validate, "dynamics of a model against its data: a report")
    add_model_and_source(sub, "DATA")
    _add_dynamics(sub, steps=200_000, interval=50)
    sub.add_argument("--out", default="validation", help="folder, default validation")
    sub.set_defaults(remedy="; the same command goes on.")

    add(commands, "info", _info, "what a model is").add_argument("model", metavar="MODEL")


def _add_dynamics(sub: argparse.ArgumentParser, steps: int, interval: int) -> None:
    """Options for `_dynamics`."""
    sub.set_defaults(steps=steps, interval=interval)
    for option, kind, text in (
        ("--temperature", float, "K, default 300"),
        ("--timestep", float, "fs, default 0.5"),
        ("--steps", int, f"default {steps}"),
        ("--interval", int, f"steps between frames, default {interval}"),
        ("--friction", float, "of nvt, 1/fs, default 0.01"),
        ("--seed", int, "default 0"),
    ):
        sub.add_argument(option, type=kind, default=argparse.SUPPRESS, help=text)
