"""What is given changed input, each a function that may raise `InputError` and nothing else."""

import contextlib
import functools
import io
import json
import os
import shlex
import tempfile
import traceback
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from unittest import mock

import jax
import numpy as np

import qiff
from qiff import InputError
from qiff.atoms.data.dataset import write
from qiff.cli import main
from qiff.hardware.delivery import Cached
from qiff.hardware.executor import Exact
from qiff.model.build import skeleton
from qiff.model.potential import AbstractPotential
from qiff.report.tables import summary
from qiff.run.config import read_config
from qiff.run.resume import progress
from qiff.run.templates import RUN_TEMPLATES, template
from qiff.training.checkpoint import fill, read_arrays, write_arrays
from qiff.training.fit import FitState, initial_state
from qiff.training.settings import Training

from ..laws.examples import POTENTIAL_EXAMPLES
from ..rmd17_folders import write_archive, write_parts
from ..test_files import READ
from . import mutations

FORMATS = Path(__file__).parents[1] / "formats"


class DifferentError(AssertionError):
    """A changed file was read without complaint and means something else."""


class Target(NamedTuple):
    """One kind of input.

    Args:
        seeds: makes the inputs that are changed, by file name.
        changed: another input from one of them, and whether it may mean something else.
        run: reads the input in a file; `original` is what it was made from.
    """

    seeds: Callable[[Path], Mapping[str, bytes]]
    changed: Callable[[Random, bytes], tuple[bytes, bool]]
    run: Callable[[Path, bytes, bool], None]


def _text(rng: Random, content: bytes) -> tuple[bytes, bool]:
    change = mutations.of_words if rng.random() < 0.8 else mutations.of_bytes
    return change(rng, content), True


def _either(rng: Random, content: bytes) -> tuple[bytes, bool]:
    return (mutations.of_bytes if rng.random() < 0.5 else mutations.of_words)(rng, content), True


def _archive(rng: Random, content: bytes) -> tuple[bytes, bool]:
    if rng.random() < 0.4:
        return mutations.of_bytes(rng, content), False
    return mutations.of_archive(rng, content)


# --- model files ------------------------------------------------------------------------------


def _models(folder: Path) -> dict[str, bytes]:
    found = {path.name: path.read_bytes() for path in sorted(FORMATS.glob("*.qiff"))}
    for kind in ("triatomic", "central", "hybrid", "local", "classical", "ensemble", "scale_shift"):
        qiff.save(_potential(kind), folder / "seed.qiff", {"step": 1})
        found[f"{kind}.qiff"] = (folder / "seed.qiff").read_bytes()
    return found


def _potential(kind: str) -> AbstractPotential:
    """The first example of a kind with random weights; nothing is compiled."""
    rng = np.random.default_rng(0)
    structure = skeleton(POTENTIAL_EXAMPLES[kind][0].config)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), structure)


@functools.lru_cache(maxsize=64)
def _meaning_of(content: bytes) -> tuple[str, list[bytes]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "original.qiff"
        path.write_bytes(content)
        return _meaning(qiff.load(path))


def _meaning(potential: AbstractPotential) -> tuple[str, list[bytes]]:
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(potential)]
    return json.dumps(potential.config()), [leaf.tobytes() for leaf in leaves]


def _load(path: Path, original: bytes, may_differ: bool) -> None:
    found = _meaning(qiff.load(path))
    checked = b"checksum.npy" in original
    if checked and not may_differ and found != _meaning_of(original):
        raise DifferentError(path)


# --- run configs ------------------------------------------------------------------------------


def _configs(folder: Path) -> dict[str, bytes]:
    return {f"{name}.toml": template(name).encode() for name in RUN_TEMPLATES}


def _config(path: Path, original: bytes, may_differ: bool) -> None:
    read_config(path)


# --- states, metrics and records --------------------------------------------------------------


