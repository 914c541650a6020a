"""Files: a model is one archive of a JSON header and arrays keyed by path, read by numpy alone.

The archive is an uncompressed `.npz`: `header` is a string, every other member an array named
by its path in the potential, for instance `potential.circuit.weights`. Nothing in it is code.
"""

import io
import json
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from .._checks import InputError, check_file
from .._files import atomic_write
from ..atoms.data.dataset import file_hash
from ..model.build import skeleton
from ..model.potential import AbstractPotential
from .migrations import FORMAT, migrated

PREFIX = "qiff "
"""Begins the name of every format; its number follows."""

_FOLDER = Path(str(files("qiff.model"))) / "bundled"
BUNDLED = tuple(sorted(path.stem for path in _FOLDER.glob("*.qiff")))
"""Names of the models that come with the package."""

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
        path: the file, or the name of a model that comes with the package, see `BUNDLED`.

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
    except (InputError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: does not describe a model this version knows ({error})."
        ) from None
    return fill(structure, arrays, path)


def read_notes(path: Path | str) -> dict[str, Any]:
    """The notes saved with a model, of a file or of the package."""
    header, _ = read_arrays(model_file(path), oldest=1)
    return header.get("notes", {})


def model_file(model: Path | str) -> Path:
    """The file of a model: where there is none of this path, it may come with the package."""
    path = Path(model)
    if path.suffix or path.exists() or path.name != str(model):
        return path
    if path.name not in BUNDLED:
        raise InputError(
            f"{model}: no such file, nor a model that comes with qiff: {', '.join(BUNDLED)}."
        )
    return _FOLDER / f"{model}.qiff"


def model_hash(model: Path | str) -> str:
    """SHA-256 of a model, of a file or of the package."""
    return file_hash(str(model_file(model)))


def write_arrays(path: Path, tree: Any, header: dict[str, Any]) -> None:
    """Write the arrays of a tree and a header, atomically."""
    content = io.BytesIO()
    members = {name: np.asarray(leaf) for name, leaf in _by_path(tree).items()}
    members["header"] = np.array(json.dumps({"format": f"{PREFIX}{FORMAT}", **header}))
    np.savez(content, **members)  # pyright: ignore[reportArgumentType]
    atomic_write(path, content.getvalue())


def read_arrays(path: Path, oldest: int = FORMAT) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a file that `write_arrays` wrote; `format` is a number in the header.

    Args:
        path: the file.
        oldest: number of the oldest format to accept.

    Raises:
        InputError: there is no such file, it is not one of these, or its format is too old or new.
    """
    check_file(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(str(arrays.pop("header")))
        header["format"] = int(header["format"].removeprefix(PREFIX))
    except Exception as error:  # zipfile, zlib, numpy and json raise many kinds
        raise InputError(
            f"{path}: is not a file of qiff: corrupt, cut short, or holding pickled objects; "
            "train or copy it again."
        ) from error
    if not oldest <= header["format"] <= FORMAT:
        raise InputError(
            f"{path}: is of format {header['format']}, but this version of qiff reads "
            f"{oldest if oldest == FORMAT else f'{oldest} to {FORMAT}'}; use the version that "
            "wrote it, or train again."
        )
    return header, arrays


def fill(like: Tree, arrays: dict[str, np.ndarray], path: Path) -> Tree:
    """A tree of the structure of `like` with these arrays as leaves.

    Raises:
        InputError: an array is unknown, missing, mis-shaped or not finite; it is named.
    """
    wanted = _by_path(like)
    for name in wanted.keys() - arrays.keys():
        raise InputError(f"{path}: array `{name}` is missing.")
    for name in arrays.keys() - wanted.keys():
        raise InputError(f"{path}: array `{name}` is unknown.")
    for name, leaf in wanted.items():
        found = arrays[name]
        if found.shape != leaf.shape or found.dtype.kind != leaf.dtype.kind:
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
