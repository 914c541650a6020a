"""The public names of the package, each from the file that defines it."""

from importlib.metadata import version as _version

from . import hardware as hardware
from ._archive import rewrite_checksum as rewrite_checksum
from ._checks import InputError as InputError
from ._checks import RunError as RunError
from .atoms.data.dataset import read as read
from .atoms.data.source import Source as Source
from .atoms.data.split import split as split
from .atoms.frames import Frames as Frames
from .atoms.frames import stack as stack
from .atoms.graph import Graph as Graph
from .dynamics.diffusion import diffusion_coefficient as diffusion_coefficient
from .dynamics.diffusion import mean_square_displacement as mean_square_displacement
from .dynamics.harmonic import hessian as hessian
from .dynamics.harmonic import vibrations as vibrations
from .dynamics.observables import block_mean as block_mean
from .dynamics.observables import density as density
from .dynamics.observables import pressure as pressure
from .dynamics.observables import radial_distribution as radial_distribution
from .dynamics.settings import Dynamics as Dynamics
from .dynamics.simulate import run_dynamics as run_dynamics
from .dynamics.simulate import simulate as simulate
from .dynamics.solids import elastic_constants as elastic_constants
from .dynamics.solids import equation_of_state as equation_of_state
from .dynamics.state import MDState as MDState
from .interfaces.ase import Calculator as Calculator
from .model.build import build as build
from .model.build import build_ensemble_for as build_ensemble_for
from .model.build import build_for as build_for
from .model.ensemble import Ensemble as Ensemble
from .model.ensemble import uncertainty as uncertainty
from .model.molecule import Molecule as Molecule
from .model.potential import AbstractPotential as AbstractPotential
from .model.potential import ScaleShift as ScaleShift
from .model.potential import ScaleShiftSettings as ScaleShiftSettings
from .model.potential import Sum as Sum
from .model.predict import Prediction as Prediction
from .model.predict import precision as precision
from .model.predict import predict as predict
from .quantum.circuit import Circuit as Circuit
from .quantum.gate import Gate as Gate
from .report.progress import training_progress as training_progress
from .run.config import Run as Run
from .run.config import read_config as read_config
from .run.train import train as train
from .training.calibration import calibrated as calibrated
from .training.checkpoint import load as load
from .training.checkpoint import save as save
from .training.fit import fit as fit
from .training.fit import initial_state as initial_state
from .training.metrics import evaluate as evaluate
from .training.settings import Training as Training

__version__ = _version("qiff")
