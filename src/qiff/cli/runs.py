"""Commands that run something: train, report, reproduce, template."""

import argparse
from pathlib import Path

from .._checks import check_known
from .._processes import begin, is_first
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
    from ..report.tables import summary
    from ..run.train import train

    at = (options.coordinator, options.processes, options.process)
    if options.distributed or at != (None, None, None):
        begin(*at)
    run = read_config(Path(options.config), options.set)
    with progress(run.train.steps) as show_progress:

        def show(state) -> None:
            if not is_first():
                return
            text = f"validation loss {state.history[-1].valid_loss:.3g}" if state.history else ""
            text = text or "compiling"
            show_progress(state.step, "evaluating" if state.step == run.train.steps else text)

        train(run, resume=options.resume, overwrite=options.overwrite, after_validation=show)
    if is_first():
        print("\n".join(summary(Path(run.output))))


def _report(options: argparse.Namespace) -> None:
    from ..report.page import html_page
    from ..report.tables import summary

    folder = Path(options.folder)
    page = html_page(folder)
    print("\n".join([*summary(folder), f"report: {page}"]))


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

    several = sub.add_argument_group("one run by several processes, see docs/distributed.md")
    text = "find the other processes in the environment: SLURM, Open MPI, Kubernetes"
    several.add_argument("--distributed", action="store_true", help=text)
    text = "where process 0 listens, the same for all; if not given, from the environment"
    several.add_argument("--coordinator", metavar="HOST:PORT", help=text)
    text = "number of this process, from 0; if not given, from the environment"
    several.add_argument("--process", type=int, metavar="I", help=text)
    text = "how many there are; if not given, from the environment"
    several.add_argument("--processes", type=int, metavar="N", help=text)

    text = "summarise a run folder and write its report.html"
    add(commands, "report", _report, text).add_argument("folder", metavar="RUN_FOLDER")

    text = "run a study: tables, figures, claims"
    sub = add(commands, "reproduce", _reproduce, text, "; repeat the command to resume.")
    sub.add_argument("study", metavar="STUDY", help=", ".join(STUDIES))
    sub.add_argument("part", metavar="PART", nargs="*", help="for instance lih; all if not given")
    sub.add_argument("--quick", action="store_true", help="minutes: one seed, few steps")
    text = "folder, if not given STUDY or STUDY-quick; results in it are kept"
    sub.add_argument("--out", help=text)

    sub = add(commands, "template", _template, "print a config to start from")
    sub.add_argument("name", metavar="NAME", help=", ".join(TEMPLATES))
