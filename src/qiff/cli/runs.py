"""Commands that carry out something: train, report, reproduce, template."""

import argparse
from pathlib import Path

from .._checks import check_known
from .._progress import progress
from .command import Commands, add, mention_slow_engine


def _train(options: argparse.Namespace) -> None:
    from ..report.tables import summary
    from ..run.config import read_config
    from ..run.train import train

    run = read_config(Path(options.config), options.set)
    mention_slow_engine()
    with progress(run.train.steps) as show_progress:

        def show(state) -> None:
            text = f"validation loss {state.history[-1].valid_loss:.3g}" if state.history else ""
            text = text or "compiling"
            show_progress(state.step, "evaluating" if state.step == run.train.steps else text)

        train(run, resume=options.resume, overwrite=options.overwrite, after_validation=show)
    print("\n".join(summary(Path(run.output))))


def _report(options: argparse.Namespace) -> None:
    from ..report.page import html_page
    from ..report.tables import summary

    folder = Path(options.folder)
    page = html_page(folder)
    print("\n".join([*summary(folder), f"report: {page}"]))


def _reproduce(options: argparse.Namespace) -> None:
    from ..studies import couzinie2025, hardware, le2023
    from ..studies.harness.parts import QUICK, StudySettings
    from ..studies.harness.reproduce import reproduce, total_runs

    papers = {"le2023": le2023, "couzinie2025": couzinie2025, "hardware": hardware}
    studies = {name: paper.PARTS for name, paper in papers.items()}
    check_known("Study", options.study, studies)
    study = studies[options.study]
    parts = tuple(study) if options.part in ([], ["all"]) else tuple(options.part)
    settings = QUICK if options.quick else StudySettings()
    out = Path(options.out or options.study + "-quick" * options.quick)
    mention_slow_engine()
    with progress(total_runs(study, parts, settings)) as show:
        reports = reproduce(study, parts, out, settings, show)
    for part, path in reports.items():
        print(f"{part}: {path}")


def _template(options: argparse.Namespace) -> None:
    from ..run.config import template

    print(template(options.name), end="")


def add_commands(commands: Commands) -> None:
    """Add these commands to the parser."""
    sub = add(commands, "train", _train, "train a model as a config says, into a run folder")
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

    add(
        commands, "report", _report, "summarise a run folder and write its report.html"
    ).add_argument("folder", metavar="RUN_FOLDER")

    sub = add(commands, "reproduce", _reproduce, "carry out a study: tables, figures, claims")
    sub.add_argument("study", metavar="STUDY", help="le2023, couzinie2025 or hardware")
    sub.add_argument("part", metavar="PART", nargs="*", help="for instance lih; default all")
    sub.add_argument("--quick", action="store_true", help="minutes: one seed, few steps")
    sub.add_argument("--out", help="default STUDY or STUDY-quick; what is there is kept")
    sub.set_defaults(remedy="; the same command goes on.")

    add(commands, "template", _template, "print a config to start from").add_argument(
        "name", metavar="NAME", help="water, lih, ammonia or water-dimer"
    )
