"""The README and the pages do what they say."""

import argparse
import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest

import qiff
from qiff._checks import InputError
from qiff.cli import parser
from qiff.cli.parser import Parser

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCS = [path for path in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in path.parts]
PAGES = [ROOT / "README.md", *DOCS]
COMMANDS = (ROOT / "docs" / "commands.md").read_text()


def test_python_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert "eV/Å" in capsys.readouterr().out


def test_the_readme_is_short():
    assert len(README.splitlines()) < 120


def commands_in(text: str) -> list[list[str]]:
    """The arguments of each `qiff` in the code blocks of a page; of alternatives the first."""
    blocks = re.findall(r"^```.*?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = re.findall(r"^qiff (.*)$", "\n".join(blocks), re.MULTILINE)
    typed = [re.split(r" {3,}| [#>;] ", line)[0] for line in lines]
    return [re.sub(r"\[([^]|]*)[^]]*\]", r"\1", line).split() for line in typed]


def names_of(parser: Parser) -> set[str]:
    """The names of the commands of a parser."""
    return {
        name
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for name in action.choices
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_in_the_documents_exist(page):
    for arguments in commands_in(page.read_text()):
        _, left = parser().parse_known_args(arguments)
        assert not left, f"qiff {' '.join(arguments)}"


def test_control_commands_are_read_and_mistakes_in_them_are_found():
    page = "qiff is prose\n```\nqiff md M S --steps 4   fast\nqiff train a [--resume | --x]\n```\n"
    page += "```console\nqiff template lih > a.toml\nqiff info M --stepz 4  # wrong\n```\n"
    *right, wrong = commands_in(page)
    assert right == [
        ["md", "M", "S", "--steps", "4"],
        ["train", "a", "--resume"],
        ["template", "lih"],
    ]
    assert parser().parse_known_args(wrong)[1] == ["--stepz", "4"]
    with pytest.raises(InputError, match="Command `trian` is not known"):
        parser().parse_known_args(["trian"])


def test_the_page_of_commands_shows_every_command():
    assert {arguments[0] for arguments in commands_in(COMMANDS)} == names_of(parser())


def test_the_version_stands_in_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version = re.escape(project["version"])
    texts = [ROOT / "CITATION.cff", *(ROOT / "src" / "qiff").glob("**/*.py")]
    assert [path for path in texts if re.search(rf"\b{version}\b", path.read_text())] == []
    assert not re.search(r"^version:", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert qiff.__version__ == importlib.metadata.version("qiff")
