"""Frozen dataclasses as settings: what config files and command-line options are made from."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, is_dataclass
from typing import Any, NamedTuple, TypeVar, get_type_hints

from ._checks import InputError, check_known, typed

Record = TypeVar("Record")
Where = Callable[[tuple[str, ...]], str]
"""From the path of a setting, such as `("train", "steps")`, to its name in an error. The empty
path stands for the record itself."""


class Setting(NamedTuple):
    """A field of a record.

    Args:
        name: of the field.
        hint: its type hint.
        default: its default; `dataclasses.MISSING` if a value is required.
        help: its entry in the `Args:` section of the docstring, in one line; empty without one.
    """

    name: str
    hint: Any
    default: Any
    help: str


def settings_of(record_type: type) -> tuple[Setting, ...]:
    """The fields of a dataclass that its constructor takes, in order."""
    hints, help = get_type_hints(record_type), _help(record_type)
    return tuple(
        Setting(field.name, hints[field.name], _default(field), help.get(field.name, ""))
        for field in dataclasses.fields(record_type)
        if field.init
    )


def dotted(path: tuple[str, ...]) -> str:
    """The path of a setting in backticks; nothing for the record itself."""
    return f"`{'.'.join(path)}`" if path else ""


def from_table(
    record_type: type[Record],
    table: Mapping[str, Any],
    where: Where = dotted,
    path: tuple[str, ...] = (),
    default: Record | None = None,
) -> Record:
    """A record from a table of values; tables in it become the records of its fields.

    Args:
        record_type: a dataclass.
        table: a value for each name; settings with a default may be absent.
        where: names the place of a setting in errors.
        path: where the table stands in the tables around it.
        default: the values of settings that are absent, in place of those of `record_type`.

    Raises:
        InputError: a key is unknown or missing, or a value has the wrong type or is out of range.
    """
    settings = {setting.name: setting for setting in settings_of(record_type)}
    for key in table:
        check_known(f"{where((*path, key))}: key", key, settings)
    values = {}
    for name, setting in settings.items():
        place = (*path, name)
        if name not in table:
            if default is not None:
                values[name] = getattr(default, name)
            elif setting.default is MISSING:
                raise InputError(f"{where(place)} is missing.")
        elif _is_record(setting.hint) and isinstance(table[name], Mapping):
            usual = None if setting.default is MISSING else setting.default
            values[name] = from_table(setting.hint, table[name], where, place, usual)
        else:
            try:
                values[name] = typed(name, table[name], setting.hint)
            except InputError as error:
                raise _placed(error, where(place), name) from None
    return build_record(record_type, values, where, path)


def build_record(
    record_type: type[Record],
    values: Mapping[str, Any],
    where: Where = dotted,
    path: tuple[str, ...] = (),
) -> Record:
    """`record_type(**values)`, with errors that name the setting at fault.

    Args:
        record_type: a dataclass.
        values: one of the right type for each name.
        where: names the place of a setting in errors.
        path: where the record stands in the records around it.

    Raises:
        InputError: a value is out of range.
    """
    try:
        return record_type(**values)
    except InputError as error:
        fault = _at_fault(record_type, values, str(error))
        raise _placed(error, where((*path, *fault)), *fault) from None


def _is_record(hint: Any) -> bool:
    return is_dataclass(hint)


def _default(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _help(record_type: type) -> dict[str, str]:
    """What the Google docstrings of a class and its bases say about each name under `Args:`."""
    found = {}
    for base in reversed(record_type.__mro__):
        section = re.search(
            r"^Args:\n((?: +.*\n?|\n)+)", inspect.cleandoc(base.__doc__ or ""), re.M
        )
        for entry in re.split(r"^    (?=\S)", section[1] if section else "", flags=re.M)[1:]:
            names, _, text = entry.partition(":")
            found |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return found


def _at_fault(record_type: type, values: Mapping[str, Any], message: str) -> tuple[str, ...]:
    """The name whose value is refused with every other at its default; empty if there is none."""
    required = [s.name for s in settings_of(record_type) if s.default is MISSING]
    least = {name: values[name] for name in required}

    def refused(given: Mapping[str, Any]) -> bool:
        try:
            record_type(**given)
        except InputError as error:
            return str(error) == message
        return False

    if refused(least):
        return tuple(required) if len(required) == 1 else ()
    return next(((name,) for name in values if refused(least | {name: values[name]})), ())


def _placed(error: InputError, place: str, name: str = "") -> InputError:
    """The error about the setting `name` with its place in front."""
    message, subject = str(error), f"`{name}` "
    if name and message.startswith(subject):
        return InputError(f"{place} {message.removeprefix(subject)}")
    return InputError(f"{place}: {message}" if place else message)
