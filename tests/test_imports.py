"""The rooms of the house: who may import whom; and what importing the package must not load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import qiff

ROOT = Path(qiff.__file__).parent
EVERYONE = {"_types", "_checks", "_files", "_records"}
MODEL_AND_BELOW = {"model", "quantum", "atoms"}
MAY_IMPORT = {
    "quantum": set(),
    "atoms": set(),
    "model": {"quantum", "atoms"},
    "training": MODEL_AND_BELOW,
    "interfaces": MODEL_AND_BELOW,
    "dynamics": MODEL_AND_BELOW | {"interfaces"},
    "hardware": MODEL_AND_BELOW | {"dynamics"},
    "labelling": {"atoms"},
    "report": MODEL_AND_BELOW | {"training", "dynamics"},
    "run": MODEL_AND_BELOW | {"training", "report"},
    "studies": MODEL_AND_BELOW
    | {"training", "interfaces", "dynamics", "hardware", "labelling", "report", "run"},
    "_types": set(),
    "_checks": set(),
    "_records": set(),
    "_files": set(),
    "_progress": set(),
}
OPTIONAL = ("pyscf", "pennylane", "qiskit", "matplotlib", "rich", "ase.io", "ase.md")


def imported(path: Path) -> set[str]:
    """Rooms and files at the top of the package that a file imports, also inside functions."""
    here = ("qiff", *path.relative_to(ROOT).with_suffix("").parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            target = (*here[: -node.level], *(node.module.split(".") if node.module else ()))
            names = [target[1]] if len(target) > 1 else [alias.name for alias in node.names]
            found |= set(names)
    return found


def test_every_room_and_file_has_its_rule():
    rooms = {p.name for p in ROOT.iterdir() if p.is_dir()} - {"cli", "templates", "__pycache__"}
    files = {p.stem for p in ROOT.glob("*.py")} - {"__init__"}
    assert rooms | files == set(MAY_IMPORT)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_room_imports_only_what_it_may(room):
    paths = [ROOT / f"{room}.py", *(ROOT / room).rglob("*.py")]
    for path in filter(Path.exists, paths):
        forbidden = imported(path) - MAY_IMPORT[room] - EVERYONE - {room}
        assert not forbidden, f"{path.relative_to(ROOT)} imports {forbidden}"


def test_control_the_rule_sees_imports():
    assert "quantum" in imported(ROOT / "model" / "molecule.py")
    outside = (path for path in ROOT.rglob("*.py") if path.parent.name != "cli")
    assert "cli" not in set().union(*map(imported, outside))


def test_import_loads_no_optional_package():
    code = f"import qiff, sys; print([m for m in {OPTIONAL} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