@functools.cache
def _initial() -> FitState:
    return initial_state(_potential("triatomic"), Training())


def _states(folder: Path) -> dict[str, bytes]:
    state = _initial()
    header = {"history": [[20, 0.5, 0.4, 0.01, {}], [40, 0.4, 0.3, 0.01, {}]], "seconds": 3.5}
    path = folder / "state.npz"
    write_arrays(path, {"weights": state.weights, "best": state.best}, header)
    part = {"n_frames": 3, "energy_mae": 0.1, "forces_mae": None}
    metrics = {"train": part, "n_weights": 7, "seconds": 1.5, "steps": 3, "notes": ["a"]}
    return {"state.npz": path.read_bytes(), "metrics.json": json.dumps(metrics).encode()}


def _state_or_record(rng: Random, content: bytes) -> tuple[bytes, bool]:
    if content.startswith(b"PK"):
        return _archive(rng, content)
    if rng.random() < 0.3:
        return _either(rng, content)
    return json.dumps(mutations.of_json(rng, json.loads(content))).encode(), True


def _state(path: Path, original: bytes, may_differ: bool) -> None:
    if path.suffix == ".json":
        os.link(path, path.with_name("metrics.json"))
        summary(path.parent)
        return
    header, arrays = read_arrays(path)
    fill({"weights": _initial().weights, "best": _initial().best}, arrays, path)
    found = progress(header, path), {name: array.tobytes() for name, array in arrays.items()}
    if not may_differ and found != _state_of(original):
        raise DifferentError(path)


@functools.cache
def _state_of(content: bytes) -> Any:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    header = json.loads(str(arrays.pop("header")))
    del arrays["checksum"]
    return progress(header, Path("original")), {n: array.tobytes() for n, array in arrays.items()}


# --- readers of structures --------------------------------------------------------------------


OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"energy_unit": "eV", "length_unit": "Angstrom", "elements": ("O", "H", "H"), "isolated": True},
)
"""A structure is read with each of these."""
_FOLDER = b"folder"  # comment of a zip archive that stands for a folder


def _structures(folder: Path) -> dict[str, bytes]:
    """The files that users bring, and revised MD17; a folder is a `.zip` of its files."""
    found = {}
    for number, (make, *_) in enumerate(case.values for case in READ):
        place = folder / f"file{number}"
        place.mkdir()
        path = make(place)
        found[f"{number}{path.name}" if path.is_file() else f"{number}.zip"] = _content(path)
    write(folder / "two.xyz", qiff.read(qiff.Source("bundled:water"))[:2])
    np.save(folder / "positions.npy", np.array([[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]]))
    found |= {name: (folder / name).read_bytes() for name in ("two.xyz", "positions.npy")}
    for name, layout in {"archive": write_archive, "parts": write_parts}.items():
        found[f"{name}.zip"] = _content(_small(layout(folder / name, ["ethanol"])))
    return found


def _small(root: Path) -> Path:
    """Two frames of each file, so that they are read in little time."""
    for path in root.rglob("*.npz"):
        with np.load(path) as archive:
            np.savez(path, **{key: archive[key][: 3 if key[0] == "n" else 2] for key in archive})
    for number, path in enumerate(root.rglob("*.csv")):
        path.write_text(f"{number}\n")
    return root


