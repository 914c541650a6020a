"""Le et al. 2023, *Symmetry-invariant quantum machine learning force fields*: every study.

Within a part every model has the same optimiser, steps, batches, seeds and candidate learning
rates. The test part is evaluated once, at the end.
"""

from ..harness.parts import FunctionPart, StudyPart
from . import trainability
from .dimer import CUT_STUDY, DIMER_STUDY
from .lih import LIH_STUDY, NOISE_STUDY
from .water import DEMO_STUDY, WATER_STUDY

PARTS: dict[str, StudyPart] = {
    "lih": LIH_STUDY,
    "lih-noise": NOISE_STUDY,
    "water": WATER_STUDY,
    "water-demo": DEMO_STUDY,
    "dimer": DIMER_STUDY,
    "dimer-cut": CUT_STUDY,
    "trainability": FunctionPart(trainability.section),
}
