"""The README does what it says."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest

import qiff

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_python_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert "energy_mae" in capsys.readouterr().out
    assert (tmp_path / "water.qiff").exists()


def test_the_tree_lists_every_room_and_nothing_else():
    tree = re.search(r"```\nsrc/qiff/\n(.*?)```", README, re.DOTALL)
    assert tree
    listed = set(re.findall(r"^  (\w+)/ ", tree[1], re.MULTILINE))
    rooms = {p.parent.name for p in (ROOT / "src" / "qiff").glob("*/__init__.py")}
    assert listed == rooms
    assert set(re.findall(r"^(\w+)/ ", tree[1], re.MULTILINE)) == {"tests", "benchmarks", "docs"}


def test_commands_named_in_the_readme_exist(capsys):
    from qiff.cli import main

    (block,) = re.findall(r"## The command line\n\n```\n(.*?)```", README, re.DOTALL)
    commands = set(re.findall(r"^qiff (\w+)", block, re.MULTILINE))
    assert len(commands) == 12
    for command in commands:
        with pytest.raises(SystemExit) as exit:
            main([command, "--help"])
        assert exit.value.code == 0


def test_public_names_are_documented():
    public = [name for name in vars(qiff) if not name.startswith("_")]
    for name in public:
        value = getattr(qiff, name)
        if callable(value):
            assert value.__doc__, f"{name} has no docstring"


def test_the_version_stands_in_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version = re.escape(project["version"])
    texts = [ROOT / "CITATION.cff", *(ROOT / "src" / "qiff").glob("**/*.py")]
    assert [path for path in texts if re.search(rf"\b{version}\b", path.read_text())] == []
    assert not re.search(r"^version:", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert qiff.__version__ == importlib.metadata.version("qiff")
