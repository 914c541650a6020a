"""Writing files so that a reader never sees half of one; records as JSON."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def user_path(path: str) -> Path:
    """A path in which `~` and `~name` are folders of users, where there are such users."""
    return Path(os.path.expanduser(path))


def atomic_write(path: Path, content: str | bytes) -> None:
    """Write `content` to `path` by way of a temporary file beside it; parents are made.

    Raises:
        OSError: the folder cannot be written or the disk is full; `path` is then as before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)
        raise


def save_record(path: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Write a JSON object, see `read_record`; returns it."""
    atomic_write(path, json.dumps(record, indent=2) + "\n")
    return dict(record)


def read_record(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is no such file or it holds something else."""
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, RecursionError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
