"""A parser whose errors are one line that names what was probably meant."""

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from .._checks import InputError, check_known

_UNKNOWN_CHOICE = re.compile(r"argument (.+): invalid choice: '(.*)' \(choose from (.*)\)")


class Parser(argparse.ArgumentParser):
    """Raises `InputError` where `argparse` prints its usage and exits.

    `arguments`, a function that adds its arguments, is called when they are needed: they may
    depend on modules that take long to load.
    """

    arguments: Callable[["Parser"], None] | None = None

    def fill(self) -> "Parser":
        """Add what `arguments` adds, once."""
        if self.arguments:
            add, self.arguments = self.arguments, None
            add(self)
        return self

    def parse_known_args(self, *given: Any, **named: Any) -> Any:
        self.fill()
        return super().parse_known_args(*given, **named)

    def error(self, message: str) -> NoReturn:
        if found := _UNKNOWN_CHOICE.fullmatch(message):
            argument, choice, choices = found.groups()
            check_known(argument.capitalize(), choice, re.findall(r"[\w-]+", choices))
        raise InputError(f"{message}; see `{self.prog} --help`.")

    def check_nothing_left(self, left: Sequence[str]) -> None:
        """Raise if arguments were not understood; suggest the closest option."""
        for argument in left:
            if argument.startswith("-"):
                name = argument.partition("=")[0]
                check_known(f"`{self.prog}`: option", name, self._option_string_actions)
        if left:
            self.error(f"unexpected argument `{left[0]}`")
