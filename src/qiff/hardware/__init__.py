"""From a potential to a quantum computer, and from its results to energies, forces and errors."""

from .dynamics import MeasuredIntegrator as MeasuredIntegrator
from .estimate import Measurement as Measurement
from .estimate import circuits as circuits
from .estimate import estimate as estimate
from .executor import AbstractExecutor as AbstractExecutor
from .executor import Exact as Exact
from .executor import Shots as Shots
from .executors import make_executor as make_executor
from .measure import Mitigation as Mitigation
from .measure import Protocol as Protocol
from .resources import resources as resources
from .trainable import Measuring as Measuring
