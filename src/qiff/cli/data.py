"""Commands that compute, fetch or describe data sets."""

import argparse
import math
from collections import Counter
from pathlib import Path

from .._checks import check_known, check_suffix
from .._files import read_record, user_path
from .._progress import progress, stages
from .command import (
    Commands,
    add,
    add_source,
    add_workers,
    check_new,
    check_not_input,
    print_table,
    source_of,
    task_map,
)
from .options import add_settings, settings_from
from .parser import Parser


def _data_make(options: argparse.Namespace) -> None:
    from ..labelling.maker import make
    from ..labelling.recipes import RECIPES
    from ..labelling.samplers import Sampling

    check_known("Data set", options.name, RECIPES)
    recipe = RECIPES[options.name]
    sampling = recipe.completed(settings_from(options, Sampling))
    path = Path(options.out or f"{options.name}.xyz")
    check_suffix(path, (".xyz", ".extxyz"))
    check_new(path, [path.with_suffix(".json")], "--out")
    print(f"{options.name}: {recipe.level.description}")
    with task_map(options) as map, stages() as show:
        show("geometries", 0, sampling.n_frames)
        labelled = lambda n_done: show("labels", n_done, sampling.n_frames)
        make(options.name, path, sampling, labelled, map)
    record = path.with_suffix(".json")
    print(f"data set: {path}, provenance: {record}")
    for reason, n in read_record(record).get("left_out", {}).items():
        print(f"left out: {n} frames ({reason})")


def _data_fetch(options: argparse.Namespace) -> None:
    from ..atoms.data.fetch import ARCHIVES, fetch
    from ..atoms.data.rmd17 import data_folder

    check_known("Data set", options.name, ARCHIVES)
    folder = user_path(options.to) if options.to else data_folder()
    with progress(math.ceil(ARCHIVES[options.name].size / MEGABYTE)) as bar:
        show = lambda done, what: bar(math.ceil(done / MEGABYTE), f"{what} (MB)")
        new = fetch(options.name, folder, options.url, show)
    print(f"{options.name}: {'fetched into' if new else 'is already in'} {folder}")
    if folder.resolve() != data_folder().resolve():
        print(f"qiff finds it there after: export QIFF_DATA={folder}")


MEGABYTE = 1_000_000


def _data_info(options: argparse.Namespace) -> None:
    from ..report.data import data_lines

    print_table(data_lines(source_of(options, options.source)))


def _data_convert(options: argparse.Namespace) -> None:
    from ..atoms.data.dataset import read, write
    from ..atoms.properties import PROPERTIES, labels

    target = Path(options.target)
    check_suffix(target, (".xyz", ".extxyz"))
    check_not_input(target, options.source)
    frames = read(source_of(options, options.source))
    write(target, frames)
    known = Counter(key for atoms in frames for key in labels(atoms))
    counts = ", ".join(f"{key} ({PROPERTIES[key].unit}) of {n}" for key, n in known.items())
    print(f"{len(frames)} frames with labels: {counts or 'none'}: {target}")


def _make_arguments(parser: Parser) -> None:
    from ..labelling.recipes import RECIPES
    from ..labelling.samplers import Sampling

    parser.add_argument("name", metavar="NAME", help=", ".join(RECIPES))
    text = "if not given NAME.xyz; its provenance is written beside it"
    parser.add_argument("--out", metavar="FILE.xyz", help=text)
    add_settings(parser, Sampling)
    add_workers(parser)


def _fetch_arguments(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="rmd17: revised MD17, ten molecules, 1.1 GB")
    text = "if not given the folder that QIFF_DATA names, else data"
    parser.add_argument("--to", metavar="FOLDER", default="", help=text)
    parser.add_argument("--url", default="", help="another address of the same archive")


def _info_arguments(parser: Parser) -> None:
    add_source(parser, "FILE")


def _convert_arguments(parser: Parser) -> None:
    add_source(parser, "IN")
    parser.add_argument("target", metavar="OUT.xyz", help="extxyz with energy, forces and stress")


def add_commands(commands: Commands) -> None:
    """Add these commands to the parser."""
    data = commands.add_parser("data", help="compute, fetch or describe data sets").add_subparsers(
        metavar="COMMAND", required=True
    )
    text = "compute a data set with PySCF or tblite; resumes an interrupted computation"
    again = "; repeat the command to resume."
    add(data, "make", _data_make, _make_arguments, text, again)
    text = "download a published data set; resumes an interrupted download"
    add(data, "fetch", _data_fetch, _fetch_arguments, text, again)
    add(data, "info", _data_info, _info_arguments, "describe a data file")
    text = "write a data file as extxyz in eV and Å"
    add(data, "convert", _data_convert, _convert_arguments, text)
