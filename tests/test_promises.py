"""`docs/promises.md`: every promise names tests, and there are such tests."""

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "promises.md").read_text()


@cache
def names_in(path: str) -> frozenset[str]:
    """Names of the tests in a file; none if there is no file."""
    text = (ROOT / path).read_text() if (ROOT / path).exists() else ""
    return frozenset(re.findall(r"^def (test_\w+)", text, re.MULTILINE))


def absent(page: str) -> list[str]:
    """Tests that are named and do not exist."""
    named = re.findall(r"`([\w/.]+)::(\w+)`", page)
    return [f"{path}::{name}" for path, name in named if name not in names_in(path)]


def without_test(page: str) -> list[str]:
    """Promises, which are list items, that name no test."""
    items = re.findall(r"^\* (?:.+\n)(?:  .+\n)*", page, re.MULTILINE)
    assert items
    return [item for item in items if "::test_" not in item]


def test_every_promise_names_a_test_that_exists():
    assert without_test(PAGE) == []
    assert absent(PAGE) == []
    assert PAGE.count("::test_") > 30


def test_control_a_test_that_does_not_exist_is_found():
    page = "* One.\n* Two (`tests/test_promises.py::test_none`,\n  `tests/test_none.py::test_a`).\n"
    assert absent(page) == ["tests/test_promises.py::test_none", "tests/test_none.py::test_a"]
    assert without_test(page) == ["* One.\n"]
