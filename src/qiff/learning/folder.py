"""The folder of `qiff learn`: what it holds, and the frames that were learned from so far."""

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase

from .._checks import InputError
from .._files import atomic_write, read_record
from ..dynamics.trajectory import read_trajectory
from ..run.config import config_text, read_settings
from ..run.prepare import differences
from .settings import Learn

UNCERTAINTY = "uncertainty"
"""Key in `info`: calibrated uncertainty in eV/Å of a force component on the least certain atom."""
CHOSEN = "chosen"
"""Key in `info`: why a frame was chosen to be labelled."""


@dataclass(frozen=True)
class Generation:
    """Files of one generation.

    Args:
        path: of its folder.
    """

    path: Path

    @property
    def number(self) -> int:
        return int(self.path.name.rpartition("-")[2])

    @property
    def candidates(self) -> Path:
        """Frames of the dynamics, with their uncertainties."""
        return self.path / "candidates.xyz"

    @property
    def checked(self) -> Path:
        """Labelled frames, drawn at random, that are never learned from."""
        return self.path / "checked.xyz"

    @property
    def chosen(self) -> Path:
        """Candidates that are to be labelled to learn from."""
        return self.path / "chosen.xyz"

    @property
    def selected(self) -> Path:
        """Labelled frames to learn from."""
        return self.path / "selected.xyz"

    @property
    def run(self) -> Path:
        """The run folder of its fit."""
        return self.path / "run"

    @property
    def model(self) -> Path:
        """What was fitted."""
        return self.run / "model.qiff"

    @property
    def record(self) -> dict[str, Any]:
        """What is known of it, once it is finished."""
        return read_record(self.path / "generation.json")


@dataclass(frozen=True)
class LearnFolder:
    """Files of the whole loop.

    Args:
        path: of the folder.
    """

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.toml"

    @property
    def labels(self) -> Path:
        """Every calculation of the level of theory, see `LabelStore`."""
        return self.path / "labels.jsonl"

    @property
    def structures(self) -> Path:
        """Where dynamics start."""
        return self.path / "structures.xyz"

    @property
    def model(self) -> Path:
        """The final model."""
        return self.path / "model.qiff"

    @property
    def metrics(self) -> Path:
        """Results; there once everything is finished."""
        return self.path / "metrics.json"

    @property
    def final(self) -> Path:
        """Folder of the final fit and of its validation."""
        return self.path / "final"

    def generation(self, number: int) -> Generation:
        return Generation(self.path / f"generation-{number:02d}")

    def generations(self) -> list[Generation]:
        """Those that are finished, in order."""
        found = map(Generation, sorted(self.path.glob("generation-*")))
        return [generation for generation in found if generation.record]

    def begin(self, settings: Learn, *, resume: bool, overwrite: bool) -> None:
        """Write the config, or check that it is the one in the folder.

        What is replaced is removed from the config to the labels, so that none of it is resumed.

        Raises:
            InputError: there is something in the folder and nothing was said of it, half of it was
                replaced, or a setting is not what it began with.
        """
        there = self.config.exists() or self.labels.exists()
        if there and not (resume or overwrite):
            raise InputError(
                f"{self.path}: already holds something learned; resume it (--resume), replace it "
                "(--overwrite) or choose another `output`."
            )
        if resume and there:
            if not self.config.exists():
                raise InputError(
                    f"{self.path}: cannot resume, {self.config.name} is gone; replace what is in "
                    "the folder (--overwrite)."
                )
            before = dataclasses.asdict(read_settings(Learn, self.config))
            if changed := differences(before, dataclasses.asdict(settings)):
                raise InputError(
                    f"{self.path}: cannot resume, `{changed[0]}` is not what it began with."
                )
            return
        if overwrite and there:
            for file in (self.config, self.metrics, self.model, self.structures):
                file.unlink(missing_ok=True)
            for folder in (*self.path.glob("generation-*"), self.final):
                shutil.rmtree(folder, ignore_errors=True)
            self.labels.unlink(missing_ok=True)
        atomic_write(self.config, config_text(settings))


def frames_in(path: Path) -> list[ase.Atoms]:
    """Frames of a file; none if there is no file or it is empty."""
    return read_trajectory(path) if path.exists() and path.stat().st_size else []
