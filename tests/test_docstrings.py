"""Every public name says what it is: its arguments, what it returns and what it raises."""

import inspect
import re
from collections.abc import Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any

import pytest

import qiff
import qiff.hardware
import qiff.testing

MODULES = (qiff, qiff.hardware, qiff.testing)
LAWS = tuple(qiff.testing.LAWS.values())  # one signature, which `Law` documents


def public(module: ModuleType) -> dict[str, Any]:
    """Functions and classes of ours that a module offers; of `testing` its own."""
    laws = ("qiff.testing", "qiff._laws_of_cells", "qiff._changes")
    own = laws if module is qiff.testing else "qiff"
    return {
        f"{module.__name__}.{name}": value
        for name, value in vars(module).items()
        if not name.startswith("_") and callable(value)
        if getattr(value, "__module__", "").startswith(own) or value is qiff.testing.check_gate
    }


NAMES = {name: value for module in MODULES for name, value in public(module).items()}


def own_text(value: Any) -> str:
    """The docstring that was written: of a class and its constructor, not what Python makes."""
    text = value.__doc__ or ""
    if inspect.isclass(value):
        text = "" if text.startswith(f"{value.__name__}(") else text
        own = vars(value).get("__init__")
        made = (None, "Initialize self.  See help(type(self)) for accurate signature.")
        text += "" if own is None or own.__doc__ in made else own.__doc__
    return text


def section(text: str, name: str) -> str:
    """What a docstring has under `Args:` and the like."""
    lines = inspect.cleandoc(text).splitlines()
    found = re.search(rf"^( *){name}:\n((?:\1 +.*\n|\n)*)", "\n".join(lines) + "\n", re.MULTILINE)
    return found[2] if found else ""


def documented(text: str) -> set[str]:
    """The arguments that a docstring explains."""
    listed = re.findall(r"^ +((?:\w+, )*\w+): \S", section(text, "Args"), re.MULTILINE)
    return {name for names in listed for name in names.split(", ")}


def arguments(value: Any) -> set[str]:
    """The arguments of a call, without `self`."""
    if inspect.isclass(value) and issubclass(value, Exception):
        return set()
    return set(inspect.signature(value).parameters) - {"kind"}  # `kind` names the class


def gaps(value: Any) -> list[str]:
    """What the docstring of a function or class lacks."""
    text = own_text(value)
    if not text:
        return ["a docstring"]
    missing = []
    if value not in LAWS:
        missing += [f"argument `{name}`" for name in sorted(arguments(value) - documented(text))]
        if returns(value) and not section(text, "Returns"):
            missing.append("Returns")
    if "raise " in source(value) and not section(text, "Raises"):
        missing.append("Raises")
    return missing + [f"method `{name}`" for name in bare_methods(value)]


def returns(value: Any) -> bool:
    """Whether a function returns something."""
    if inspect.isclass(value):
        return False
    return inspect.signature(value).return_annotation not in (None, inspect.Signature.empty)


def source(value: Any) -> str:
    """The code of a function, or of the constructor and the checks of a class."""
    names = ("__init__", "__post_init__") if inspect.isclass(value) else ()
    codes = [vars(value)[name] for name in names if name in vars(value)] or [value]
    text = ""
    for code in codes:
        with suppress(OSError, TypeError):  # of a constructor that a dataclass makes
            text += "" if inspect.isclass(code) else inspect.getsource(code)
    return text


def bare_methods(value: Any) -> list[str]:
    """Methods and properties of a class that neither it nor its parents describe."""
    if not inspect.isclass(value):
        return []
    members = ((name, vars(value)[name]) for name in vars(value) if not name.startswith("_"))
    of_class = [
        name
        for name, member in members
        if isinstance(member, property) or inspect.isroutine(member)
        if getattr(member, "__name__", "") != "<lambda>"  # the default of a field
    ]
    return [name for name in of_class if not inspect.getdoc(getattr(value, name))]


def report(names: Mapping[str, Any]) -> dict[str, list[str]]:
    return {name: found for name, value in names.items() if (found := gaps(value))}


def test_every_public_name_is_documented_in_full():
    assert report(NAMES) == {}


def test_control_gaps_of_a_docstring_are_found():
    def silent():
        pass

    def partial(a: int, b: int) -> int:
        """Adds.

        Args:
            a: one.
        """
        if a < 0:
            raise ValueError
        return a + b

    class Bare:
        """Has a method.

        Args:
            x: its number.
        """

        def __init__(self, x):
            self.x = x

        def method(self):
            pass

    assert gaps(silent) == ["a docstring"]
    assert gaps(partial) == ["argument `b`", "Returns", "Raises"]
    assert gaps(Bare) == ["method `method`"]
    assert documented("One.\n\nArgs:\n    a, b: two numbers,\n        in Å: here.\n") == {"a", "b"}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_there_are_names_to_check(module):
    assert len(public(module)) > 10
