"""Couzinié et al. 2025, *Towards improved quantum machine learning for molecular force fields*.

Their two architectures, as reconstructed, and circuits of atoms, on revised MD17.
"""

from ..harness.parts import StudyPart
from .controls import CONTROLS
from .learning_curve import LEARNING_CURVES
from .transfer import TRANSFER

PARTS: dict[str, StudyPart] = {**LEARNING_CURVES, "controls": CONTROLS, "transfer": TRANSFER}
