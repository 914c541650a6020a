"""The command line: parse, call, print.

Exit codes: 0 done; 1 a run failed (nan in training, exploded dynamics); 2 a mistake in what was
given; 130 interrupted.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from .._checks import InputError, RunError
from . import data, hardware, models, runs


def entry() -> None:
    """The command: run `main` and exit with its code."""
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    if code == INTERRUPTED:
        os._exit(code)  # a thread of XLA may still compile; Python torn down under it crashes
    sys.exit(code)


INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
        sys.stdout.flush()
    except InputError as error:
        return _fail(error, 2)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        reason = (error.strerror or str(error)).lower()
        return _fail(f"{place}{reason}; check the path, its permissions and the disk.", 2)
    except RunError as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return _fail(f"interrupted{options.remedy}", INTERRUPTED)
    return 0


def _fail(message: object, code: int) -> int:
    print(f"qiff: {' '.join(str(message).split())}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qiff",
        description="Interatomic potentials from quantum circuits with built-in symmetry.",
        epilog="Begin with: qiff template water > run.toml; qiff train run.toml",
    )
    parser.add_argument("--version", action="version", version=f"qiff {version('qiff')}")
    parser.set_defaults(remedy=".")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for room in (runs, models, hardware, data):
        room.add_commands(commands)
    return parser
