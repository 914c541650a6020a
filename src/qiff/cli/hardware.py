"""Commands that lead to a quantum computer: export, resources; and `--executor` of others."""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .._checks import InputError, check_known
from .._files import atomic_write
from .._progress import progress
from .command import Commands, add, add_source_options, print_table, source_of
from .options import add_settings, settings_from
from .parser import Parser

if TYPE_CHECKING:
    import ase

    from ..hardware import AbstractExecutor, MeasuredIntegrator, Measurement, Protocol
    from ..hardware.files import Files
    from ..model.potential import AbstractPotential


def _export(options: argparse.Namespace) -> None:
    from ..hardware.files import FORMATS
    from ..interfaces.stablehlo import FORMATS as FUNCTION_FORMATS
    from ..training.checkpoint import load

    check_known("Format", options.to, (*FORMATS, *FUNCTION_FORMATS))
    write = FUNCTION_FORMATS.get(options.to) or partial(_circuit_files, options.to)
    found = write(load(options.model), _geometry(options))
    out = Path(options.out or Path(options.model).stem)
    contents = {out.with_name(f"{out.name}{ending}"): text for ending, text in found.items()}
    for path in contents:
        if path.exists() and not options.overwrite:
            raise InputError(f"{path}: exists; choose another --out or replace it (--overwrite).")
    for path, text in contents.items():
        atomic_write(path, text)
        print(path)


def _circuit_files(to: str, potential: "AbstractPotential", atoms: "ase.Atoms") -> "Files":
    """Contents of the files of every circuit, by what ends their names."""
    from ..hardware import circuits
    from ..hardware.estimate import energy_offset, n_stages
    from ..hardware.files import FORMATS

    if n_stages(potential, atoms) > 1:
        raise InputError(
            "The angles of some circuits depend on the results of others, which no file can hold: "
            "use `qiff predict --executor`."
        )
    groups, offset = circuits(potential, atoms), energy_offset(potential, atoms)
    items = [(group, k) for group in groups for k in range(len(group.angles))]
    return {
        f"-{n}{suffix}" if len(items) > 1 else suffix: text
        for n, (group, k) in enumerate(items, 1)
        for suffix, text in FORMATS[to](group, k, offset).items()
    }


def _resources(options: argparse.Namespace) -> None:
    from ..training.checkpoint import load

    potential = load(options.model)
    atoms = _geometry(options) if options.geometry else _at_random_positions(potential)
    print_resources(options, potential, atoms)
    if options.targets:
        _print_targets(options, potential, atoms)
    if not options.geometry:
        print("at random positions: give a --geometry for meaningful errors")


def _print_targets(
    options: argparse.Namespace, potential: "AbstractPotential", atoms: "ase.Atoms"
) -> None:
    """Print what circuits are compiled to for kinds of quantum computers."""
    from ..hardware.targets import compiled_counts

    found = compiled_counts(potential, atoms, protocol_of(options))
    text = lambda of: ", ".join(f"{name} {value:.4g}" for name, value in of.items())
    print_table({name: text(of) for name, of in found.items()})


def _geometry(options: argparse.Namespace) -> "ase.Atoms":
    """The first configuration of the file that `--geometry` names."""
    from ..atoms.data.dataset import read

    return read(source_of(options, options.geometry))[0]


def _at_random_positions(potential: "AbstractPotential") -> "ase.Atoms":
    """The atoms that the config of a model names, at random positions about 1 Å apart."""
    import ase
    import numpy as np

    elements = _elements(potential.config())
    places = np.random.default_rng(0).normal(size=(len(elements), 3))
    return ase.Atoms(elements, places)


def _elements(config: object) -> list[str]:
    """The longest list of elements anywhere in a config.

    Raises:
        InputError: the config has no list of elements.
    """
    found: list[list[str]] = []

    def search(node: object) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("elements"), list):
                found.append(node["elements"])
            for value in node.values():
                search(value)
        elif isinstance(node, list):
            for value in node:
                search(value)

    search(config)
    if not found:
        raise InputError("The model does not name its atoms: give a --geometry.")
    return max(found, key=len)


# --- with an executor -------------------------------------------------------------------------


def protocol_of(options: argparse.Namespace) -> "Protocol":
    """The protocol that the options of `add_executor` describe."""
    from ..hardware.measure import Protocol, mitigation

    names = [name.strip() for name in options.mitigate.split(",") if name.strip()]
    return settings_from(options, Protocol, mitigation=mitigation(names))


