"""The command line: parse, call, print.

Exit codes: 0 done; 1 a run failed (nan in training, exploded dynamics); 2 a mistake in the input;
130 interrupted; 143 terminated (SIGTERM). If one of several processes ends with a code, all do.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import version

from .._checks import InputError, RunError
from .._processes import first_to_end, leave, several
from .._signals import TERMINATED, Terminated, handle_sigterm
from . import data, dynamics, hardware, models, runs
from .parser import Parser


def entry() -> None:
    """The command: run `main` and exit with its code."""
    try:
        code = main(begin=handle_sigterm)
    except Exception:
        if not several():
            raise
        traceback.print_exc()
        code = _fail("ended by an error of the program, see above.", 1)
    sys.stdout.flush()
    sys.stderr.flush()
    if code >= INTERRUPTED or several():
        leave(code)  # a thread of XLA may still compile; Python torn down under it crashes
    sys.exit(code)


INTERRUPTED = 130


def main(
    arguments: Sequence[str] | None = None, *, begin: Callable[[str], None] = lambda line: None
) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: of the command line, if not those of this process.
        begin: called before the command, with the line to print if it is terminated.
    """
    remedy = "."
    try:
        options = _parsed(arguments)
        remedy = options.remedy
        begin(f"qiff: terminated{remedy}")
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
    except Terminated:
        return _fail(f"terminated{remedy}", TERMINATED)
    except KeyboardInterrupt:
        return _fail(f"interrupted{remedy}", INTERRUPTED)
    return 0


def _fail(message: object, code: int) -> int:
    if first_to_end(code):
        print(f"qiff: {' '.join(str(message).split())}", file=sys.stderr)
    return code


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    options, left = parser().parse_known_args(arguments)
    options.parser.check_nothing_left(left)
    return options


def parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        prog="qiff",
        description="Interatomic potentials from quantum circuits with built-in symmetry.",
        epilog="Begin with: qiff template water > run.toml; qiff train run.toml",
    )
    parser.add_argument("--version", action="version", version=f"qiff {version('qiff')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for group in (runs, models, dynamics, hardware, data):
        group.add_commands(commands)
    return parser
