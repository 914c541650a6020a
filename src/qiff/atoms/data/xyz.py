"""What ASE refuses in `.xyz` files: isotopes, atomic numbers, six numbers for a 3x3 matrix.

And what it should refuse: more columns or atoms than a file can have.
"""

import re
import zlib
from pathlib import Path

import numpy as np

from ..._checks import InputError
from .elements import Element, element, masses

_COLUMNS = 10_000
_PROPERTIES = re.compile(rb"""\bProperties["'\s]*=[\s"'{]*([^\s"'}]+)""")


def is_xyz(path: Path) -> bool:
    """Whether ASE reads a file as extxyz, by its name or else by its content."""
    from ase.io.formats import UnknownFileTypeError, filetype

    if {".xyz", ".extxyz"} & {suffix.lower() for suffix in path.suffixes}:
        return True
    try:
        return filetype(str(path)) == "extxyz"
    except (UnknownFileTypeError, OSError, EOFError, zlib.error):
        return False  # or damaged, which reading it tells


def check_sizes(path: Path, place: str) -> int:
    """The number of frames; raises if one announces more columns or atoms than there are, for
    which ASE would take all memory or never end.

    Args:
        path: of an `.xyz` file, perhaps compressed.
        place: begins the message of an error.

    Raises:
        InputError: the widths in a comment line have a sum above 10,000, or atoms are missing.
    """
    from ase.io.formats import open_with_compression

    number, begin, n_atoms, n_frames = 0, 1, 0, 0
    with open_with_compression(str(path), "rb") as lines:
        for number, line in enumerate(lines, 1):
            _check_columns(line, f"{place}: line {number}")  # pyright: ignore[reportArgumentType]
            if number == begin and line.strip().isdigit():  # else ASE reads or refuses the rest
                n_atoms, n_frames = _number(line), n_frames + 1
                begin += 2 + n_atoms
    if n_atoms and begin > number + 1:
        raise too_few(f"{place}: frame {n_frames - 1}", n_atoms - (begin - number - 1), n_atoms)
    return n_frames


def too_few(place: str, n_found: int, n_announced: int) -> InputError:
    """The error for a frame of fewer atoms than it announces."""
    return InputError(
        f"{place}: has {max(0, n_found)} atoms, but announces {n_announced}; is the file cut short?"
    )


def _check_columns(line: bytes, place: str) -> None:
    for match in _PROPERTIES.finditer(line):
        widths = [text.replace(b"_", b"") for text in match[1].split(b":")[2::3]]
        known = [width for width in widths if width.removeprefix(b"+").isdigit()]
        if sum(map(_number, known)) > _COLUMNS:
            raise InputError(
                f"{place}: `Properties` must have at most {_COLUMNS} columns, but has more: "
                f"{match[1][:60].decode(errors='replace')}."
            )


def _number(digits: bytes) -> int:
    """Digits as a number, of which a hundred are enough."""
    return int(digits[:100])


def text_of(path: Path) -> str:
    """The text of a file, perhaps compressed."""
    from ase.io.formats import open_with_compression

    with open_with_compression(str(path), "rb") as file:
        content: bytes = file.read()  # pyright: ignore[reportAssignmentType]
    return content.decode(errors="replace")


def repaired(text: str, place: str) -> tuple[str, list[np.ndarray | None]]:
    """The text with names and matrices as ASE reads them, and for each frame masses in u.

    Args:
        text: of an `.xyz` file.
        place: begins the message of an error.

    Raises:
        InputError: a name is neither a symbol nor an isotope nor an atomic number, or lines are
            missing; frame, line and name are told.
    """
    lines, begin, found = text.splitlines(), 0, []
    while begin < len(lines) and lines[begin].strip():
        where = f"{place}: frame {len(found)}"
        if not (lines[begin].strip().isdecimal() and len(lines[begin].strip()) < 20):
            raise InputError(
                f"{where}: line {begin + 1} must be a number of atoms, but is "
                f"`{lines[begin].strip()[:40]}`; is the number of the frame before wrong?"
            )
        first, end = begin + 2, begin + 2 + int(lines[begin])
        if end > len(lines):
            raise too_few(where, len(lines) - first, end - first)
        lines[begin + 1] = _with_matrices(lines[begin + 1])
        column = _column_of_names(lines[begin + 1])
        elements = []
        for number in range(first, end):
            elements.append(_element(lines[number], column, f"{where}: line {number + 1}"))
            lines[number] = _replaced(lines[number], column, elements[-1].symbol)
        found.append(masses(elements))
        begin = end
    return "\n".join(lines) + "\n", found


def _element(line: str, column: int, place: str) -> Element:
    words = line.split()
    found = element(words[column]) if len(words) > max(column, 3) else None
    if found is None:
        raise InputError(
            f"{place}: must begin with a chemical symbol, an isotope (D, T, 13C) or an atomic "
            f"number and three coordinates, but is `{' '.join(words)[:40]}`."
        )
    return found


def _column_of_names(comment: str) -> int:
    """The column of the chemical symbols: of extxyz as its comment says, else the first."""
    column = 0
    properties = re.search(r'\bProperties="?([\w:]+)', comment)
    words = properties[1].split(":") if properties else []
    for name, _, width in zip(words[::3], words[1::3], words[2::3], strict=False):
        if name == "species":
            return column
        column += int(width) if width.isdecimal() else 1
    return 0


def _replaced(line: str, column: int, word: str) -> str:
    words = line.split()
    words[column] = word
    return " ".join(words)


def _with_matrices(comment: str) -> str:
    """The comment with `stress` and `virial` of six numbers (xx, yy, zz, yz, xz, xy) as nine."""

    def nine(match: re.Match[str]) -> str:
        six = match[2].split()
        if len(six) != 6:
            return match[0]
        return f'{match[1]}"{" ".join(six[i] for i in (0, 5, 4, 5, 1, 3, 4, 3, 2))}"'

    return re.sub(r'(?<!\S)((?:stress|virial)=)"([^"]*)"', nine, comment)
