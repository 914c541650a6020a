"""Commands that are killed: short ones, which write all that the command can write."""

import dataclasses
import gc
import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import pytest

from qiff.cli import main

Line = tuple[str, ...]


def _nothing(folder: Path) -> None:
    pass


def _figures(patch: pytest.MonkeyPatch) -> None:
    """Let figures be no pictures, which take half of the time."""
    patch.setattr("qiff.report.figures.saved", lambda figure, kind: f"<{kind}/>".encode())


@dataclass(frozen=True)
class Command:
    """A command to kill.

    Args:
        line: its arguments; what stands in braces is given when it runs.
        again: lines that continue it, of which the first is taken that is not refused; if there
            are none the same line.
        files: writes what it needs into a folder.
        prepare: called in the process of the command, to make it shorter.
        before: lines that run first, undisturbed.
        run: what carries it out, instead of the command line of qiff.
    """

    line: Line
    again: tuple[Line, ...] = ()
    files: Callable[[Path], None] = _nothing
    prepare: Callable[[pytest.MonkeyPatch], None] = _figures
    before: tuple[Line, ...] = ()
    run: Callable[[Line], int] = main


# --- train, sweep, reproduce ------------------------------------------------------------------

RUN = """
output = "run"
[data]
path = "bundled:lih"
train = 12
valid = 4
test = 4
[model]
kind = "diatomic"
elements = ["Li", "H"]
n_layers = 1
[train]
steps = 6
batch_size = 4
evaluate_every = 2
"""
TRAIN = ("train", "run.toml")
SHORT = ("--set", "train.steps=2", "--set", "output=first")
OTHER = ("--set", "seed=1", "--set", "train.steps=2")


def _run(folder: Path) -> None:
    (folder / "run.toml").write_text(RUN)


def _run_of_several(folder: Path) -> None:
    (folder / "run.toml").write_text(f"members = 2\n{RUN}")


def _fine_tuning(folder: Path) -> None:
    (folder / "run.toml").write_text(RUN)
    (folder / "tune.toml").write_text(f'start = "first/model.qiff"\n{RUN}')


def _training(*line: str, **options) -> Command:
    """A training; it is continued with `--resume`, or if there is nothing begun in the same way."""
    plain = tuple(word for word in line if word != "--overwrite")
    return Command(line, ((*plain, "--resume"), line), **options)


def _tiny_study(patch: pytest.MonkeyPatch) -> None:
    """Two runs, of which the second begins with the first."""
    from qiff.report.section import Claim, Section
    from qiff.studies import le2023
    from qiff.studies.harness import data, experiment, figures, parts, rows

    config = {"kind": "diatomic", "elements": ["Li", "H"], "n_layers": 1}

    def experiments(settings: parts.StudySettings):
        sample = lambda seed: data.shuffled("bundled:lih", 8, 4, seed)
        training = settings.training(0.0)
        one = experiment.Experiment("one", config, sample, training, settings.rates)
        return {"one": one, "two": dataclasses.replace(one, name="two", start=one)}

    def section(found):
        table = [rows.error_row(label, outcome, "test") for label, outcome in found.items()]
        pictures = {"learning": figures.learning_curves(found)}
        return Section("tiny", "A tiny part", table, [Claim("a", "b", True)], pictures)

    _figures(patch)
    patch.setitem(le2023.PARTS, "tiny", parts.ExperimentsPart(experiments, section))
    quick = parts.StudySettings(seeds=(0,), steps=4, rates=(0.03,), quick=True)
    patch.setattr(parts, "QUICK", quick)


# --- label, data ------------------------------------------------------------------------------

EMT = ("--level", "ase.calculators.emt:EMT")
ARCHIVE = "QIFF_TEST_ARCHIVE"
"""The environment variable that names the archive which counts as published."""
MAKE = ("data", "make", "lih", "--n-frames", "3", "--out", "lih.xyz")
FETCH = ("data", "fetch", "rmd17", "--to", "data", "--url", "{url}")


def _ethanols(folder: Path) -> None:
    import ase.build
    import ase.io

    frames = [ase.build.molecule("CH3CH2OH") for _ in range(3)]
    for n, atoms in enumerate(frames):
        atoms.positions *= 1 + 0.01 * n
    ase.io.write(folder / "in.xyz", frames)


def _quick_labels(patch: pytest.MonkeyPatch) -> None:
    """Let lithium hydride be labelled with pair energies, for PySCF takes seconds."""
    from qiff.labelling.levels import find_level
    from qiff.labelling.recipes import RECIPES

    level = find_level("ase.calculators.lj:LennardJones", {})
    patch.setitem(RECIPES, "lih", dataclasses.replace(RECIPES["lih"], level=level))


