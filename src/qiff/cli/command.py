"""What commands share: their arguments, the model and frames they name, tables."""

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from .._checks import InputError
from .._workers import Map, workers
from .options import add_settings, settings_from
from .parser import Parser

if TYPE_CHECKING:
    import ase

    from ..atoms.data.source import Source
    from ..model.potential import AbstractPotential

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def add(
    commands: Commands,
    name: str,
    command: Callable[[argparse.Namespace], None],
    arguments: Callable[[Parser], None],
    help: str,
    remedy: str = ".",
) -> None:
    """Add a command.

    Args:
        commands: of the parser.
        name: as it is typed.
        command: the function that carries it out.
        arguments: adds its arguments to its parser, when they are needed.
        help: one line.
        remedy: ends the message of an interrupt: what to do next.
    """
    sub = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
    sub.set_defaults(command=command, parser=sub, remedy=remedy)
    sub.arguments = arguments


def check_new(data_set: Path, others: Iterable[Path], option: str) -> None:
    """Raise if an output exists, unless the journal is there: what wrote it was interrupted."""
    from ..labelling.journal import journal_of

    for target in (data_set, *others):
        if target.exists() and not journal_of(data_set).exists():
            raise InputError(f"{target}: exists; choose another {option} or delete it first.")


def check_not_input(target: Path, source: str) -> None:
    """Raise if an output is the input as well."""
    from ..atoms.data.source import split_index

    source, _ = split_index(source)
    if target.exists() and Path(source).exists() and target.samefile(source):
        raise InputError(f"{target}: is the input as well; choose another output.")


def source_of(options: argparse.Namespace, path: str) -> "Source":
    """A data source with the units and keys that `add_source` takes."""
    from ..atoms.data.source import Source

    return settings_from(options, Source, path=path)


def model_and_frames(
    options: argparse.Namespace, *, need_energy: bool = False
) -> "tuple[AbstractPotential, list[ase.Atoms]]":
    """The model, and the frames of the source, without those of isolated atoms if it has others.

    Raises:
        InputError: the model cannot describe a frame.
    """
    from ..atoms.data.dataset import read
    from ..atoms.reference import is_isolated_atom
    from ..model.predict import check_atoms
    from ..training.checkpoint import load

    potential = load(options.model)
    found = read(source_of(options, options.source), need_energy=need_energy)
    kept = [i for i, a in enumerate(found) if not is_isolated_atom(a)] or range(len(found))
    if len(kept) < len(found):
        text = f"qiff: {len(found) - len(kept)} frames of isolated atoms are left out"
        print(text, file=sys.stderr)
    for index in kept:
        check_atoms(potential, found[index], f"{options.source}: frame {index}")
    return potential, [found[index] for index in kept]


def print_table(lines: Mapping[str, object]) -> None:
    """Names and values, aligned."""
    width = max(map(len, lines))
    for name, value in lines.items():
        print(f"{name:{width}}  {value}")


def add_model_and_source(sub: argparse.ArgumentParser, name: str) -> None:
    """Arguments for `model_and_frames`."""
    from ..training.bundled import BUNDLED

    sub.add_argument(
        "model",
        metavar="MODEL",
        help="a model file, for instance runs/water/model.qiff, or a bundled model: "
        + ", ".join(BUNDLED),
    )
    add_source(sub, name)


def add_set(sub: argparse.ArgumentParser) -> None:
    """`--set`, a list of overrides of a config."""
    text = "replace a value of the config, for instance train.steps=100"
    sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=text)


def add_workers(sub: argparse.ArgumentParser) -> None:
    """Options for `task_map`."""
    group = sub.add_argument_group("other processes")
    text = "processes on this machine for independent tasks; 0 for this process alone (extra dask)"
    group.add_argument("--workers", type=int, default=0, metavar="N", help=text)
    text = "scheduler of a running Dask cluster, such as tcp://host:8786, or its scheduler file"
    group.add_argument("--scheduler", default="", metavar="ADDRESS", help=text)


def task_map(options: argparse.Namespace) -> AbstractContextManager[Map]:
    """A context that yields what applies a function to independent tasks, see `add_workers`."""
    return workers(options.workers, options.scheduler)


def add_source(sub: argparse.ArgumentParser, name: str) -> None:
    """Arguments for `source_of`."""
    sub.add_argument(
        "source",
        metavar=name,
        help="a file ASE reads, .npz, a folder of .npy, bundled:NAME, rmd17:MOLECULE or "
        "smiles:SMILES",
    )
    add_source_options(sub)


def add_source_options(sub: argparse.ArgumentParser) -> None:
    """Units and labels of a source, for `source_of`."""
    from ..atoms.data.source import Source

    group = sub.add_argument_group("units and labels of the file")
    add_settings(group, Source, except_=("path",))
