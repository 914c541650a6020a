"""Bundled models: their names and their files."""

from importlib.resources import files
from pathlib import Path

from .._checks import InputError

_FOLDER = Path(str(files("qiff.model"))) / "bundled"
BUNDLED = tuple(sorted(path.stem for path in _FOLDER.glob("*.qiff")))
"""Names of the models that come with the package."""


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
