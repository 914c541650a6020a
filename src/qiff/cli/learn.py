"""The command that learns a force field from structures without labels."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from .._checks import InputError
from .._progress import stages
from .command import Commands, add, add_set, add_workers, task_map
from .parser import Parser


def _learn(options: argparse.Namespace) -> None:
    from ..learning.folder import LearnFolder
    from ..learning.loop import learn
    from ..learning.report import summary

    settings = _settings(options)
    again = {"resume": options.resume, "overwrite": options.overwrite}
    with task_map(options) as map, stages() as show:
        metrics = learn(settings, **again, map=map, show=show)
    folder = LearnFolder(Path(settings.output))
    print("\n".join([*summary(metrics, settings), f"model: {folder.model}"]))
    print(f"report: {folder.path / 'report.html'}")


def _settings(options: argparse.Namespace):
    """The settings in a config, or those of the template for the structures that are named."""
    from ..atoms.data.source import SMILES
    from ..learning.settings import Learn
    from ..run.config import parse_settings, read_settings
    from ..run.templates import template

    names = [*options.structures, *(f"{SMILES}{text}" for text in options.smiles)]
    overrides = _overrides(options)
    if len(names) == 1 and names[0].endswith(".toml"):
        return read_settings(Learn, Path(names[0]), overrides)
    if not names:
        raise InputError("name a config, or structures to begin with (a file, or --smiles CCO).")
    output = options.out or f"learned/{_name(names[0])}"
    given = [f"structures={names!r}", f"output={output!r}", *overrides]
    return parse_settings(Learn, template("learn"), "the template", given)


def _overrides(options: argparse.Namespace) -> Sequence[str]:
    found = [f"label.level={options.level!r}"] if options.level else []
    found += [f"output={options.out!r}"] if options.out else []
    return [*found, *options.set]


def _name(structure: str) -> str:
    """The name of a folder for what is learned of a structure."""
    from ..atoms.data.source import SMILES

    smiles = structure.startswith(SMILES)
    text = structure.removeprefix(SMILES) if smiles else Path(structure.partition("@")[0]).stem
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in text)


def _arguments(sub: Parser) -> None:
    text = "a config (see `qiff template learn`), or structures to begin with: files"
    sub.add_argument("structures", metavar="CONFIG or STRUCTURE", nargs="*", help=text)
    text = "a structure to begin with; can be repeated"
    sub.add_argument("--smiles", action="append", default=[], metavar="SMILES", help=text)
    text = "level of theory: gfn2, gfn1, METHOD/BASIS or the import path of a calculator of ASE"
    sub.add_argument("--level", default="", help=text)
    sub.add_argument("--out", default="", metavar="FOLDER", help="instead of that of the config")
    add_set(sub)
    again = sub.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="continue what is in the folder")
    again.add_argument("--overwrite", action="store_true", help="replace what is in the folder")
    add_workers(sub)


def add_commands(commands: Commands) -> None:
    """Add this command to the parser."""
    text = "learn a force field from structures without labels"
    add(commands, "learn", _learn, _arguments, text, "; continue with --resume.")
