"""Errors, and checks of arguments with their messages.

A message has the subject in backticks, what is required, and what was found.
"""

import difflib
import math
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin


class InputError(ValueError):
    """A mistake in what was given. The command line prints it in one line and exits with 2."""


class RunError(RuntimeError):
    """A run that failed. The command line prints it in one line and exits with 1."""


class MissingExtraError(InputError, ImportError):
    """An optional package is needed and absent."""


def check_known(subject: str, name: str, known: Collection[str]) -> None:
    """Raise unless `name` is one of `known`; suggest the closest."""
    if name in known:
        return
    close = difflib.get_close_matches(str(name), [str(k) for k in known], n=1)
    listed = f"; known: {', '.join(sorted(known))}" if len(known) <= 20 else ""
    hint = f"; did you mean `{close[0]}`?" if close else f"{listed}."
    raise InputError(f"{subject} `{name}` is not known{hint}")


def check_at_least(name: str, value: int | float, minimum: int | float) -> None:
    """Raise unless `value` is a finite number of at least `minimum`."""
    if not (_is_finite(value) and value >= minimum):
        raise InputError(f"`{name}` must be at least {minimum}, but is {value}.")


LARGEST = {
    **dict.fromkeys(("n_basis", "n_channels", "n_circuits", "n_embedding", "n_layers"), 1000),
    "n_messages": 1000,
    "n_hidden": 10_000,
    "n_interactions": 20,
    "n_repeats": 100,
    "n_qubits": 32,
    "members": 100,
    "evaluate_every": 100_000,
    "steps": 10**9,
}
"""Sizes up to which a model is described and a run prepared in a second and some 100 MB."""


def check_size(name: str, value: int, minimum: int) -> None:
    """Raise unless `value` is at least `minimum` and not above the entry of `name` in `LARGEST`."""
    check_at_least(name, value, minimum)
    if value > LARGEST[name]:
        raise InputError(f"`{name}` must be at most {LARGEST[name]}, but is {value}.")


def check_finite(name: str, value: int | float) -> None:
    """Raise unless `value` is a finite number."""
    if not _is_finite(value):
        raise InputError(f"`{name}` must be finite, but is {value}.")


def check_positive(name: str, value: int | float) -> None:
    """Raise unless `value` is a finite number above zero."""
    if not (_is_finite(value) and value > 0):
        raise InputError(f"`{name}` must be positive, but is {value}.")


def _is_finite(value: int | float) -> bool:
    """Whether it is a number; a whole one may be too large for a float."""
    return isinstance(value, int) or math.isfinite(value)


def check_seed(seed: int) -> None:
    """Raise unless `seed` can seed every generator in use."""
    if not 0 <= seed < 2**63:
        raise InputError(f"`seed` must be at least 0 and below 2**63, but is {seed}.")


def check_file(path: Path) -> None:
    """Raise unless `path` is a file."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file.")
    if not path.exists():
        raise InputError(f"{path}: no such file; check the path.")
    check_regular(path, str(path))


def check_regular(path: Path, place: str) -> None:
    """Raise if `path` is a device, a pipe or a socket, which may have no end."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(
            f"{place}: is a device, a pipe or a socket; write what it gives to a file first."
        )


def check_suffix(path: Path, suffixes: Collection[str]) -> None:
    """Raise unless `path` ends like the format that is written."""
    if path.suffix not in suffixes:
        raise InputError(f"{path}: the name must end in {' or '.join(suffixes)}.")


def typed(name: str, value: Any, hint: Any) -> Any:
    """`value` as the type `hint` asks for: whole numbers serve as floats, lists as tuples.

    Raises:
        InputError: the value has another type.
    """
    kind = get_origin(hint) or hint
    if hint is Any:
        return value
    if kind in (Union, UnionType):
        return _one_of(name, value, get_args(hint))
    if kind is float and type(value) is int and abs(value) < 10**300:
        return float(value)
    if isinstance(value, (list, tuple)) and issubclass(tuple, kind):
        items = get_args(hint)[:1] or (object,)
        return tuple(typed(f"{name}[{i}]", item, items[0]) for i, item in enumerate(value))
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    fits = is_number if kind in (int, float) else not isinstance(value, str) or kind is str
    if not (fits and isinstance(value, kind)):
        raise InputError(f"`{name}` must be {_wanted(hint)}, but is {_shown(value)}.")
    if isinstance(value, Mapping) and get_args(hint):
        return {key: typed(f"{name}.{key}", item, get_args(hint)[1]) for key, item in value.items()}
    return value


def _one_of(name: str, value: Any, hints: tuple[Any, ...]) -> Any:
    """`value` as the first of several types that it fits."""
    for hint in hints:
        with suppress(InputError):
            return typed(name, value, hint)
    raise InputError(
        f"`{name}` must be {' or '.join(map(_wanted, hints))}, but is {_shown(value)}."
    )


def _shown(value: Any) -> str:
    """A value as Python writes it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _wanted(hint: Any) -> str:
    """A type in words."""
    kind = get_origin(hint) or hint
    if is_dataclass(kind) or kind is Mapping:
        return "a table"
    return "None" if kind is NoneType else kind.__name__


def missing_extra(package: str, extra: str, purpose: str) -> MissingExtraError:
    """The error for an absent optional package, naming the extra to install."""
    return MissingExtraError(
        f"{purpose} needs the package `{package}`: install it with pip install 'qiff[{extra}]'."
    )
