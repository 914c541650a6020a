"""Commands that simulate: md, validate, ipi."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._checks import InputError, check_suffix
from .._files import locked
from .._progress import progress
from .command import (
    Commands,
    add,
    add_model_and_source,
    check_not_input,
    model_and_frames,
    print_table,
)
from .hardware import (
    add_executor,
    integrator_of,
    mention_more_shots,
    print_resources,
    protocol_of,
)
from .options import add_settings, settings_from
from .parser import Parser

if TYPE_CHECKING:
    import ase

    from ..model.potential import AbstractPotential

VALIDATION: dict[str, Any] = {"steps": 200_000, "interval": 50}
"""Defaults of `validate` that are not those of `Dynamics`."""
REPORT = (".csv", ".json", ".png")
"""Suffixes of what is written beside a trajectory."""
_NOT_VALIDATED = ("ensemble", "pressure", "barostat_time", "compressibility", "coupling")


def _md(options: argparse.Namespace) -> None:
    from ..dynamics.resume import checkpoint_path
    from ..dynamics.settings import Dynamics
    from ..dynamics.velocities import start_of

    dynamics, path = settings_from(options, Dynamics), Path(options.out)
    check_suffix(path, (".xyz", ".extxyz"))
    check_not_input(path, options.source)
    if options.resume and options.executor:
        raise InputError("dynamics on measured forces cannot be resumed; leave out --resume.")
    for target in (path, *map(path.with_suffix, REPORT), checkpoint_path(path)):
        if target.exists() and not (options.overwrite or options.resume):
            raise InputError(
                f"{target}: exists; choose another --out, continue it (--resume) or replace it "
                "(--overwrite)."
            )
    potential, (start, *_) = model_and_frames(options)
    if options.dry_run:
        print_resources(options, potential, start)
        print(f"for each of {dynamics.steps + 1} geometries; nothing was sent")
        return
    start_of(start, dynamics)  # or raises, before anything is replaced
    with locked(path):
        _simulate(options, potential, start)


def _simulate(
    options: argparse.Namespace, potential: "AbstractPotential", start: "ase.Atoms"
) -> None:
    """Run the dynamics into files that no other process writes."""
    from ..dynamics.resume import checkpoint_path, origin_of, read_checkpoint, run_resumable
    from ..dynamics.settings import Dynamics
    from ..dynamics.simulate import run_dynamics
    from ..report.dynamics import dynamics_line, save_dynamics

    dynamics, path = settings_from(options, Dynamics), Path(options.out)
    noisy = integrator_of(options, path) if options.executor else None
    if options.resume:
        read_checkpoint(path, origin_of(potential, start, dynamics), dynamics)  # or raises
    else:
        checkpoint_path(path).unlink(missing_ok=True)
    for suffix in REPORT:
        path.with_suffix(suffix).unlink(missing_ok=True)
    with progress(dynamics.steps) as show:
        text = f"{dynamics.ensemble} dynamics"
        show(0, text)
        after_frame = lambda done: show(done, text)
        if noisy:
            noisy.after_job = lambda n: show(len(noisy.measured), f"{text}, {n} circuits")
            found = run_dynamics(potential, start, dynamics, path, noisy, after_frame)
        else:
            resume = options.resume
            found = run_resumable(potential, start, dynamics, path, after_frame, resume=resume)
    samples, report = found
    if noisy:
        mention_more_shots(protocol_of(options), noisy.measured[0])
    origin = _origin(options.model)
    if noisy:
        origin |= {"executor": options.executor, "shots": noisy.n_shots}
    saved = save_dynamics(path, dynamics, samples, report, origin)
    print(f"{dynamics_line(dynamics.ensemble, saved)}\ntrajectory: {path}")


def _origin(model: str) -> dict[str, object]:
    """Which model it was, for records."""
    from ..training.checkpoint import model_hash

    return {"model": model, "model_sha256": model_hash(model)}


def _validate(options: argparse.Namespace) -> None:
    from ..dynamics.settings import Dynamics
    from ..dynamics.validation import simulations, validate
    from ..report.validation import validation_section

    dynamics, out = settings_from(options, Dynamics), Path(options.out)
    potential, frames = model_and_frames(options)
    origin = _origin(options.model)
    with progress(sum(each.steps for each in simulations(dynamics).values())) as show:
        found = validate(potential, frames, dynamics, out, origin, show)
    section = validation_section(found, out)
    report = section.save(out.parent, {**origin, **found.record()})
    print_table({str(row["quantity"]): row["value"] for row in section.rows})
    print(f"report: {report}")


def _ipi(options: argparse.Namespace) -> None:
    from ..dynamics.velocities import fixed_atoms
    from ..interfaces.ipi import FILES, PathIntegral, write_inputs

    settings, folder = settings_from(options, PathIntegral), Path(options.out)
    for target in (folder / name for name in FILES):
        if target.exists() and not options.overwrite:
            raise InputError(f"{target}: exists; choose another --out or replace it (--overwrite).")
    _, (start, *_) = model_and_frames(options)
    fixed = fixed_atoms(start).nonzero()[0].tolist()
    client = write_inputs(folder, options.model, start, settings, fixed, options.socket)
    print(f"inputs of i-PI: {', '.join(str(folder / name) for name in FILES)}")
    for command in filter(None, ("i-pi input.xml", client)):
        print(f"cd {shlex.quote(str(folder))} && {command}")


def _md_arguments(parser: Parser) -> None:
    from ..dynamics.settings import Dynamics

    add_model_and_source(parser, "START.xyz")
    add_settings(parser, Dynamics)
    text = "trajectory; .csv, .json and .png are written beside it (default %(default)s)"
    parser.add_argument("--out", default="traj.xyz", help=text)
    existing = parser.add_mutually_exclusive_group()
    text = "continue the trajectory with the same settings, or with more steps"
    existing.add_argument("--resume", action="store_true", help=text)
    existing.add_argument("--overwrite", action="store_true", help="replace the trajectory")
    add_executor(parser)


def _validate_arguments(parser: Parser) -> None:
    from ..dynamics.settings import Dynamics

    add_model_and_source(parser, "DATA")
    add_settings(parser, Dynamics, except_=(*_NOT_VALIDATED, "velocities"), defaults=VALIDATION)
    parser.add_argument("--out", default="validation", help="folder (default %(default)s)")


def _ipi_arguments(parser: Parser) -> None:
    from ..interfaces.ipi import PathIntegral

    add_model_and_source(parser, "START.xyz")
    add_settings(parser, PathIntegral)
    text = "folder of the input files (default %(default)s)"
    parser.add_argument("--out", default="ipi", help=text)
    text = "i-PI waits for clients at this Unix socket, or HOST:PORT, instead of computing itself"
    parser.add_argument("--socket", default="", metavar="NAME", help=text)
    parser.add_argument("--overwrite", action="store_true", help="replace the input files")


def add_commands(commands: Commands) -> None:
    """Add these commands to the parser."""
    text = "molecular dynamics from the first configuration of a file"
    again = "; the frames so far are in the trajectory, continue it with --resume."
    add(commands, "md", _md, _md_arguments, text, again)
    text = "compare dynamics of a model with its data and write a report"
    add(
        commands,
        "validate",
        _validate,
        _validate_arguments,
        text,
        "; repeat the command to resume.",
    )
    text = "write the input files of path-integral dynamics with i-PI"
    add(commands, "ipi", _ipi, _ipi_arguments, text)
