"""Records of settings: frozen dataclasses, filled from tables of a file or from options."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

from ._checks import InputError, check_known, typed

Record = TypeVar("Record")


def from_table(record: type[Record], table: Mapping[str, Any], subject: str) -> Record:
    """A record of a table, its fields checked against their types.

    Args:
        record: a dataclass.
        table: values by name.
        subject: what a name is called in errors.

    Raises:
        InputError: a name is unknown or missing, or a value has the wrong type or is refused.
    """
    hints = get_type_hints(record)
    fields = {f.name: f for f in dataclasses.fields(record)}  # pyright: ignore
    for name in table:
        check_known(subject, name, fields)
    values = {}
    for name, f in fields.items():
        if name in table:
            values[name] = typed(name, table[name], hints[name])
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise InputError(f"{subject} `{name}` is missing.")
    return record(**values)
