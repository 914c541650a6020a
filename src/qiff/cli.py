"""The command line: parse, call, print.

Exit codes: 0 done; 1 a run failed (nan in training, exploded dynamics); 2 a mistake in what was
given; 130 interrupted.
"""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from ._checks import InputError, RunError, check_known, check_suffix
from ._progress import progress, working


def entry() -> None:
    """The command: run `main` and exit with its code."""
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    if code == INTERRUPTED:
        os._exit(code)  # a thread of XLA may still compile; Python torn down under it crashes
    sys.exit(code)


INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
        sys.stdout.flush()
    except InputError as error:
        return _fail(error, 2)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        reason = (error.strerror or str(error)).lower()
        return _fail(f"{place}{reason}; check the path, its permissions and the disk.", 2)
    except RunError as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return _fail(f"interrupted{options.remedy}", INTERRUPTED)
    return 0


def _mention_slow_engine() -> None:
    from .quantum.engine import describe

    engine = describe()
    if engine.startswith("xla ("):
        print(f"qiff: circuits are simulated by {engine}, which is slower", file=sys.stderr)


def _fail(message: object, code: int) -> int:
    print(f"qiff: {' '.join(str(message).split())}", file=sys.stderr)
    return code


# --- commands -------------------------------------------------------------------------------


def _train(options: argparse.Namespace) -> None:
    from .config import read_config
    from .report import summary
    from .run import train

    run = read_config(Path(options.config), options.set)
    _mention_slow_engine()
    with progress(run.train.steps) as show_progress:

        def show(state) -> None:
            text = f"validation loss {state.history[-1].valid_loss:.3g}" if state.history else ""
            text = text or "compiling"
            show_progress(state.step, "evaluating" if state.step == run.train.steps else text)

        train(run, resume=options.resume, overwrite=options.overwrite, after_validation=show)
    print("\n".join(summary(Path(run.output))))


def _evaluate(options: argparse.Namespace) -> None:
    from .report import error_lines
    from .training.metrics import evaluate

    potential, frames = _model_and_frames(options, need_energy=True)
    with working("evaluating"):
        metrics = evaluate(potential, frames)
    print(
        json.dumps(metrics, indent=2) if options.json else "\n".join(error_lines({"all": metrics}))
    )


def _predict(options: argparse.Namespace) -> None:
    from ase.calculators.singlepoint import SinglePointCalculator

    from .atoms.dataset import write
    from .model.predict import predict

    target = Path(options.target)
    check_suffix(target, (".xyz", ".extxyz"))
    _check_apart(target, options.source)
    potential, frames = _model_and_frames(options)
    with working("predicting"):
        predictions = predict(potential, frames)
    for atoms, prediction in zip(frames, predictions, strict=True):
        atoms.calc = SinglePointCalculator(atoms, **prediction._asdict())
    write(target, frames)
    print(f"{len(frames)} frames with energy (eV) and forces (eV/Å): {target}")


def _md(options: argparse.Namespace) -> None:
    from ._files import atomic_write
    from .atoms.dataset import file_hash
    from .md import Dynamics, samples_csv, simulate
    from .report import dynamics_figure, dynamics_line

    given = {f.name for f in fields(Dynamics)} & vars(options).keys()
    dynamics = Dynamics(**{name: getattr(options, name) for name in given})
    path = Path(options.out)
    table, record, picture = (path.with_suffix(suffix) for suffix in (".csv", ".json", ".png"))
    check_suffix(path, (".xyz", ".extxyz"))
    _check_apart(path, options.source)
    for target in (path, table, record, picture):
        if target.exists() and not options.overwrite:
            raise InputError(f"{target}: exists; choose another --out or replace it (--overwrite).")
    potential, (start, *_) = _model_and_frames(options)
    _mention_slow_engine()
    for target in (table, record, picture):
        target.unlink(missing_ok=True)
    with progress(dynamics.steps) as show:
        text = f"{dynamics.ensemble} dynamics"
        show(0, text)
        samples, report = simulate(potential, start, dynamics, path, lambda done: show(done, text))
    origin = {"model": options.model, "model_sha256": file_hash(options.model)}
    found = {**asdict(dynamics), **asdict(report), **origin}
    atomic_write(table, samples_csv(samples))
    atomic_write(picture, dynamics_figure(samples, report.n_atoms))
    atomic_write(record, json.dumps(found, indent=2) + "\n")
    print(f"{dynamics_line(dynamics.ensemble, found)}\ntrajectory: {path}")


