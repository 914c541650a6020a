"""What commands share: their arguments, the model and frames they name, tables."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from .._checks import InputError

if TYPE_CHECKING:
    from ..atoms.data.source import Source


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add(commands: Commands, name: str, command, help: str) -> argparse.ArgumentParser:
    """Add a command: the function that carries it out and its line of help."""
    sub = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
    sub.set_defaults(command=command)
    return sub


def check_apart(target: Path, source: str) -> None:
    """Raise if an output is the input as well."""
    if target.exists() and Path(source).exists() and target.samefile(source):
        raise InputError(f"{target}: is the input as well; choose another output.")


def source_of(options: argparse.Namespace, path: str) -> "Source":
    """A data source with the units and keys that `add_source` takes."""
    from ..atoms.data.source import Source

    elements = tuple(part.strip() for part in options.elements.split(",") if part)
    units_and_keys = (
        options.energy_unit,
        options.length_unit,
        options.energy_key,
        options.forces_key,
    )
    return Source(path, *units_and_keys, elements)


def model_and_frames(options: argparse.Namespace, *, need_energy: bool = False):
    """The model, and frames of the source that it can describe."""
    from ..atoms.data.dataset import read
    from ..model.predict import check_atoms
    from ..training.checkpoint import load

    potential = load(options.model)
    frames = read(source_of(options, options.source), need_energy=need_energy)
    for index, atoms in enumerate(frames):
        check_atoms(potential, atoms, f"{options.source}: frame {index}")
    return potential, frames


def print_table(lines: Mapping[str, object]) -> None:
    """Names and values, aligned."""
    width = max(map(len, lines))
    for name, value in lines.items():
        print(f"{name:{width}}  {value}")


def add_model_and_source(sub: argparse.ArgumentParser, name: str) -> None:
    """Arguments for `model_and_frames`."""
    sub.add_argument(
        "model",
        metavar="MODEL",
        help="a model file, for instance runs/water/model.qiff, or one that comes along: ethanol",
    )
    add_source(sub, name)


def add_source(sub: argparse.ArgumentParser, name: str) -> None:
    """Arguments for `source_of`."""
    sub.add_argument(
        "source",
        metavar=name,
        help="a file ASE reads, .npz, a folder of .npy, bundled:NAME or rmd17:MOLECULE",
    )
    add_source_options(sub)


def add_source_options(sub: argparse.ArgumentParser) -> None:
    """Units and labels of a source, for `source_of`."""
    for option, text in (
        ("--energy-unit", "of the file, default eV"),
        ("--length-unit", "of the file, default Angstrom"),
        ("--energy-key", "name of the energy label"),
        ("--forces-key", "name of the forces label"),
        ("--elements", "symbols in the order of the atoms, for instance O,H,H"),
    ):
        sub.add_argument(option, default="", help=text)


def mention_slow_engine() -> None:
    """Say so if circuits are not simulated by the fast engine."""
    from ..quantum.engine import describe

    engine = describe()
    if engine.startswith("xla ("):
        print(f"qiff: circuits are simulated by {engine}, which is slower", file=sys.stderr)