def _published(patch: pytest.MonkeyPatch) -> None:
    """Let what `rmd17.tar.bz2` holds be what was published; it comes in small pieces."""
    from qiff.atoms.data import fetch

    content = Path(os.environ[ARCHIVE]).read_bytes()
    size, sha256 = len(content), hashlib.sha256(content).hexdigest()
    published = dataclasses.replace(fetch.ARCHIVES["rmd17"], size=size, sha256=sha256)
    patch.setattr(fetch, "CHUNK", size // 4 + 1)
    patch.setitem(fetch.ARCHIVES, "rmd17", published)


# --- learn ------------------------------------------------------------------------------------

LEARN = """
structures = ["water.xyz"]
output = "learned"
members = 2
final_steps = 2
[label]
level = "ase.calculators.emt:EMT"
budget = 18
[explore]
start = "random"
n_conformers = 1
n_initial = 10
relax = false
temperatures = [300.0]
n_walkers = 1
picoseconds = 0.01
n_candidates = 10
[select]
n_frames = 4
threshold = 0.001
[model]
kind = "triatomic"
elements = ["O", "H", "H"]
n_layers = 1
[train]
steps = 4
batch_size = 4
evaluate_every = 2
[targets]
picoseconds = 0.01
n_checked = 2
n_validated = 2
"""


LEARNING = ("learn", "learn.toml")


def _structure(folder: Path) -> None:
    import ase.build
    import ase.io

    ase.io.write(folder / "water.xyz", ase.build.molecule("H2O"))
    (folder / "learn.toml").write_text(LEARN)


def _checkpoints(patch: pytest.MonkeyPatch) -> None:
    """Let dynamics keep a checkpoint after each frame."""
    _figures(patch)
    patch.setattr("qiff.dynamics.resume._SECONDS", 0.0)


# --- dynamics, prediction ---------------------------------------------------------------------

MODEL = Path(__file__).parent.parent / "formats" / "format-2-water.qiff"
WATER = ("model.qiff", "bundled:water@:3")
MD = ("md", *WATER, "--steps", "8", "--interval", "2", "--ensemble", "nvt", "--out", "a.xyz")
MD_OF_BEFORE = ("md", *WATER, "--steps", "2", "--interval", "1", "--seed", "1", "--out", "a.xyz")
MEASURE = ("--executor", "exact")
IPI = ("ipi", *WATER, "--out", "ipi")
EXPORT = ("export", "model.qiff", "--geometry", "bundled:water", "--to", "qasm3")


def _model(folder: Path) -> None:
    shutil.copy(MODEL, folder / "model.qiff")


def _cache(patch: pytest.MonkeyPatch) -> None:
    """Let compiled programs be kept in the folder of the command, and none in memory."""
    patch.setenv("QIFF_CACHE", "cache")
    jax.clear_caches()


# --- writers that break the law ---------------------------------------------------------------


def _in_place(line: Line) -> int:
    """A writer that is not atomic, and takes a file that is there for a whole one."""
    if not Path("out.txt").exists():
        with Path("out.txt").open("w") as file:
            file.writelines(f"{n}\n" for n in range(5000))
    return 0


def _through_a_file(line: Line) -> int:
    """One that is, but leaves its temporary file."""
    temporary = Path(f"{os.getpid()}.tmp")
    temporary.write_text("whole")
    temporary.rename("out.txt")
    return 0


COMMANDS: dict[str, Command] = {
    "train": _training(*TRAIN, files=_run),
    "train-ensemble": _training(*TRAIN, files=_run_of_several),
    "train-fine": _training("train", "tune.toml", files=_fine_tuning, before=((*TRAIN, *SHORT),)),
    "train-overwrite": _training(*TRAIN, "--overwrite", files=_run, before=((*TRAIN, *OTHER),)),
    "sweep": Command(("sweep", "run.toml", "--seeds", "2", "--out", "sweep"), files=_run),
    "reproduce": Command(("reproduce", "le2023", "tiny", "--quick"), prepare=_tiny_study),
    "report": Command(("report", "first"), files=_run, before=((*TRAIN, *SHORT),)),
    "label": Command(("label", "in.xyz", "out.xyz", *EMT), files=_ethanols),
    "data-make": Command(MAKE, prepare=_quick_labels),
    "data-fetch": Command(FETCH, prepare=_published),
    "data-convert": Command(("data", "convert", "in.xyz", "out.xyz"), files=_ethanols),
    "learn": Command(LEARNING, ((*LEARNING, "--resume"),), _structure, _checkpoints),
    "learn-overwrite": Command(
        (*LEARNING, "--overwrite"),
        ((*LEARNING, "--resume"), (*LEARNING, "--overwrite")),
        *(_structure, _checkpoints),
        before=((*LEARNING, "--set", "seed=1"),),
    ),
    "md": Command(MD, ((*MD, "--resume"), MD, (*MD, "--overwrite")), _model, _checkpoints),
    "md-overwrite": Command(
        (*MD, "--overwrite"),
        ((*MD, "--resume"), (*MD, "--overwrite")),
        *(_model, _checkpoints),
        before=(MD_OF_BEFORE,),
    ),
    "validate": Command(
        ("validate", *WATER, "--steps", "20", "--interval", "5"), (), _model, _checkpoints
    ),
    "predict": Command(("predict", *WATER, "out.xyz"), files=_model),
    "predict-measured": Command(("predict", *WATER, "out.xyz", *MEASURE), files=_model),
    "md-measured": Command(
        (*MD, *MEASURE), ((*MD, *MEASURE), (*MD, *MEASURE, "--overwrite")), _model
    ),
    "predict-compiling": Command(("predict", *WATER, "out.xyz"), (), _model, _cache),
    "export": Command(EXPORT, (EXPORT, (*EXPORT, "--overwrite")), _model),
    "ipi": Command(IPI, (IPI, (*IPI, "--overwrite")), _model),
    "info": Command(("info", "model.qiff", "--draw", "model.svg"), files=_model),
}
"""What is killed, by name."""

CONTROLS: dict[str, Command] = {
    "in-place": Command((), run=_in_place),
    "left-over": Command((), run=_through_a_file),
}
"""What breaks the law, by name."""


def what_is_run(name: str) -> Command:
    """The command of a name."""
    return (COMMANDS | CONTROLS)[name]


def carry_out(command: Command, line: Line) -> int:
    """The exit code of a line of a command, in this process."""
    code = command.run(line)
    gc.collect()  # locks are held by objects
    return code
