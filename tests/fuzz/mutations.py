"""Changes of files: of their bytes, of their words, of the values in a JSON header."""

import copy
import functools
import gzip
import io
import json
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import numpy as np

from qiff._archive import packed

VALUES: tuple[Any, ...] = (
    *(0, -1, 1, 2, 3, 100, 10**6, 10**9, 2**31, 2**63, 10**30, -(2**63)),
    *(0.5, -0.5, 1e308, 1e-308, float("nan"), float("inf"), True, False, None),
    *("", "x", "é\0\n", "H", "auto", "scale_shift", "sum", "local", "central", "triatomic"),
    *([], {}, [[]], [None], ["H"] * 9, ["C", *["H"] * 8], {"kind": "sum", "potentials": []}),
)
WORDS = (
    *("0", "-1", "1e9", "1000000000", "nan", "inf", "-inf", "1e400", "true", "''", '"x"', "[]"),
    *("{}", "[[[[", "=", "\0", "é", "9" * 400, "1_0", "0x10", "H", "Xx", "energy", "bundled:water"),
)
TYPES = ("float16", "float32", ">f8", "longdouble", "int8", "int64", "bool", "complex64", "U3")


def of_bytes(rng: Random, content: bytes) -> bytes:
    """Bits, bytes and pieces changed, removed, repeated or added."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at = rng.randrange(len(changed) + 1)
        end = min(len(changed), at + rng.choice((1, 2, 8, 64)))
        operation = rng.randrange(6)
        if operation == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif operation == 1 and at < len(changed):
            changed[at] = rng.choice((0, 255, 127, rng.randrange(256)))
        elif operation == 2:
            del changed[at:end]
        elif operation == 3:
            changed[at:at] = changed[at:end] * rng.choice((1, 2, 50))
        elif operation == 4:
            changed[at:at] = rng.randbytes(rng.choice((1, 4, 40)))
        elif rng.random() < 0.3:
            del changed[at:]
    return bytes(changed)


def of_words(rng: Random, content: bytes) -> bytes:
    """Words and lines of a text replaced, removed, repeated or exchanged."""
    text = content.decode("utf-8", "surrogateescape")
    for _ in range(rng.choice((1, 1, 2, 4))):
        words = list(re.finditer(r'[\w.+-]+|"[^"]*"|\S', text))
        if not words:
            break
        one, other = rng.choice(words), rng.choice(words)
        new = rng.choice((rng.choice(WORDS), other[0], "", f"{one[0]} {one[0]}", f"{one[0]}\n"))
        text = text[: one.start()] + new + text[one.end() :]
        if rng.random() < 0.2:
            lines = text.splitlines(keepends=True)
            lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
            text = "".join(lines)
    return text.encode("utf-8", "surrogateescape")


def of_json(rng: Random, value: Any) -> Any:
    """One value somewhere in a JSON value replaced, removed, repeated or renamed."""
    value = copy.deepcopy(value)
    node, places = value, []
    while isinstance(node, (dict, list)) and node:
        key = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
        places.append((node, key))
        node = node[key]
    if not places:
        return rng.choice(VALUES)
    holder, key = rng.choice(places)
    operation = rng.randrange(8)
    if operation == 0:
        del holder[key]
    elif operation == 1 and isinstance(holder, list):
        holder += [holder[key]] * rng.choice((1, 5, 300))
    elif operation == 2 and isinstance(holder, dict):
        holder[rng.choice((f"{key}x", "kind", "n_layers", "settings", ""))] = holder.pop(key)
    elif operation == 3:
        for _ in range(rng.choice((1, 3, 120, 300))):
            holder[key] = {"kind": "sum", "potentials": [holder[key]]}
    else:
        holder[key] = copy.deepcopy(rng.choice(VALUES))
    return value


def of_file(rng: Random, content: bytes) -> bytes:
    """A text, a compressed text, an archive or any other file changed by its kind."""
    if content.startswith(b"\x1f\x8b") and rng.random() < 0.8:
        return gzip.compress(of_file(rng, gzip.decompress(content)), 1, mtime=0)
    if content.startswith(b"PK") and rng.random() < 0.8:
        return zipped(of_members(rng, content))
    is_text = b"\0" not in content and not content.startswith((b"\x1f\x8b", b"PK", b"\x93NUMPY"))
    return (of_words if is_text and rng.random() < 0.8 else of_bytes)(rng, content)


def of_members(rng: Random, content: bytes) -> dict[str, bytes]:
    """The files of a zip archive, one changed, removed, renamed or exchanged."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    one, other = rng.choice(list(members)), rng.choice(list(members))
    operation = rng.randrange(8)
    if operation == 0:
        del members[one]
    elif operation == 1:
        members[rng.choice((f"{one}x", f"x{one}", "nopbc", "set.002/energy.npy"))] = members[one]
    elif operation == 2:
        members[one] = members[other]
    elif operation == 3 and one.endswith(".npy") and b"'|O'" not in members[one][:128]:
        arrays = {"": np.load(io.BytesIO(members[one]), allow_pickle=False)}
        _change_member(rng, arrays, "")
        stream = io.BytesIO()
        np.save(stream, next(iter(arrays.values()), np.zeros(0)))
        members[one] = stream.getvalue()
    else:
        members[one] = of_file(rng, members[one])
    return members


