"""Writing files so that a reader never sees half of one, by one process; records as JSON."""

import json
import os
import socket
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from ._checks import InputError


class _Lock(NamedTuple):
    """A lock of this process, for every context in which it is needed.

    Args:
        file: open as long as the lock is held; None where the file system has no locks.
        made: folders that were made for it.
        users: one for each context.
    """

    file: IO[str] | None
    made: list[Path]
    users: list[None]


_held: dict[Path, _Lock] = {}


def user_path(path: str) -> Path:
    """A path in which `~` and `~name` are folders of users, where there are such users."""
    return Path(os.path.expanduser(path))


def atomic_write(path: Path, content: str | bytes) -> None:
    """Write `content` to `path` by way of a temporary file beside it; parents are made.

    What a process that was killed has left of the temporary file is used by the next one.

    Raises:
        OSError: the folder cannot be written or the disk is full; `path` is then as before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _temporary(path) as (temporary, file):
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
    except OSError as error:
        error.filename = str(path)
        raise


@contextmanager
def _temporary(path: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """A new file beside `path` that nobody else writes; removed unless it is renamed."""
    temporary = path.with_name(f".{path.name}.tmp")
    file = _alone(temporary)
    if not file:
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        file = temporary.open("wb")
    try:
        yield temporary, file
    finally:
        if _is_at(file, temporary):
            temporary.unlink()
        file.close()


def _alone(path: Path) -> IO[bytes] | None:
    """An empty file, once nobody else writes it; None where files cannot be locked."""
    try:
        import fcntl

        file = path.open("ab")
    except (ImportError, PermissionError):  # or another user has left it
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        if _is_at(file, path):
            file.truncate(0)
            return file
    except OSError:  # no locks here
        with suppress(OSError):
            path.unlink()
        file.close()
        return None
    except BaseException:
        file.close()
        raise
    file.close()  # who wrote it has renamed or removed it
    return _alone(path)


def save_record(path: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Write a JSON object, see `read_record`; returns it."""
    atomic_write(path, json.dumps(record, indent=2) + "\n")
    return dict(record)


def read_record(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is no such file or it holds something else."""
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, RecursionError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """A context in which no other process writes a file; of a folder the file to begin with.

    The system releases the lock when the process ends, however it ends. Contexts of one process do
    not exclude each other. Where the file system has no locks there is none.

    Args:
        path: of the file, which need not exist. The lock is a hidden file beside it, which names
            this process.

    Raises:
        InputError: another process holds the lock; it is named.
    """
    lock = path.parent.resolve() / f".{path.name}.lock"
    made = [folder for folder in lock.parents if not folder.exists()]
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        if lock not in _held:
            _held[lock] = _Lock(_acquired(lock, path), made, [])
        _held[lock].users.append(None)
        yield
    finally:
        _leave(lock)


def _acquired(lock: Path, path: Path) -> IO[str] | None:
    """The open lock file with this process in it; None where files cannot be locked."""
    try:
        import fcntl

        file = lock.open("a+", encoding="utf-8")
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_at(file, lock):  # the process before has just removed it
            file.close()
            return _acquired(lock, path)
        file.truncate(0)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        file.write(f"process {os.getpid()} on {socket.gethostname()} since {since}")
        file.flush()
    except BlockingIOError:
        file.seek(0)
        owner = file.read(200) or "another process"
        file.close()
        raise InputError(
            f"{path}: is in use by {owner}; wait until it ends, end it, or choose another place."
        ) from None
    except OSError:  # no locks here, or a full disk; what is written will tell
        with suppress(OSError):
            file.close()
        return None
    return file


def _is_at(file: IO[Any], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:  # it has been removed
        return False


def _leave(lock: Path) -> None:
    """End a context; the last one removes the lock file and releases the lock."""
    if lock not in _held:
        return
    file, made, users = _held[lock]
    if users:
        users.pop()
    if users:
        return
    del _held[lock]
    if file:
        if _is_at(file, lock):
            with suppress(OSError):
                lock.unlink()
        file.close()
    for folder in made:
        with suppress(OSError):  # it holds something
            folder.rmdir()


def hold(owner: object, path: Path) -> None:
    """Keep a file locked, see `locked`, as long as `owner` exists.

    Raises:
        InputError: another process holds the lock.
    """
    stack = ExitStack()
    stack.enter_context(locked(path))
    weakref.finalize(owner, stack.close)