def _content(path: Path) -> bytes:
    if path.is_file():
        return path.read_bytes()
    files = {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    return mutations.zipped(files, _FOLDER)


def _structure_changed(rng: Random, content: bytes) -> tuple[bytes, bool]:
    if content.endswith(_FOLDER):
        return mutations.zipped(mutations.of_members(rng, content), _FOLDER), True
    return mutations.of_file(rng, content), True


def _structure(path: Path, original: bytes, may_differ: bool) -> None:
    name, errors = str(path), []
    if path.suffix == ".npy":
        os.link(path, path.with_name("positions.npy"))
        name = str(path.parent)
    if path.suffix == ".zip":
        name = _unpacked(path)
    with mock.patch.dict(os.environ, QIFF_DATA=str(path.with_name("folder"))):
        for options in OPTIONS:
            try:
                qiff.read(qiff.Source(name, **options))
            except InputError as error:
                errors.append(error)
    if errors:
        raise min(errors, key=lambda error: len(str(error)))


def _unpacked(path: Path) -> str:
    """The folder in a `.zip`, or the data set that it is."""
    folder = path.with_name("folder")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return "rmd17:ethanol" if (folder / "rmd17").exists() else str(folder)


# --- results of quantum computers -------------------------------------------------------------


def _results(folder: Path) -> dict[str, bytes]:
    rows = [{"0": 0.5, "3": 0.5}, {"1": 1.0}, {"0": 0.25, "2": 0.75}]
    lines = [json.dumps({"key": f"exact: {n}", "outcomes": row}) for n, row in enumerate(rows)]
    return {"results.jsonl": ("\n".join(lines) + "\n").encode()}


def _results_changed(rng: Random, content: bytes) -> tuple[bytes, bool]:
    if rng.random() < 0.5:
        return _either(rng, content)
    lines = [json.dumps(mutations.of_json(rng, json.loads(x))) for x in content.splitlines()]
    return "\n".join(lines).encode(), True


def _result(path: Path, original: bytes, may_differ: bool) -> None:
    os.link(path, path.with_name("results.jsonl"))
    Cached(Exact(), path.parent)


# --- command lines ----------------------------------------------------------------------------

_LINES = (
    "info ethanol",
    "info absent.qiff",
    "report folder",
    "template water",
    "data info absent.xyz",
    "data convert absent.xyz out.xyz --energy-unit eV --length-unit Angstrom",
    "train absent.toml --set train.steps=3 --set seed=1 --overwrite",
    "evaluate absent.qiff bundled:lih --json",
    "predict absent.qiff absent.xyz out.xyz --executor shots --shots 100 --mitigate readout,zne",
    "md absent.qiff absent.xyz --ensemble nvt --temperature 300 --timestep 0.5 --out a.xyz",
    "validate absent.qiff absent.xyz --temperature 500 --out folder",
    "ipi absent.qiff absent.xyz --beads 8 --temperature 300",
    "resources absent.qiff --geometry absent.xyz --executor fake:manila",
    "export absent.qiff --geometry absent.xyz --to qasm3",
    "reproduce study lih --quick",
)


def _lines(folder: Path) -> dict[str, bytes]:
    return {f"line{n}.txt": line.encode() for n, line in enumerate(_LINES)}


def _line(path: Path, original: bytes, may_differ: bool) -> None:
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    try:
        arguments = shlex.split(text)
    except ValueError:
        arguments = text.split()
    out, error = io.StringIO(), io.StringIO()
    code: Any = 0
    with (
        contextlib.chdir(path.parent),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(error),
    ):
        try:
            code = main(arguments)
        except SystemExit as done:  # --help, --version
            code = done.code
    if code not in (0, 2) or (code == 2 and error.getvalue().count("\n") != 1):
        raise AssertionError(f"exit code {code}, {error.getvalue()!r}")


TARGETS = {
    "models": Target(_models, _archive, _load),
    "configs": Target(_configs, _text, _config),
    "states": Target(_states, _state_or_record, _state),
    "structures": Target(_structures, _structure_changed, _structure),
    "results": Target(_results, _results_changed, _result),
    "commands": Target(_lines, _text, _line),
}


def check(target: Target, path: Path, original: bytes = b"", may_differ: bool = True) -> str | None:
    """What is wrong with how an input is read, None if nothing is."""
    try:
        target.run(path, original, may_differ)
    except InputError as error:
        return None if str(error).strip() else "an error without a message"
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "/qiff/" in frame.filename] or frames
        place = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
        return f"{place}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return None