def zipped(members: Mapping[str, bytes], comment: bytes = b"") -> bytes:
    """An uncompressed zip archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.comment = comment
        for name, member in members.items():
            archive.writestr(zipfile.ZipInfo(name), member)
    return stream.getvalue()


def of_archive(rng: Random, content: bytes) -> tuple[bytes, bool]:
    """Header or arrays of an archive changed; whether its checksum was written again."""
    members = dict(_members(content))
    if rng.random() < 0.6:
        header = of_json(rng, json.loads(str(members["header"])))
        members["header"] = np.array(json.dumps(header))
    else:
        name = rng.choice(list(members))
        _change_member(rng, members, name)
    if rng.random() < 0.6 and "header" in members:
        members.pop("checksum", None)
        return _checked(members), True
    stream = io.BytesIO()
    save: Callable[..., None] = rng.choice((np.savez, np.savez, np.savez, np.savez_compressed))
    save(stream, **members)
    if rng.random() < 0.1:
        with warnings.catch_warnings(), zipfile.ZipFile(stream, "a") as archive:
            warnings.simplefilter("ignore")  # of a name that is there already
            archive.writestr(rng.choice([*archive.namelist(), "x.npy"]), b"x")
    return stream.getvalue(), False


@functools.lru_cache(maxsize=64)
def _members(content: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _change_member(rng: Random, members: dict[str, np.ndarray], name: str) -> None:
    array = members.pop(name)
    operation = rng.randrange(6)
    if operation == 0:
        members[name] = array.ravel()[: rng.randrange(array.size + 1)]
    elif operation == 1:
        members[f"{name}x"] = array
    elif operation == 2 and array.dtype.kind == "f":
        members[name] = array.astype(rng.choice(TYPES))
    elif operation == 3 and array.dtype.kind == "f" and array.size:
        members[name] = array.copy()
        members[name].flat[rng.randrange(array.size)] = rng.choice((np.nan, np.inf, 1e300, -5.0))
    elif operation == 4:
        members[name] = np.stack([array] * rng.choice((1, 2)))
    elif operation == 5:
        members[name] = np.array(rng.choice(("", "{}", "[1]", '{"format": 3}', "[" * 5000)))


def _checked(members: dict[str, np.ndarray]) -> bytes:
    """An archive with a checksum that agrees."""
    text = str(members.pop("header"))
    try:
        header = json.loads(text)
    except (RecursionError, ValueError):
        header = {}
    return packed(header if isinstance(header, dict) else {"x": header}, members)
