"""Commands that run something: train, sweep, report, reproduce, template."""

import argparse
from importlib import import_module
from pathlib import Path

from .._checks import check_known, check_suffix
from .._processes import begin, is_first
from .._progress import progress
from ..run.templates import TEMPLATES, template
from .command import Commands, add, add_set, add_workers, task_map
from .parser import Parser

STUDIES = ("le2023", "couzinie2025", "hardware")
"""Modules of `qiff.studies`."""


def _train(options: argparse.Namespace) -> None:
    from ..report.progress import training_progress
    from ..report.tables import summary
    from ..run.config import read_config
    from ..run.train import train

    at = (options.coordinator, options.processes, options.process)
    if options.distributed or at != (None, None, None):
        begin(*at)
    run = read_config(Path(options.config), options.set)
    again = {"resume": options.resume, "overwrite": options.overwrite}
    with training_progress(run.train.steps) as show:
        shown = {"after_validation": show, "after_steps": show.after_steps} if is_first() else {}
        train(run, **again, **shown)
    if is_first():
        print("\n".join(summary(Path(run.output))))


def _sweep(options: argparse.Namespace) -> None:
    from ..run.sweep import read_sweep, sweep

    out = Path(options.out) if options.out else None
    grid = {"n_seeds": options.seeds, "out": out, "by": options.by}
    found = read_sweep(Path(options.config), options.set, options.grid, **grid)
    with task_map(options) as map, progress(len(found.combinations)) as show:
        table = sweep(found, show, map, with_tests=options.tests)
    print(table.read_text("utf-8"))
    print(f"table: {table}, runs: {found.out / 'runs'}")


def _report(options: argparse.Namespace) -> None:
    from ..report.comparison import comparison_lines, comparison_page
    from ..report.page import html_page
    from ..report.tables import summary

    folders = [Path(folder) for folder in options.folders]
    if len(folders) == 1:
        lines, page = summary(folders[0]), html_page(folders[0])
    else:
        path = Path(options.out)
        check_suffix(path, (".html",))
        lines, page = comparison_lines(folders), comparison_page(folders, path)
    print("\n".join([*lines, f"report: {page}"]))


def _reproduce(options: argparse.Namespace) -> None:
    from ..studies.harness.parts import QUICK, StudySettings
    from ..studies.harness.reproduce import reproduce, total_runs

    check_known("Study", options.study, STUDIES)
    study = import_module(f"qiff.studies.{options.study}").PARTS
    parts = tuple(study) if options.part in ([], ["all"]) else tuple(options.part)
    settings = QUICK if options.quick else StudySettings()
    out = Path(options.out or options.study + "-quick" * options.quick)
    with task_map(options) as map, progress(total_runs(study, parts, settings)) as show:
        reports = reproduce(study, parts, out, settings, show, map)
    for part, path in reports.items():
        print(f"{part}: {path}")


def _template(options: argparse.Namespace) -> None:
    print(template(options.name), end="")


def _train_arguments(parser: Parser) -> None:
    parser.add_argument("config", metavar="RUN.toml", help="see `qiff template`")
    add_set(parser)
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="continue the run in the folder")
    again.add_argument("--overwrite", action="store_true", help="replace the run in the folder")
    several = parser.add_argument_group("one run by several processes, see docs/distributed.md")
    text = "find the other processes in the environment: SLURM, Open MPI, Kubernetes"
    several.add_argument("--distributed", action="store_true", help=text)
    text = "where process 0 listens, the same for all; if not given, from the environment"
    several.add_argument("--coordinator", metavar="HOST:PORT", help=text)
    text = "number of this process, from 0; if not given, from the environment"
    several.add_argument("--process", type=int, metavar="I", help=text)
    text = "how many there are; if not given, from the environment"
    several.add_argument("--processes", type=int, metavar="N", help=text)


def _sweep_arguments(parser: Parser) -> None:
    parser.add_argument("config", metavar="RUN.toml", help="see `qiff template`")
    text = "a setting and its values, for instance train.learning_rate=0.01,0.003; several times"
    parser.add_argument("--grid", action="append", default=[], metavar="KEY=VALUES", help=text)
    text = "seeds of each combination, from that of the config on; errors are means over them"
    parser.add_argument("--seeds", type=int, default=0, metavar="N", help=text)
    add_set(parser)
    parser.add_argument("--out", help="folder, if not given the `output` of the config with -sweep")
    text = "property whose validation error decides, if not given forces where they are learned"
    parser.add_argument("--by", metavar="PROPERTY", default="", help=text)
    text = "show the test errors of all combinations, not of the best alone"
    parser.add_argument("--tests", action="store_true", help=text)
    add_workers(parser)


def _report_arguments(parser: Parser) -> None:
    parser.add_argument("folders", metavar="RUN_FOLDER", nargs="+")
    text = "page that compares several runs, if not given comparison.html"
    parser.add_argument("--out", metavar="FILE.html", default="comparison.html", help=text)


def _reproduce_arguments(parser: Parser) -> None:
    parser.add_argument("study", metavar="STUDY", help=", ".join(STUDIES))
    text = "for instance lih; all if not given"
    parser.add_argument("part", metavar="PART", nargs="*", help=text)
    text = "minutes: one seed, few steps"
    parser.add_argument("--quick", action="store_true", help=text)
    text = "folder, if not given STUDY or STUDY-quick; results in it are kept"
    parser.add_argument("--out", help=text)
    add_workers(parser)


def _template_arguments(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help=", ".join(TEMPLATES))


def add_commands(commands: Commands) -> None:
    """Add these commands to the parser."""
    text = "train a model described by a config and write a run folder"
    add(commands, "train", _train, _train_arguments, text, "; continue with --resume.")
    text = "train a run for each combination of settings and compare their validation errors"
    add(commands, "sweep", _sweep, _sweep_arguments, text, "; repeat the command to resume.")
    text = "summarise a run folder and write its report.html; or compare several"
    add(commands, "report", _report, _report_arguments, text)
    text = "run a study: tables, figures, claims"
    again = "; repeat the command to resume."
    add(commands, "reproduce", _reproduce, _reproduce_arguments, text, again)
    add(commands, "template", _template, _template_arguments, "print a config to start from")
