"""The command line: parse, call, print.

Exit codes: 0 done; 1 a run failed (nan in training, exploded dynamics); 2 a mistake in the input;
130 interrupted; 143 terminated (SIGTERM). If one of several processes ends with a code, all do.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from .. import _process
from .._checks import InputError, RunError
from .._processes import first_to_end
from .._progress import telling
from .._signals import INTERRUPTED, TERMINATED, end_late
from . import data, dynamics, hardware, label, learn, models, runs
from .parser import Parser


def entry() -> NoReturn:
    """The command: run `main` and exit with its code."""
    _process.run(lambda: main(begin=end_late))


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
        if sys.stdout is None:
            raise InputError("standard output is closed; redirect it, for instance to /dev/null.")
        options = _parsed(arguments)
        remedy = options.remedy
        begin(f"qiff: terminated{remedy}")
        with telling():
            options.command(options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has seen enough
        _process.discard_output()
    except (Exception, KeyboardInterrupt) as error:
        return _failed(error, remedy)
    return 0


def _failed(error: BaseException, remedy: str) -> int:
    """Report an error and return the exit code; raise it again if it is none that is expected."""
    if code := _process.ended_by(error):
        _process.settle()
        words = {INTERRUPTED: "interrupted", TERMINATED: "terminated"}
        return _fail(f"{words[code]}{remedy}", code)
    if isinstance(error, InputError):
        return _fail(error, 2)
    if isinstance(error, RunError):
        return _fail(error, 1)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        reason = (error.strerror or str(error)).lower()
        return _fail(f"{place}{reason}; check the path, its permissions and the disk.", 2)
    if isinstance(error, ValueError) and "embedded null" in str(error):
        return _fail("the name of a file holds a NUL character; leave it out.", 2)
    raise error


def _fail(message: object, code: int) -> int:
    if first_to_end(code):
        print(f"qiff: {' '.join(str(message).split())}", file=sys.stderr)
    return code


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    arguments = sys.argv[1:] if arguments is None else arguments
    for argument in arguments:
        _check_text(argument)
    options, left = parser().parse_known_args(arguments)
    options.parser.check_nothing_left(left)
    return options


def _check_text(argument: str) -> None:
    """Raise unless an argument can be written to files and stand in paths."""
    if "\0" in argument:
        raise InputError(f"argument `{argument!r}`: holds a NUL character; leave it out.")
    if any("\ud800" <= character <= "\udfff" for character in argument):
        raise InputError(
            f"argument `{argument!a}`: is not {sys.getfilesystemencoding()}; rename the file, "
            "or choose a locale of its encoding, for instance LC_ALL=C.UTF-8."
        )


def parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        prog="qiff",
        description="Interatomic potentials from quantum circuits with built-in symmetry.",
        epilog="Begin with: qiff template water > run.toml; qiff train run.toml",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    text = "list the installed packages that qiff depends on, with versions and licences, and exit"
    parser.add_argument("--licences", action=_Licences, nargs=0, help=text)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for group in (runs, learn, models, dynamics, hardware, label, data):
        group.add_commands(commands)
    return parser


class _Version(argparse.Action):
    """Reads the version of the installed package only if it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *others: object) -> NoReturn:
        from importlib.metadata import version

        print(f"qiff {version('qiff')}")
        parser.exit()


class _Licences(argparse.Action):
    """Reads the metadata of installed packages only if it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *others: object) -> NoReturn:
        from .licences import licences

        for name, version, licence in licences("qiff"):
            print(f"{name:30} {version:14} {licence}")
        parser.exit()
