"""From simulator to quantum computer: the effect of shots and noise on energies and forces.

Errors are measured against the exact model, not against reference data: they are what a quantum
computer adds to the error of the model.
"""

from collections.abc import Callable

from ...report.section import Section
from ..harness.parts import FunctionPart, StudyPart
from . import agreement, noise, shots, training
from .models import Workspace


def _part(section: Callable[[Workspace], Section], runs: int) -> FunctionPart:
    return FunctionPart(lambda settings, out, show: section(Workspace(out, settings, show)), runs)


PARTS: dict[str, StudyPart] = {
    "agreement": _part(agreement.section, 15),
    "shots": _part(shots.section, 16),
    "noise": _part(noise.section, 31),
    "training": _part(training.section, 3),
}