def executor_of(options: argparse.Namespace, cache: Path | None) -> "AbstractExecutor":
    """The executor that `--executor` names; results go to `--cache`, else to `cache`."""
    from ..hardware import make_executor

    if not options.executor:
        raise InputError("`--dry-run` needs an --executor to say what it would send.")
    folder = Path(options.cache) if options.cache else cache
    return make_executor(options.executor, seed=protocol_of(options).seed, cache=folder)


def print_resources(
    options: argparse.Namespace, potential: "AbstractPotential", atoms: "ase.Atoms"
) -> None:
    """Print what a geometry needs, before anything is sent."""
    from ..hardware import resources

    found = resources(potential, atoms, executor_of(options, None), protocol_of(options))
    print_table({k: f"{v:.3g}" if isinstance(v, float) else v for k, v in found.items()})


def measured(
    options: argparse.Namespace, potential: "AbstractPotential", frames: "list[ase.Atoms]"
) -> "list[Measurement]":
    """Energies and forces of frames from the executor that `--executor` names."""
    from ..hardware.estimate import measure
    from ..hardware.measure import Laboratory

    cache = Path(options.target).with_suffix(".results")
    executor, protocol, found = executor_of(options, cache), protocol_of(options), []
    with progress(len(frames)) as show:
        show(0, "compiling")
        tell = lambda n_circuits: show(len(found), f"{n_circuits} circuits")
        laboratory = Laboratory(executor, protocol, tell)
        for atoms in frames:
            found.append(measure(laboratory, potential, atoms))
    mention_more_shots(protocol, found[0])
    return found


def mention_more_shots(protocol: "Protocol", found: "Measurement") -> None:
    """Say so if more shots were sent than asked for."""
    if found.n_shots > protocol.shots:
        print(
            f"qiff: {found.n_shots} shots were sent for the first frame, not {protocol.shots}: "
            "every circuit needs two, calibrations have their own; --dry-run counts them before",
            file=sys.stderr,
        )


def integrator_of(options: argparse.Namespace, path: Path) -> "MeasuredIntegrator":
    """Dynamics on forces from the executor that `--executor` names."""
    from ..hardware import MeasuredIntegrator

    executor = executor_of(options, path.with_suffix(".results"))
    return MeasuredIntegrator(executor, protocol_of(options))


def add_executor(
    sub: argparse.ArgumentParser, default: str | None = None, *, dry_run: bool = True
) -> None:
    """Arguments for `executor_of` and `protocol_of`."""
    from ..hardware.measure import MITIGATIONS, Protocol

    group = sub.add_argument_group("execution on quantum hardware or its simulators")
    text = "exact, shots, aer:NOISE, fake:DEVICE, pennylane:DEVICE or runtime:DEVICE"
    text += " (default %(default)s)" if default else ""
    group.add_argument("--executor", default=default, metavar="NAME", help=text)
    add_settings(group, Protocol, only=("shots", "method", "pilot"))
    text = f"against noise, separated by commas: {', '.join(MITIGATIONS)}"
    group.add_argument("--mitigate", default="", metavar="NAMES", help=text)
    group.add_argument("--cache", default="", metavar="DIR", help="folder to keep results in")
    if dry_run:
        text = "print the resources that are needed and send nothing"
        group.add_argument("--dry-run", action="store_true", help=text)


def _export_arguments(parser: Parser) -> None:
    from ..hardware.files import FORMATS
    from ..interfaces.stablehlo import FORMATS as FUNCTION_FORMATS

    parser.add_argument("model", metavar="MODEL")
    text = "its first configuration: of the circuits, or for the sizes of the function"
    parser.add_argument("--geometry", required=True, metavar="FILE", help=text)
    text = f"circuits: {', '.join(FORMATS)}; energy, forces and virial as a function: "
    text += ", ".join(FUNCTION_FORMATS)
    parser.add_argument("--to", required=True, metavar="FORMAT", help=text)
    text = "file name without suffix; if not given the name of the model"
    parser.add_argument("--out", help=text)
    parser.add_argument("--overwrite", action="store_true", help="replace files")
    add_source_options(parser)


def _resources_arguments(parser: Parser) -> None:
    parser.add_argument("model", metavar="MODEL")
    text = "its first configuration; if not given atoms at random positions"
    parser.add_argument("--geometry", metavar="FILE", help=text)
    text = "also depth and two-qubit gates after compilation for kinds of quantum computers"
    parser.add_argument("--targets", action="store_true", help=text)
    add_executor(parser, "shots", dry_run=False)
    add_source_options(parser)


def add_commands(commands: Commands) -> None:
    """Add these commands to the parser."""
    text = "write circuits or a potential for another package"
    add(commands, "export", _export, _export_arguments, text)
    text = "resources that a geometry needs on a quantum computer"
    add(commands, "resources", _resources, _resources_arguments, text)
