"""Settings of frozen dataclasses, records from tables, and the checks of values."""

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from qiff import _checks
from qiff._checks import InputError
from qiff._records import Setting, build_record, from_table, settings_of


@dataclass(frozen=True)
class Inner:
    """Something inside.

    Args:
        rate: per step.
        size: of one.
    """

    rate: float = 0.5
    size: int = 1

    def __post_init__(self):
        _checks.check_positive("rate", self.rate)


@dataclass(frozen=True)
class Outer:
    """Something with settings.

    Args:
        name: what it is called; a text
            that goes over two lines.
        low, high: bounds in eV: the range.
        cutoff: Å; none without one.
        inner: see `Inner`.

    Raises:
        InputError: low: is above high.
    """

    name: str
    low: float = 0.0
    high: float = 1.0
    cutoff: float | None = None
    sizes: tuple[int, ...] = (1, 2)
    inner: Inner = field(default_factory=Inner)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if not self.name:
            raise InputError("`name` must not be empty.")
        if self.low > 5:
            raise InputError(f"Bound {self.low} is too large.")
        if self.low + self.high == 5:
            raise InputError("`low` and `high` must not add up to 5.")


@dataclass(frozen=True)
class Derived(Outer):
    """Another one, whose docstring says nothing about what it inherits.

    Args:
        more: of its own.
    """

    more: bool = False


def test_settings_are_fields_with_the_words_of_the_docstring():
    assert settings_of(Outer)[:4] == (
        Setting("name", str, MISSING, "what it is called; a text that goes over two lines."),
        Setting("low", float, 0.0, "bounds in eV: the range."),
        Setting("high", float, 1.0, "bounds in eV: the range."),
        Setting("cutoff", float | None, None, "Å; none without one."),
    )
    assert {s.name: s.default for s in settings_of(Outer)}["inner"] == Inner()
    assert {s.name: s.help for s in settings_of(Outer)}["sizes"] == ""
    assert {s.name: s.help for s in settings_of(Derived)} == {
        **{s.name: s.help for s in settings_of(Outer)},
        "more": "of its own.",
    }


def test_a_record_of_a_table():
    table = {"name": "x", "high": 2, "sizes": [3, 4], "cutoff": 5, "inner": {"rate": 1}}
    assert from_table(Outer, table) == Outer("x", 0.0, 2.0, 5.0, (3, 4), Inner(1.0))
    assert isinstance(from_table(Outer, table).cutoff, float)
    assert from_table(Outer, {"name": "x", "cutoff": None}).cutoff is None


@dataclass(frozen=True)
class Faster:
    """A record whose part has other defaults than the part alone."""

    inner: Inner = field(default_factory=lambda: Inner(rate=2.0, size=7))


def test_settings_that_are_absent_are_those_of_the_record_around_them():
    assert from_table(Faster, {"inner": {"size": 3}}) == Faster(Inner(rate=2.0, size=3))
    assert from_table(Faster, {}) == Faster()
    control = from_table(Inner, {"size": 3})
    assert control == Inner(rate=0.5, size=3) != Inner(rate=2.0, size=3)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "`name` is missing."),
        ({"name": "x", "hihg": 1}, "`hihg`: key `hihg` is not known; did you mean `high`?"),
        ({"name": 3}, "`name` must be str, but is 3."),
        ({"name": "x", "low": "1"}, "`low` must be float, but is '1'."),
        ({"name": "x", "low": True}, "`low` must be float, but is True."),
        ({"name": "x", "cutoff": "all"}, "`cutoff` must be float or None, but is 'all'."),
        ({"name": "x", "sizes": [1, "2"]}, "`sizes`: `sizes[1]` must be int, but is '2'."),
        ({"name": "x", "inner": 1}, "`inner` must be a table, but is 1."),
        ({"name": "x", "extra": 1}, "`extra` must be a table, but is 1."),
        ({"name": "x", "inner": {"rat": 1}}, "`inner.rat`: key `rat` is not known; did you"),
        ({"name": "x", "inner": {"rate": 0}}, "`inner.rate` must be positive, but is 0.0."),
        ({"name": "x", "low": 6, "high": 7}, "`low`: Bound 6.0 is too large."),
        ({"name": ""}, "`name` must not be empty."),
    ],
)
def test_mistakes_name_the_setting(table, message):
    with pytest.raises(InputError) as error:
        from_table(Outer, table)
    assert str(error.value).startswith(message)


def test_a_mistake_of_several_settings_together_names_the_record():
    table = {"outer": {"name": "x", "low": 3, "high": 2}}
    where = lambda path: f"file:{'.'.join(path)}"
    message = r"^file:outer: `low` and `high` must not add up to 5\.$"
    with pytest.raises(InputError, match=message):
        from_table(Outer, table["outer"], where, ("outer",))
    with pytest.raises(InputError, match=r"^`low` and `high` must not add up to 5\.$"):
        build_record(Outer, {"name": "x", "low": 3.0, "high": 2.0})


def test_the_setting_at_fault_is_the_one_that_the_error_is_about():
    """With `low` at its default `high` = 5 is refused too, but for another reason."""
    with pytest.raises(InputError, match=r"^`low`: Bound 6\.0 is too large\.$"):
        build_record(Outer, {"high": 5.0, "name": "x", "low": 6.0})


@pytest.mark.parametrize(
    ("check", "arguments", "message"),
    [
        (
            _checks.check_known,
            ("Gate", "spn", ["spin", "cz"]),
            "Gate `spn` is not known; did you mean",
        ),
        (_checks.check_known, ("Gate", "u", ["ry", "cz"]), "Gate `u` is not known; known: cz, ry."),
        (_checks.check_at_least, ("n", 0, 1), "`n` must be at least 1, but is 0."),
        (_checks.check_at_least, ("n", math.inf, 1), "`n` must be at least 1, but is inf."),
        (_checks.check_finite, ("x", math.nan), "`x` must be finite, but is nan."),
        (_checks.check_positive, ("x", 0.0), "`x` must be positive, but is 0.0."),
        (_checks.check_positive, ("x", math.nan), "`x` must be positive, but is nan."),
        (_checks.check_seed, (-1,), "`seed` must be at least 0 and below 2**63, but is -1."),
        (_checks.check_seed, (2**63,), "`seed` must be at least 0 and below 2**63, but is"),
        (_checks.check_file, (Path("/"),), "/: is a folder; name a file."),
        (_checks.check_file, (Path("/absent"),), "/absent: no such file; check the path."),
        (_checks.check_suffix, (Path("a.b"), (".xyz", ".c")), "a.b: the name must end in .xyz or"),
    ],
)
def test_checks_say_what_is_required_and_what_was_found(check: Callable, arguments, message):
    with pytest.raises(InputError) as error:
        check(*arguments)
    assert str(error.value).startswith(message)


def test_control_checks_pass_what_is_right():
    _checks.check_known("Gate", "rx", ["rx"])
    _checks.check_at_least("n", 1, 1)
    _checks.check_finite("x", -1.0)
    _checks.check_positive("x", 1e-300)
    _checks.check_seed(2**63 - 1)
    _checks.check_file(Path(__file__))
    _checks.check_suffix(Path("a.xyz"), (".xyz",))


def test_an_absent_package_names_the_extra():
    error = _checks.missing_extra("pyscf", "label", "Computing labels")
    assert isinstance(error, InputError)
    assert isinstance(error, ImportError)
    assert str(error) == (
        "Computing labels needs the package `pyscf`: install it with pip install 'qiff[label]'."
    )
