"""Couzinié et al. 2025, *Towards improved quantum machine learning for molecular force fields*.

Their two architectures, as reconstructed, and circuits of atoms on revised MD17.
"""

from .controls import CONTROLS
from .learning_curve import LEARNING_CURVES
from .reproduce import Part
from .transfer import TRANSFER

PARTS: dict[str, Part] = {**LEARNING_CURVES, "controls": CONTROLS, "transfer": TRANSFER}
