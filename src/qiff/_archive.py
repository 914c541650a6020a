"""Archives: a JSON header and arrays in one uncompressed `.npz`, with a checksum over both."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ._checks import InputError, check_file
from ._files import atomic_write

_HEADER, _CHECKSUM = "header", "checksum"
_END = b"PK\x05\x06"  # begins the last 22 bytes of a zip archive without a comment


class Archive(NamedTuple):
    """What is in an archive, and whether it agrees with its checksum; None if it has none."""

    header: dict[str, Any]
    arrays: dict[str, np.ndarray]
    agrees: bool | None


def packed(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """The content of an archive with a header and arrays.

    Args:
        header: anything JSON can hold.
        arrays: by name, other than `header` and `checksum`.
    """
    members = {**arrays, _HEADER: np.array(json.dumps(dict(header)))}
    members[_CHECKSUM] = np.array(_digest(members))
    content = io.BytesIO()
    np.savez(content, **members)  # pyright: ignore[reportArgumentType]
    return content.getvalue()


def write_archive(path: Path, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write a header and arrays as `packed` has them, atomically."""
    atomic_write(path, packed(header, arrays))


def read_archive(path: Path) -> Archive:
    """Header and arrays of a file that `write_archive` wrote; arrays have the order of bytes of
    this machine.

    Nothing is unpacked: members must be stored as they are, so that none is larger than the file.

    Args:
        path: the file.

    Raises:
        InputError: there is no such file, or it is not one of these.
    """
    check_file(path)
    try:
        members = _members(path)
        found = members.pop(_CHECKSUM, None)
        agrees = None if found is None else str(found) == _digest(members)
        header = json.loads(str(members.pop(_HEADER)))
        if not isinstance(header, dict):
            raise ValueError("the header is no table")
    except Exception as error:  # zipfile, numpy and json raise many kinds
        raise InputError(
            f"{path}: is not a file of qiff: corrupt, cut short, packed by another program, or "
            "holding pickled objects; copy it again or start anew."
        ) from error
    return Archive(header, members, agrees)


def check_unchanged(path: Path, archive: Archive, *, required: bool) -> None:
    """Raise InputError if an archive does not agree with its checksum, or has none.

    Args:
        path: the file.
        archive: what was read from it.
        required: whether it must have a checksum.
    """
    if archive.agrees or (archive.agrees is None and not required):
        return
    raise InputError(
        f"{path}: does not agree with its checksum: it is damaged or was edited. Copy it again, or "
        "accept an edit by hand with qiff.rewrite_checksum(path)."
    )


def rewrite_checksum(path: Path | str) -> None:
    """Accept what was changed by hand in a model file or in the state of a run or simulation.

    The header and the arrays of such a file can be changed with numpy alone:
    `members = dict(np.load(path))`, then `np.savez(open(path, "wb"), **members)`.

    Args:
        path: the file, of the format of this version.

    Raises:
        InputError: there is no such file, or it is not one of these.
    """
    header, arrays, _ = read_archive(Path(path))
    write_archive(Path(path), header, arrays)


def _members(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an archive by name."""
    size = path.stat().st_size
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        names = [info.filename.removesuffix(".npy") for info in infos]
        if len(set(names)) < len(names):
            raise ValueError("two members have one name")
        if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
            raise ValueError("a member is compressed")
        if sum(info.file_size for info in infos) > size:
            raise ValueError("members overlap")
        file.seek(size - 22)
        if file.read(4) != _END or min(info.header_offset for info in infos) != 0:
            raise ValueError("there are bytes before or after the archive")
        return {name: _array(archive.read(info)) for name, info in zip(names, infos, strict=True)}


def _array(content: bytes) -> np.ndarray:
    """The array of a member, which must hold nothing else."""
    stream = io.BytesIO(content)
    array = np.lib.format.read_array(stream, allow_pickle=False)
    if stream.read(1):
        raise ValueError("there are bytes after an array")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _digest(members: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of all members, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(members):
        array = np.asarray(members[name])
        digest.update(repr((name, array.dtype.str, array.shape)).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
