"""Files: a model is one archive of a JSON header and arrays keyed by path, read by numpy alone.

The archive is an uncompressed `.npz`: `header` is a string, `checksum` the SHA-256 of all else,
every other member an array named by its path in the potential, for instance
`potential.circuit.weights`. Nothing in it is code. `qiff.rewrite_checksum` accepts an edit by hand.
"""

from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from .._archive import check_unchanged, read_archive, write_archive
from .._checks import InputError
from ..atoms.data.dataset import file_hash
from ..model.build import skeleton
from ..model.potential import AbstractPotential
from .bundled import model_file
from .migrations import FORMAT, migrated

PREFIX = "qiff "
"""Begins the name of every format; its number follows."""

_UNCHECKED = 2  # the last format without a checksum

Tree = TypeVar("Tree")


def save(
    potential: AbstractPotential, path: Path | str, notes: dict[str, Any] | None = None
) -> None:
    """Write a potential to a model file, atomically.

    Args:
        potential: structure and weights.
        path: the file, usually named `.qiff`.
        notes: anything JSON can hold, for instance how the potential was trained.
    """
    write_arrays(Path(path), potential, {"model": potential.config(), "notes": notes or {}})


def load(path: Path | str) -> AbstractPotential:
    """Read a potential from a model file of this or an older format.

    Args:
        path: the file, or the name of a model that comes with the package, see `bundled.BUNDLED`.

    Returns:
        The potential, in the precision in which it was saved.

    Raises:
        InputError: the file is missing, corrupt, of another format or not a model; it holds
            pickled objects; an array is unknown, missing, mis-shaped or not finite.
    """
    path = model_file(path)
    header, arrays = read_arrays(path, oldest=1)
    try:
        model, arrays = migrated(header["format"], header["model"], arrays)
        structure = skeleton(model)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: does not describe a model this version knows ({error})."
        ) from None
    if 2 * sum(array.dtype == np.float32 for array in arrays.values()) > len(arrays):
        structure = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, np.float32), structure)
    return fill(structure, arrays, path)


def read_notes(path: Path | str) -> dict[str, Any]:
    """The notes saved with a model, of a file or of the package."""
    header, _ = read_arrays(model_file(path), oldest=1)
    return header.get("notes", {})


def model_hash(model: Path | str) -> str:
    """SHA-256 of a model, of a file or of the package."""
    return file_hash(str(model_file(model)))


def write_arrays(path: Path, tree: Any, header: dict[str, Any]) -> None:
    """Write the arrays of a tree and a header, atomically."""
    arrays = {name: np.asarray(leaf) for name, leaf in _by_path(tree).items()}
    write_archive(path, {"format": f"{PREFIX}{FORMAT}", **header}, arrays)


def read_arrays(path: Path, oldest: int = FORMAT) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a file that `write_arrays` wrote; `format` is a number in the header.

    Args:
        path: the file.
        oldest: number of the oldest format to accept.

    Raises:
        InputError: there is no such file, it is not one of these, its format is too old or new, or
            it has been changed.
    """
    archive = read_archive(path)
    header = archive.header
    try:
        header["format"] = int(header["format"].removeprefix(PREFIX))
    except (AttributeError, KeyError, ValueError) as error:
        raise InputError(f"{path}: is not a file of qiff: its header names no format.") from error
    if not oldest <= header["format"] <= FORMAT:
        raise InputError(
            f"{path}: is of format {header['format']}, but this version of qiff reads "
            f"{oldest if oldest == FORMAT else f'{oldest} to {FORMAT}'}; use the version that "
            "wrote it, or train again."
        )
    check_unchanged(path, archive, required=header["format"] > _UNCHECKED)
    return header, archive.arrays


def fill(like: Tree, arrays: dict[str, np.ndarray], path: Path) -> Tree:
    """A tree of the structure of `like` with these arrays as leaves.

    Raises:
        InputError: an array is unknown, missing, of another type or shape, or not finite; it is
            named.
    """
    wanted = _by_path(like)
    for name in wanted.keys() - arrays.keys():
        raise InputError(f"{path}: array `{name}` is missing.")
    for name in arrays.keys() - wanted.keys():
        raise InputError(f"{path}: array `{name}` is unknown.")
    for name, leaf in wanted.items():
        found = arrays[name]
        if found.shape != leaf.shape or found.dtype != leaf.dtype:
            raise InputError(
                f"{path}: array `{name}` must be {leaf.dtype.name} of shape {leaf.shape}, "
                f"but is {found.dtype.name} of shape {found.shape}."
            )
        if not np.all(np.isfinite(found)):
            raise InputError(f"{path}: array `{name}` must be finite, but has NaN or infinity.")
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in wanted])


def _by_path(tree: Any) -> dict[str, Any]:
    """Arrays, or their shapes, by path."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