def _report(options: argparse.Namespace) -> None:
    from .report import html_page, summary

    folder = Path(options.folder)
    page = html_page(folder)
    print("\n".join([*summary(folder), f"report: {page}"]))


def _data_make(options: argparse.Namespace) -> None:
    from .atoms.label import RECIPES, make
    from .atoms.sampling import Sampling

    check_known("Data set", options.name, RECIPES)
    sampling = Sampling(options.n_frames, options.temperature, options.seed)
    path = Path(options.out or f"{options.name}.xyz")
    check_suffix(path, (".xyz", ".extxyz"))
    for target in (path, path.with_suffix(".json")):
        if target.exists():
            raise InputError(f"{target}: exists; choose another --out or delete it first.")
    print(f"{options.name}: {RECIPES[options.name].level}")
    total = sampling.n_frames or RECIPES[options.name].n_frames
    with progress(total) as show:
        show(0, "geometries")

        def track(frames, completed, total):
            show(completed, "labels")
            for number, atoms in enumerate(frames, completed + 1):
                yield atoms
                show(number, "labels")

        make(options.name, path, sampling, track)
    print(f"data set: {path}, provenance: {path.with_suffix('.json')}")


def _data_info(options: argparse.Namespace) -> None:
    from .report import data_lines

    _print_table(data_lines(_source(options, options.source)))


def _info(options: argparse.Namespace) -> None:
    import jax

    from .model.predict import dtype
    from .quantum.circuit import Circuit
    from .quantum.engine import describe
    from .training.checkpoint import load, read_notes

    potential = load(options.model)
    lines: dict[str, object] = {
        "model": json.dumps(potential.config(), ensure_ascii=False),
        "weights": f"{sum(leaf.size for leaf in jax.tree.leaves(potential))} ({dtype(potential)})",
    }
    is_circuit = lambda node: isinstance(node, Circuit)
    circuits = [c for c in jax.tree.leaves(potential, is_leaf=is_circuit) if is_circuit(c)]
    for number, circuit in enumerate(circuits, 1):
        gates = Counter(gate.name for gate in circuit.program.gates())
        count = ", ".join(f"{n} {name}" for name, n in gates.items())
        lines[f"circuit {number}"] = (
            f"{circuit.program.n_qubits} qubits; gates: {count}; engine {describe(circuit.engine)}"
        )
    _print_table(lines | read_notes(options.model))


def _reproduce(options: argparse.Namespace) -> None:
    from .studies.le2023 import PARTS, reproduce, total_runs
    from .studies.study import QUICK, Budget

    check_known("Study", options.study, ("le2023",))
    parts = PARTS if options.part in ([], ["all"]) else tuple(options.part)
    budget = QUICK if options.quick else Budget()
    out = Path(options.out or options.study + "-quick" * options.quick)
    _mention_slow_engine()
    with progress(total_runs(parts, budget)) as show:
        reports = reproduce(parts, out, budget, show)
    for part, path in reports.items():
        print(f"{part}: {path}")


def _template(options: argparse.Namespace) -> None:
    from .config import template

    print(template(options.name), end="")


# --- shared ---------------------------------------------------------------------------------


def _check_apart(target: Path, source: str) -> None:
    """Raise if an output is the input as well."""
    if target.exists() and Path(source).exists() and target.samefile(source):
        raise InputError(f"{target}: is the input as well; choose another output.")


def _source(options: argparse.Namespace, path: str):
    from .atoms.dataset import Source

    elements = tuple(part.strip() for part in options.elements.split(",") if part)
    units_and_keys = (
        options.energy_unit,
        options.length_unit,
        options.energy_key,
        options.forces_key,
    )
    return Source(path, *units_and_keys, elements)


def _model_and_frames(options: argparse.Namespace, *, need_energy: bool = False):
    """The model, and frames of the source that it can describe."""
    from .atoms.dataset import read
    from .model.predict import check_atoms
    from .training.checkpoint import load

    potential = load(options.model)
    frames = read(_source(options, options.source), need_energy=need_energy)
    for index, atoms in enumerate(frames):
        check_atoms(potential, atoms, f"{options.source}: frame {index}")
    return potential, frames


