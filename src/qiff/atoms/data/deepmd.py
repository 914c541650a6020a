"""DeePMD systems: folders with `type.raw`, perhaps `type_map.raw`, and arrays in `set.*`."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..._checks import InputError
from .elements import element
from .source import Source


def is_deepmd(path: Path) -> bool:
    """Whether a folder is a system of DeePMD."""
    return (path / "type.raw").is_file()


def types(path: Path, arrays: Mapping[str, np.ndarray], source: Source) -> dict[str, np.ndarray]:
    """Atomic numbers, and no cell where there is a file `nopbc`.

    Raises:
        InputError: types are no whole numbers, or it is not said which elements they are.
    """
    try:
        words = (path / "type.raw").read_text("utf-8", "replace").split()
        found = arrays.get("real_atom_types", np.array(words)).astype(int)
    except (ValueError, TypeError, OverflowError):
        found = np.empty(0, int)
    if not found.size:
        raise InputError(
            f"{source.path}: `type.raw` must hold one whole number an atom, and so must "
            "`real_atom_types.npy` where it is used."
        )
    open_ = {"pbc": np.array(False)} if (path / "nopbc").exists() else {}
    if source.elements:
        return open_
    file = path / "type_map.raw"
    symbols = file.read_text("utf-8", "replace").split() if file.is_file() else []
    if found.max() >= len(symbols):
        raise InputError(
            f"{source.path}: `type_map.raw` must name the elements of {found.max() + 1} types, but "
            f"names {len(symbols)}; write it, or name the element of each atom (--elements O,H,H)."
        )
    elements = [element(symbol) for symbol in symbols]
    if None in elements:
        wrong = symbols[elements.index(None)]
        raise InputError(f"{source.path}: `type_map.raw` names `{wrong}`, which is no element.")
    numbers = np.array([one.number for one in elements if one])
    return {"numbers": np.where(found < 0, 0, numbers[found.clip(0)]), **open_}
