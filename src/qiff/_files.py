"""Writing files so that a reader never sees half of one."""

import os
from pathlib import Path


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