def _print_table(lines) -> None:
    width = max(map(len, lines))
    for name, value in lines.items():
        print(f"{name:{width}}  {value}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qiff",
        description="Interatomic potentials from quantum circuits with built-in symmetry.",
        epilog="Begin with: qiff template water > run.toml; qiff train run.toml",
    )
    from importlib.metadata import version

    parser.add_argument("--version", action="version", version=f"qiff {version('qiff')}")
    parser.set_defaults(remedy=".")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, command, help: str, to=commands) -> argparse.ArgumentParser:
        sub = to.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        sub.set_defaults(command=command)
        return sub

    sub = add("train", _train, "train a model as a config says, into a run folder")
    sub.add_argument("config", metavar="RUN.toml", help="see `qiff template`")
    sub.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="for instance train.steps=100",
    )
    again = sub.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    again.add_argument("--overwrite", action="store_true", help="replace the run in the folder")
    sub.set_defaults(remedy="; go on with --resume.")

    sub = add("evaluate", _evaluate, "errors of a model on labelled configurations")
    _add_model_and_source(sub, "DATA")
    sub.add_argument("--json", action="store_true", help="print JSON in eV and eV/Å")

    sub = add("predict", _predict, "energy and forces of every configuration of a file")
    _add_model_and_source(sub, "IN.xyz")
    sub.add_argument("target", metavar="OUT.xyz", help="extxyz with energy and forces")

    sub = add("md", _md, "molecular dynamics from the first configuration of a file")
    _add_model_and_source(sub, "START.xyz")
    for option, kind, text in (
        ("--ensemble", str, "nve (default) or nvt"),
        ("--temperature", float, "K, default 300"),
        ("--timestep", float, "fs, default 0.5"),
        ("--steps", int, "default 4000"),
        ("--interval", int, "steps between frames, default 10"),
        ("--friction", float, "of nvt, 1/fs, default 0.01"),
        ("--seed", int, "default 0"),
    ):
        sub.add_argument(option, type=kind, default=argparse.SUPPRESS, help=text)
    sub.add_argument("--out", default="traj.xyz", help="default traj.xyz; also .csv, .json, .png")
    sub.add_argument("--overwrite", action="store_true", help="replace the trajectory")
    sub.set_defaults(remedy="; the frames so far are in the trajectory.")

    add("report", _report, "summarise a run folder and write its report.html").add_argument(
        "folder", metavar="RUN_FOLDER"
    )

    data = commands.add_parser("data", help="compute or describe data sets").add_subparsers(
        metavar="COMMAND", required=True
    )
    sub = add("make", _data_make, "compute a data set with PySCF; goes on where it stopped", data)
    sub.add_argument(
        "name", metavar="NAME", help="lih, water, water-dimer, water-dimer-cut or ammonia"
    )
    sub.add_argument("--out", help="default NAME.xyz; provenance goes beside it")
    sub.add_argument("--n-frames", type=int, default=0, help="default the recipe's")
    sub.add_argument("--temperature", type=float, default=300.0, help="K, default 300")
    sub.add_argument("--seed", type=int, default=0, help="default 0")
    sub.set_defaults(remedy="; the same command goes on.")
    sub = add("info", _data_info, "what a data file holds", data)
    _add_source(sub, "FILE")

    sub = add("reproduce", _reproduce, "carry out a published study: tables, figures, claims")
    sub.add_argument("study", metavar="STUDY", help="le2023")
    sub.add_argument("part", metavar="PART", nargs="*", help="for instance lih; default all")
    sub.add_argument("--quick", action="store_true", help="minutes: one seed, few steps")
    sub.add_argument("--out", help="default STUDY or STUDY-quick; what is there is kept")
    sub.set_defaults(remedy="; the same command goes on.")

    add("info", _info, "what a model is").add_argument("model", metavar="MODEL")
    add("template", _template, "print a config to start from").add_argument(
        "name", metavar="NAME", help="water, lih, ammonia or water-dimer"
    )
    return parser


def _add_model_and_source(sub: argparse.ArgumentParser, name: str) -> None:
    sub.add_argument(
        "model", metavar="MODEL", help="a model file, for instance runs/water/model.qiff"
    )
    _add_source(sub, name)


def _add_source(sub: argparse.ArgumentParser, name: str) -> None:
    sub.add_argument(
        "source", metavar=name, help="a file ASE reads, .npz, a folder of .npy, or bundled:NAME"
    )
    for option, text in (
        ("--energy-unit", "of the file, default eV"),
        ("--length-unit", "of the file, default Angstrom"),
        ("--energy-key", "name of the energy label"),
        ("--forces-key", "name of the forces label"),
        ("--elements", "symbols in the order of the atoms, for instance O,H,H"),
    ):
        sub.add_argument(option, default="", help=text)


if __name__ == "__main__":
    entry()
