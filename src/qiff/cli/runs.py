"""Commands that run something: train, report, reproduce, template."""

import argparse
from pathlib import Path

from .._checks import check_known, check_suffix
from .._progress import progress
from ..run.config import TEMPLATES, read_config, template
from ..studies import couzinie2025, hardware, le2023
from .command import Commands, add

STUDIES = {
    "le2023": le2023.PARTS,
    "couzinie2025": couzinie2025.PARTS,
    "hardware": hardware.PARTS,
}


def _train(options: argparse.Namespace) -> None:
    from ..report.progress import training_progress
    from ..report.tables import summary
    from ..run.train import train

    run = read_config(Path(options.config), options.set)
    again = {"resume": options.resume, "overwrite": options.overwrite}
    with training_progress(run.train.steps) as after_validation:
        train(run, **again, after_validation=after_validation)
    print("\n".join(summary(Path(run.output))))


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
    study = STUDIES[options.study]
    parts = tuple(study) if options.part in ([], ["all"]) else tuple(options.part)
    settings = QUICK if options.quick else StudySettings()
    out = Path(options.out or options.study + "-quick" * options.quick)
    with progress(total_runs(study, parts, settings)) as show:
        reports = reproduce(study, parts, out, settings, show)
    for part, path in reports.items():
        print(f"{part}: {path}")


def _template(options: argparse.Namespace) -> None:
    print(template(options.name), end="")


def add_commands(commands: Commands) -> None:
    """Add these commands to the parser."""
    text = "train a model described by a config and write a run folder"
    sub = add(commands, "train", _train, text, "; continue with --resume.")
    sub.add_argument("config", metavar="RUN.toml", help="see `qiff template`")
    text = "replace a value of the config, for instance train.steps=100"
    sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=text)
    again = sub.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="continue the run in the folder")
    again.add_argument("--overwrite", action="store_true", help="replace the run in the folder")

    text = "summarise a run folder and write its report.html; or compare several"
    sub = add(commands, "report", _report, text)
    sub.add_argument("folders", metavar="RUN_FOLDER", nargs="+")
    text = "page that compares several runs, if not given comparison.html"
    sub.add_argument("--out", metavar="FILE.html", default="comparison.html", help=text)

    text = "run a study: tables, figures, claims"
    sub = add(commands, "reproduce", _reproduce, text, "; repeat the command to resume.")
    sub.add_argument("study", metavar="STUDY", help=", ".join(STUDIES))
    sub.add_argument("part", metavar="PART", nargs="*", help="for instance lih; all if not given")
    sub.add_argument("--quick", action="store_true", help="minutes: one seed, few steps")
    text = "folder, if not given STUDY or STUDY-quick; results in it are kept"
    sub.add_argument("--out", help=text)

    sub = add(commands, "template", _template, "print a config to start from")
    sub.add_argument("name", metavar="NAME", help=", ".join(TEMPLATES))
