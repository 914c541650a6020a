"""Fetch published data sets: resumable, checked against the published checksum, unpacked safely.

A new data set is one `Archive` in `ARCHIVES`.
"""

import hashlib
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from ..._checks import InputError
from ..._files import locked
from . import rmd17

CHUNK = 1 << 18
PATIENCE = 60  # s without a byte before a server counts as gone

Show = Callable[[int, str], None]
"""Told how many bytes of the archive are through, and what is done with them."""


@dataclass(frozen=True)
class Archive:
    """A published archive that unpacks into one folder.

    Args:
        url, mirror: where it is.
        file: its name.
        folder: what it unpacks into.
        size: in bytes.
        sha256: of the archive.
        is_complete: whether a folder already holds the data set.
    """

    url: str
    mirror: str
    file: str
    folder: str
    size: int
    sha256: str
    is_complete: Callable[[Path], bool]


ARCHIVES: dict[str, Archive] = {
    "rmd17": Archive(
        url="https://ndownloader.figshare.com/files/23950376",
        mirror="https://archive.materialscloud.org/records/pfffs-fff86/files/rmd17.tar.bz2",
        file="rmd17.tar.bz2",
        folder="rmd17",
        size=1_066_301_513,
        sha256="cddeea2ec2c4b22a9de16a9a65a3eeedac5b29da9c99c20bbff0153912bf922b",
        is_complete=rmd17.is_complete,
    ),
}
"""Data sets by name. rMD17 is file 23950376 of figshare article 12672038, version 3 (CC0).

Its size, MD5 (cb1a927628d96f2e966025da4fb63d18) and SHA-256 are those that public repositories
record for this file: the MD5 stands in three of them, the SHA-256 in one and its first twelve
digits in the package load-atoms. They agree with each other; they have not been compared with a
download made for qiff.
"""


def fetch(name: str, folder: Path, url: str, show: Show) -> bool:
    """Download, check and unpack a data set into `folder`; what is done is kept.

    The download grows in a `.part` file from which the next call resumes; the data appear at
    once, when all of them are there. An archive that lies in `folder` is taken instead of a
    download. It is removed once unpacked.

    Args:
        name: a key of `ARCHIVES`.
        folder: where the folder of the data set goes.
        url: another address of the same archive, or empty.
        show: shows progress.

    Returns:
        False if the data set was there already.

    Raises:
        InputError: the server is not reached, refuses, sends something else or stops; the archive
            is not the published one; another folder is in the way, or another process at work.
        OSError: the folder cannot be written or the disk is full.
    """
    archive = folder / ARCHIVES[name].file
    with locked(archive):
        if new := not ARCHIVES[name].is_complete(folder):
            _fetch(ARCHIVES[name], folder, url, show)
        archive.unlink(missing_ok=True)
        shutil.rmtree(_unpacking(archive), ignore_errors=True)
    return new


def _fetch(published: Archive, folder: Path, url: str, show: Show) -> None:
    """See `fetch`."""
    target, archive = folder / published.folder, folder / published.file
    if target.exists():
        raise InputError(
            f"{target}: is in the way and not the whole data set; move it away, or choose another "
            "folder (--to)."
        )
    part = archive.with_name(archive.name + ".part")
    if not archive.exists():
        _download(url or published.url, part, published, show)
        if not _is_published(part, published, show):
            part.unlink()
            raise InputError(
                f"{url or published.url}: sent something else than the published archive (its "
                "SHA-256 differs), which was deleted; run the same command again, or name a "
                f"mirror (--url {published.mirror})."
            )
        part.replace(archive)
    elif not _is_published(archive, published, show):
        raise InputError(
            f"{archive}: is not the published archive (its SHA-256 differs); delete it and run "
            "the same command again."
        )
    _unpack(archive, published, show)


def _download(url: str, part: Path, published: Archive, show: Show) -> None:
    """Let `part` grow to the size of the archive."""
    done = part.stat().st_size if part.exists() else 0
    if done == published.size:
        return
    with _answer(url, done if done < published.size else 0, published) as response:
        part.parent.mkdir(parents=True, exist_ok=True)
        done = _first_byte(response)
        with part.open("ab" if done else "wb") as file:
            for piece in _pieces(response, url):
                _write(file, piece, part)
                done += len(piece)
                show(done, "downloading")
    if done < published.size:
        raise InputError(
            f"{url}: stopped after {done} of {published.size} bytes; repeat the command to resume."
        )


def _answer(url: str, start: int, published: Archive) -> HTTPResponse:
    """What a server answers when asked for the archive from byte `start` on.

    Raises:
        InputError: naming address, reason and remedy.
    """
    if not url.startswith(("https://", "http://")):
        raise InputError(f"`{url}` must be an address that begins with https:// or http://.")
    remedy = (
        "check the network and run the same command again, or name a mirror "
        f"(--url {published.mirror}), or put {published.file} into the folder yourself."
    )
    headers = {"User-Agent": "qiff"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response = urlopen(Request(url, headers=headers), timeout=PATIENCE)
    except HTTPError as error:
        raise InputError(f"{url}: answered {error.code} ({error.reason}); {remedy}") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        reason = getattr(reason, "strerror", None) or reason
        raise InputError(f"{url}: cannot be reached ({reason}); {remedy}") from None
    first, media = _first_byte(response), response.headers.get_content_type()
    fits = first in (0, start) and response.length in (None, published.size - first)
    if response.status not in (200, 206) or media == "text/html" or not fits:
        response.close()
        raise InputError(
            f"{url}: offers something else than the published archive of {published.size} bytes "
            f"({response.status}, {media}, {response.headers['Content-Length']} bytes from byte "
            f"{first} on); {remedy}"
        )
    return response


def _first_byte(response: HTTPResponse) -> int:
    """Where an answer begins: a server that cannot resume starts over."""
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found and response.status == 206 else 0


def _pieces(response: HTTPResponse, url: str) -> Iterator[bytes]:
    """What a server sends, as it comes."""
    try:
        while piece := response.read1(CHUNK):
            yield piece
    except (OSError, HTTPException) as error:
        raise InputError(f"{url}: stopped ({error}); repeat the command to resume.") from None


def _write(file: IO[bytes], piece: bytes, path: Path) -> None:
    """Write and flush, so that a kill loses nothing."""
    try:
        file.write(piece)
        file.flush()
    except OSError as error:
        error.filename = str(path)
        raise


def _is_published(path: Path, published: Archive, show: Show) -> bool:
    """Whether a file is, bit for bit, the archive that was published."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
            done += len(piece)
            show(done, "checking")
    return digest.hexdigest() == published.sha256


def _unpack(archive: Path, published: Archive, show: Show) -> None:
    """Unpack beside the archive, under another name until all is there.

    Raises:
        InputError: the archive is damaged, reaches outside its folder or lacks files.
    """
    temporary = _unpacking(archive)
    shutil.rmtree(temporary, ignore_errors=True)  # a process was killed
    temporary.mkdir()
    try:
        with archive.open("rb") as file, tarfile.open(fileobj=file, mode="r|bz2") as members:
            show(0, "unpacking")
            for member in members:
                members.extract(member, temporary, filter="data")
                show(file.tell(), "unpacking")
        if not published.is_complete(temporary):
            raise InputError(f"{archive}: lacks files of the data set; delete it.")
        (temporary / published.folder).rename(archive.with_name(published.folder))
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{archive}: cannot be unpacked ({error}); delete it.") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _unpacking(archive: Path) -> Path:
    """Where an archive is unpacked, until all is there."""
    return archive.with_name(f".{archive.name}.unpacking")
