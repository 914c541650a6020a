"""`docs/structure.md` lists every file of the package; run as a module, this prints it."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "structure.md"
HEAD = """# The files of the package

Every file of `src/qiff/` with the first sentence of its documentation, from which
`make docs-structure` writes this page. Each room has a section. Beside the package:

* `src/qiff_openmm/` — the entry point by which OpenMM finds qiff.
* `tests/` — `laws/`: what must hold for every registered component; the rest by file.
* `benchmarks/` — ratios to other simulators, measured side by side: `make bench`.
* `docs/` — the pages of the site, and the tables and figures of the studies: `make docs`.
* `runs/` — the configs of the results.
"""
DATA = {
    ".json": "how the data set of this name was computed",
    ".qiff": "a bundled model",
    ".typed": "tells type checkers that the package has type hints",
    ".xyz": "a bundled data set",
    ".css": "the style of reports",
    "page.html": "the frame of reports",
    "page.js": "the plots, viewers and players of a report",
    "3Dmol-min.js": "3Dmol.js 2.5.5, which shows structures in reports (BSD-3-Clause)",
    "3Dmol-LICENSE.txt": "the licence of 3Dmol.js",
}


def files(package: Path) -> list[Path]:
    """Source files and data, nothing compiled; the `__init__.py` of a room comes first."""
    kinds = {".py", ".cpp", ".hpp", ".toml", *DATA}
    found = (p.relative_to(package) for p in package.rglob("*") if {p.suffix, p.name} & kinds)
    return sorted(found, key=lambda path: (path.parent.parts, path.name != "__init__.py", path))


def description(path: Path) -> str:
    """The first line of a docstring, or the first sentence of the comment at the head of a file."""
    if kind := {path.name, path.suffix} & DATA.keys():
        return DATA[kind.pop()]
    if path.suffix == ".py":
        return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
    comment = re.match(r"((//|#) .*\n)+", path.read_text())
    text = " ".join(line[2:].strip() for line in comment[0].splitlines()) if comment else ""
    return re.split(r"(?<=[.]) (?=[A-Z])", text)[0]


def page(package: Path) -> str:
    """The page: a heading for each room, one line for each file."""
    lines, room = [HEAD], ""
    for path in files(package):
        if len(path.parts) > 1 and path.parts[0] != room:
            room = path.parts[0]
            lines.append(f"\n## {room}\n")
        lines.append(f"* `{path.as_posix()}` — {description(package / path)}")
    return "\n".join(lines) + "\n"


def test_every_file_says_what_it_is():
    package = ROOT / "src" / "qiff"
    assert [path for path in files(package) if not description(package / path)] == []


def test_the_page_lists_every_file_once_with_its_docstring():
    assert page(ROOT / "src" / "qiff") == PAGE.read_text(), "run `make docs-structure`"


def test_a_file_of_a_known_name_in_another_room_changes_the_page(tmp_path):
    """Control: two files of one name are told apart by their paths."""
    for name in ("atoms/__init__.py", "model/__init__.py", "model/graph.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('"""One.\n\nMore.\n"""\n')
    before = page(tmp_path)
    (tmp_path / "atoms" / "graph.py").write_text('"""Two."""\n')
    assert page(tmp_path).splitlines() != before.splitlines()
    assert "* `atoms/graph.py` — Two." in page(tmp_path).splitlines()
    assert "* `model/graph.py` — One." in page(tmp_path).splitlines()


if __name__ == "__main__":
    print(page(ROOT / "src" / "qiff"), end="")
