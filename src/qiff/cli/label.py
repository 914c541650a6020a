"""The command that labels structures: label."""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._checks import RunError, check_suffix
from .._files import locked, save_record
from .._progress import progress
from .command import (
    Commands,
    add,
    add_source,
    add_workers,
    check_new,
    check_not_input,
    source_of,
    task_map,
)
from .parser import Parser

if TYPE_CHECKING:
    import ase

    from ..labelling.level import Level


def _label(options: argparse.Namespace) -> None:
    from ..atoms.data.dataset import read
    from ..labelling.journal import journal_of
    from ..labelling.levels import find_level

    target = Path(options.target)
    check_suffix(target, (".xyz", ".extxyz"))
    check_not_input(target, options.source)
    record, failed = target.with_suffix(".json"), target.with_suffix(".failed.xyz")
    check_new(target, (record, failed), "OUT.xyz")
    level = find_level(options.level, _settings(options))
    frames = read(source_of(options, options.source))
    with locked(journal_of(target)):
        _label_into(target, level, frames, options)


def _label_into(
    target: Path, level: "Level", frames: "list[ase.Atoms]", options: argparse.Namespace
) -> None:
    """Label frames and write them with their provenance; those that failed go to another file."""
    from ..atoms.data.dataset import write
    from ..labelling.batch import label_frames
    from ..labelling.journal import journal_of

    journal = journal_of(target)
    record, failed = target.with_suffix(".json"), target.with_suffix(".failed.xyz")
    with task_map(options) as map, progress(len(frames)) as show:
        found = label_frames(level, frames, journal, map, _with_rate(show))
    if found.failures:
        write(failed, _with_reasons(frames, found.failures))
        index, reason = next(iter(found.failures.items()))
        text = f"{len(found.failures)} of {len(frames)} structures have no labels: {failed}; "
        text += f"the first, frame {index}: {reason}"
        if not found.frames:
            journal.unlink()
            raise RunError(text)
        print(f"qiff: {text}", file=sys.stderr)
    counts = {"frames": len(found.frames), "failed": len(found.failures)}
    units = {"length": "Angstrom", "energy": "eV"}
    save_record(record, {**level.provenance(), "source": options.source, **counts, "units": units})
    for atoms in found.frames:
        atoms.info.pop("failure", None)  # of an earlier attempt
    write(target, found.frames)
    journal.unlink()
    print(f"{len(found.frames)} frames, {level.description}: {target}, provenance: {record}")


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """Settings of a level that were given."""
    from ..run.config import override_table

    settings: dict[str, Any] = {}
    for text in options.setting:
        override_table(settings, text, "--setting")
    electrons = {"charge": options.charge, "multiplicity": options.multiplicity}
    return settings | {key: value for key, value in electrons.items() if value is not None}


def _with_rate(show: Callable[[int, str], None]) -> Callable[[int], None]:
    """Shows how many labels are done, and how many a second since the first call."""
    began: list[float] = []

    def after_label(n_done: int) -> None:
        if not began:
            began.extend((n_done, time.monotonic()))
        seconds = time.monotonic() - began[1]
        show(n_done, f"{(n_done - began[0]) / max(seconds, 1e-3):.3g} labels/s")

    return after_label


def _with_reasons(frames: "Sequence[ase.Atoms]", failures: Mapping[int, str]) -> "list[ase.Atoms]":
    """Copies of the structures that failed, each with its index and the reason."""
    copies = []
    for index, reason in failures.items():
        copy = frames[index].copy()
        copy.info |= {"frame": index, "failure": reason}
        copies.append(copy)
    return copies


def _arguments(sub: Parser) -> None:
    add_source(sub, "IN")
    sub.add_argument("target", metavar="OUT.xyz", help="extxyz; provenance goes to OUT.json")
    text = "gfn2 or gfn1 (tblite), METHOD/BASIS such as pbe0/def2-svp (PySCF), MODULE:CLASS (ASE)"
    text += " (default %(default)s)"
    sub.add_argument("--level", metavar="LEVEL", default="gfn2", help=text)
    text = "in e, of every structure; if not given that in the file, else 0"
    sub.add_argument("--charge", type=int, help=text)
    text = "of every structure; if not given that in the file, else the lowest"
    sub.add_argument("--multiplicity", type=int, help=text)
    text = "a setting of the level, for instance accuracy=0.1; can be repeated"
    sub.add_argument("--setting", action="append", default=[], metavar="KEY=VALUE", help=text)
    add_workers(sub)


def add_commands(commands: Commands) -> None:
    """Add these commands to the parser."""
    text = "label structures: energy, forces, and stress in a cell; resumes"
    add(commands, "label", _label, _arguments, text, "; repeat the command to resume.")
