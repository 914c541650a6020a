"""Run configs: one TOML file per run, read into frozen records; a mistake names its place."""

import dataclasses
import re
import tomllib
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import tomli_w
from ase.data import chemical_symbols

from .._checks import InputError, check_at_least, check_file, check_known, check_seed, check_size
from .._records import Record, dotted, from_table
from ..atoms.data.source import Source
from ..model.build import skeleton
from ..training.settings import Training

DTYPES = ("float64", "float32")


@dataclass(frozen=True)
class Data(Source):
    """`Source`, and how its frames are split: below 1 a fraction, from 1 on a number.

    Data with a test part of their own (`rmd17:ethanol`) are tested on that part alone, and so are
    those with one of the following.

    Args:
        test_path: another file, of frames to test on; empty if there is none.
        test_where: frames of `path` to test on, as `key=value,value`: those whose value under this
            key in `info`, such as `split=data_3/000`, is one of these; empty for none.
        group_by: key in `info` of the frames, such as `smiles`: those with the same value are in
            one part; empty for none.
        reference_energies: energies in eV of isolated atoms (E0s) by chemical symbol, for those
            that are not frames of type `IsolatedAtom` in the data.
        in_memory: GB up to which the arrays that training computes with (positions, neighbours,
            labels) are kept in memory, for each part; larger ones are kept in files in the run
            folder while it trains, and read batch by batch.
    """

    train: float = 0.8
    valid: float = 0.1
    test: float = 0.1
    test_path: str = ""
    test_where: str = ""
    group_by: str = ""
    reference_energies: Mapping[str, float] = field(default_factory=dict)
    in_memory: float = 4.0

    def __post_init__(self):
        super().__post_init__()
        check_at_least("in_memory", self.in_memory, 0)
        for symbol in self.reference_energies:
            check_known("`reference_energies`: element", symbol, chemical_symbols[1:])


@dataclass(frozen=True)
class Run:
    """Everything that decides a run.

    Args:
        data: where the labelled frames come from and how they are split.
        model: `kind` and arguments of the potential, see `qiff.model.build`.
        train: how it is fitted.
        output: the run folder.
        seed: of the split, the initial weights and the order of the frames.
        members: above 1 an ensemble of so many potentials, which start from `seed`, `seed` + 1, …
        dtype: precision of the weights and of all that is computed with them.
        start: a model file of the same structure, and of as many members, to fine-tune; empty to
            start at random.
        provenance: versions and data hash, written by a run and ignored when read.

    Raises:
        InputError: the precision is unknown, a seed or a number of members out of its range, or
            the output is empty.
    """

    data: Data
    model: Mapping[str, Any]
    train: Training = field(default_factory=Training)
    output: str = "runs/run"
    seed: int = 0
    members: int = 1
    dtype: str = "float64"
    start: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        check_known("`dtype`", self.dtype, DTYPES)
        check_seed(self.seed)
        check_size("members", self.members, 1)
        check_seed(self.seed + self.members - 1)
        if not self.output.strip():
            raise InputError("`output` must name a folder, but is empty.")


def read_config(path: Path, overrides: Sequence[str] = ()) -> Run:
    """Read a TOML file and apply overrides such as `train.steps=100`.

    Args:
        path: of the TOML file.
        overrides: values that replace those of the file, as `key=value` with dots for tables.

    Returns:
        The config, every default filled in.

    Raises:
        InputError: with file, line and key: a key is unknown or missing, a value has the wrong
            type or is out of range.
    """
    run = read_settings(Run, path, overrides)
    try:
        skeleton(run.model)
    except InputError as error:
        raise InputError(f"{path}: [model] {error}") from None
    return run


def read_settings(record_type: type[Record], path: Path, overrides: Sequence[str] = ()) -> Record:
    """A record from a TOML file and overrides such as `train.steps=100`.

    Raises:
        InputError: with file, line and key: a key is unknown or missing, a value has the wrong
            type or is out of range.
    """
    check_file(path)
    try:
        return parse_settings(record_type, path.read_text("utf-8"), str(path), overrides)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not valid TOML: {error}.") from None


def parse_settings(
    record_type: type[Record], text: str, name: str, overrides: Sequence[str] = ()
) -> Record:
    """A record from the text of a TOML file called `name` in errors; see `read_settings`."""
    try:
        table = tomllib.loads(text)
    except (RecursionError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{name}: is not valid TOML: {error}.") from None
    for override in overrides:
        override_table(table, override, "--set")
    given = {override.partition("=")[0].strip() for override in overrides}
    return from_table(record_type, table, partial(_where, name, text, given))


def config_text(settings: Any) -> str:
    """The TOML text of a record, every default spelled out."""
    return tomli_w.dumps(_plain(dataclasses.asdict(settings)))


def _where(path: str, text: str, overridden: Container[str], keys: tuple[str, ...]) -> str:
    """File, line and dotted key of a setting in a TOML file; or the option that overrides it."""
    if not keys:
        return path
    if any(".".join(keys[:n]) in overridden for n in range(1, len(keys) + 1)):
        return f"--set: {dotted(keys)}"
    *tables, key = keys
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[([^\]]+)\]", line):
            section = header[1].strip()
        if section == ".".join(tables) and re.match(rf"\s*{re.escape(key)}\s*=", line):
            return f"{path}:{number}: {dotted(keys)}"
    return f"{path}: {dotted(keys)}"


def override_table(table: dict[str, Any], override: str, option: str) -> None:
    """Put `a.b=value` into nested tables; the value is TOML, or else a bare string.

    Raises:
        InputError: naming the option that gave it: it is not of this form.
    """
    dotted, equals, text = override.partition("=")
    if not equals or not dotted.strip():
        raise InputError(f"`{option}` needs key=value, but got `{override}`.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *tables, key = dotted.strip().split(".")
    for name in tables:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise InputError(f"`{option} {override}`: `{name}` is not a table.")
    table[key] = value


def _plain(value: Any) -> Any:
    """Tuples as lists, for TOML."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
