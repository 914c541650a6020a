"""Options made from the fields of the records that they fill."""

import argparse
import re
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin

from .._records import Setting, build_record, dotted, settings_of

Record = TypeVar("Record")


def add_settings(
    parser: argparse._ActionsContainer,
    record_type: type,
    *,
    only: Collection[str] = (),
    except_: Collection[str] = (),
    defaults: Mapping[str, Any] | None = None,
) -> None:
    """Add `--like-this` for each field `like_this` of a record, for `settings_from`.

    Args:
        parser: of a command, or a group of its arguments.
        record_type: a dataclass whose docstring has `Args:`, the text of the help.
        only: names of the fields to take; empty for all of them.
        except_: names of fields to leave out.
        defaults: where the command has another default than the record.
    """
    for setting in settings_of(record_type):
        if setting.name not in except_ and (not only or setting.name in only):
            default = (defaults or {}).get(setting.name, setting.default)
            _add_setting(parser, setting._replace(default=default), record_type)


def settings_from(options: argparse.Namespace, record_type: type[Record], **given: Any) -> Record:
    """The record whose fields are the options of `add_settings`, and what is given.

    Raises:
        InputError: a value is out of range; the message names the option.
    """
    names = {setting.name for setting in settings_of(record_type)} - given.keys()
    values = {name: value for name, value in vars(options).items() if name in names}

    def where(path: tuple[str, ...]) -> str:
        return f"`{_option(path[0])}`" if path and path[0] in values else dotted(path)

    return build_record(record_type, values | given, where)


def _with_default(text: str, default: Any) -> str:
    """The help of an option and its default, unless that is nothing."""
    nothing = default is MISSING or default is False or default in (None, "", ())
    return text if nothing else f"{text} (default %(default)s)"


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _add_setting(parser: argparse._ActionsContainer, setting: Setting, record_type: type) -> None:
    name, default = setting.name, setting.default
    help = _with_default(_text(setting.help, record_type).replace("%", "%%"), default)
    if setting.hint is bool:
        flag, action = (f"no_{name}", "store_false") if default else (name, "store_true")
        parser.add_argument(_option(flag), dest=name, action=action, help=help)
        return
    if isinstance(default, tuple):
        default = ",".join(map(str, default))  # parsed like what is typed
    required = default is MISSING
    parser.add_argument(
        _option(name),
        dest=name,
        type=_parser_of(setting.hint),
        default=None if required else default,
        required=required,
        help=help,
    )


def _parser_of(hint: Any) -> Callable[[str], Any]:
    """From the text of an option to a value of the type `hint`."""
    if get_origin(hint) is tuple:
        return _comma_separated(get_args(hint)[0])
    optional = [kind for kind in get_args(hint) if kind is not NoneType]
    return optional[0] if optional else hint


def _comma_separated(item: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    def parse(text: str) -> tuple[Any, ...]:
        return tuple(item(part.strip()) for part in text.split(",") if part.strip())

    parse.__name__ = f"comma-separated {item.__name__}"  # `argparse` says so in an error
    return parse


def _text(description: str, record_type: type) -> str:
    """A description from a docstring for the help, with the keys of a registry it names."""
    registries = vars(sys.modules[record_type.__module__])
    names = lambda found: f"one of {', '.join(registries[found[1]])}"
    return re.sub(r"a key of `(\w+)`", names, description).rstrip(".").replace("`", "")
