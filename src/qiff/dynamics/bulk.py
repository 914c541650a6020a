r"""Comparison of periodic dynamics with data: radial distributions, density, pressure, diffusion.

$$ \mathrm{MAE} = \int_0^{r_\mathrm{max}} |g(r) - g_\mathrm{data}(r)|\,dr $$

Reference: Fu et al., arXiv:2210.07237.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations_with_replacement
from typing import Any

import ase
import numpy as np
from ase.data import covalent_radii
from jaxtyping import Float

from .._checks import InputError
from ..atoms.graph import cell_of
from ..atoms.neighbours import pairs_within
from ..atoms.properties import labels
from ..interfaces.ase import Calculator
from ..model.potential import AbstractPotential
from .diffusion import diffusion_coefficient
from .observables import (
    BlockMean,
    block_mean,
    check_same_atoms,
    density,
    distribution_of_each,
    pressure,
    volumes,
)
from .settings import Dynamics

R_MAX = 6.0
"""Å, up to which g(r) is compared."""
G_BIN_WIDTH = 0.05
"""Å, of the bins of g(r)."""
CLOSEST = 0.5
"""Dynamics are stable while no two atoms are closer than this times the sum of covalent radii."""


@dataclass(frozen=True)
class PairDistribution:
    """g(r) of two elements in a trajectory and in the data.

    Args:
        mae: its error, integrated over r, in Å.
        mae_of_halves: the same between the halves of the data of even and odd index.
        centres: of the bins in Å.
        data: g(r) of the data.
        model: g(r) of the trajectory.
    """

    mae: float
    mae_of_halves: float
    centres: Float[np.ndarray, " n_bins"]
    data: Float[np.ndarray, " n_bins"]
    model: Float[np.ndarray, " n_bins"]


@dataclass(frozen=True)
class Bulk:
    """What periodic dynamics and data have in common, and where they differ.

    Args:
        distributions: by pair of elements, such as `H-O`.
        density: mean of the trajectory in g/cm³.
        density_data: mean of the data.
        pressure: of the trajectory in GPa, with the kinetic energy of the temperature.
        pressure_data: of the data; None unless all of them have a stress.
        diffusion: diffusion coefficients of the elements in Å²/ps.
        no_diffusion: why there are none, else None.
        contact: the shortest distance in the trajectory, relative to the sum of covalent radii.
        contact_data: the same in the data.
        stable_share: share of the planned frames before `contact` is below `CLOSEST`.
    """

    distributions: Mapping[str, PairDistribution]
    density: float
    density_data: float
    pressure: BlockMean
    pressure_data: BlockMean | None
    diffusion: Mapping[str, BlockMean]
    no_diffusion: str | None
    contact: float
    contact_data: float
    stable_share: float

    def record(self) -> dict[str, Any]:
        """The numbers for a JSON file; those with an error as a list of the value and its error."""
        numbers = {name: value for name, value in asdict(self).items() if name != "distributions"}
        maes = {
            name: {pair: getattr(found, name) for pair, found in self.distributions.items()}
            for name in ("mae", "mae_of_halves")
        }
        return {f"g_{name}": each for name, each in maes.items()} | numbers


def check_bulk(frames: Sequence[ase.Atoms]) -> None:
    """Raise unless frames can be compared with periodic dynamics.

    Raises:
        InputError: they are not of the same atoms, not in cells with a volume, or fewer than two.
    """
    volumes(frames)
    check_same_atoms(frames, "periodic system")
    if len(frames) < 2:
        raise InputError("`frames` must be at least 2, to estimate their error, but are 1.")


def compare_bulk(
    potential: AbstractPotential,
    data: Sequence[ase.Atoms],
    trajectory: Sequence[ase.Atoms],
    dynamics: Dynamics,
) -> Bulk:
    """Compare a trajectory of periodic atoms with data.

    Args:
        potential: computes the stress of frames of the trajectory that have none.
        data: frames to compare with, see `check_bulk`.
        trajectory: frames of the dynamics; those without a cell have that of the first of the data.
        dynamics: what was simulated.
    """
    calculator = Calculator(potential)
    frames = [_complete(atoms, data[0], calculator) for atoms in trajectory]
    elements = sorted(set(data[0].symbols))
    pairs = combinations_with_replacement(elements, 2)
    all_labelled = all("stress" in labels(atoms) for atoms in data)
    diffusion, no_diffusion = _diffusion(frames, elements, dynamics)
    contacts = np.array([contact(atoms) for atoms in frames])
    unstable = np.flatnonzero(contacts < CLOSEST)
    return Bulk(
        distributions={"-".join(pair): _compare_pair(data, frames, *pair) for pair in pairs},
        density=float(density(frames).mean()),
        density_data=float(density(data).mean()),
        pressure=block_mean(pressure(frames, dynamics.temperature)),
        pressure_data=block_mean(pressure(data, dynamics.temperature)) if all_labelled else None,
        diffusion=diffusion,
        no_diffusion=no_diffusion,
        contact=float(contacts.min()),
        contact_data=min(map(contact, data)),
        stable_share=float([*unstable, len(frames)][0]) / len(dynamics.recorded),
    )


def contact(atoms: ase.Atoms) -> float:
    """The shortest distance of two atoms relative to the sum of their covalent radii.

    Infinite if all atoms are further apart than `R_MAX`.
    """
    pairs = pairs_within(R_MAX, atoms.positions, cell_of(atoms), atoms.pbc)
    radii = covalent_radii[atoms.numbers]
    return float((pairs.distances / (radii[pairs.first] + radii[pairs.second])).min(initial=np.inf))


def _complete(atoms: ase.Atoms, start: ase.Atoms, calculator: Calculator) -> ase.Atoms:
    """A frame with the cell of the start, if it has none, and with a stress."""
    if atoms.pbc.any() and "stress" in labels(atoms):
        return atoms
    copy = atoms.copy()
    if not atoms.pbc.any():
        copy.cell, copy.pbc = start.cell, start.pbc
    copy.calc = calculator
    return copy


def _compare_pair(
    data: Sequence[ase.Atoms], trajectory: Sequence[ase.Atoms], first: str, second: str
) -> PairDistribution:
    edges = np.linspace(0, R_MAX, round(R_MAX / G_BIN_WIDTH) + 1)
    wanted, found = (distribution_of_each(f, edges, first, second) for f in (data, trajectory))
    g_data, g_model, even, odd = (f.mean(0) for f in (wanted, found, wanted[::2], wanted[1::2]))
    return PairDistribution(
        mae=float(np.abs(g_model - g_data).sum() * G_BIN_WIDTH),
        mae_of_halves=float(np.abs(even - odd).sum() * G_BIN_WIDTH),
        centres=(edges[1:] + edges[:-1]) / 2,
        data=g_data,
        model=g_model,
    )


def _diffusion(
    trajectory: Sequence[ase.Atoms], elements: Sequence[str], dynamics: Dynamics
) -> tuple[dict[str, BlockMean], str | None]:
    """Diffusion coefficients by element, or why there are none."""
    at_equal_times = trajectory[: 1 + dynamics.steps // dynamics.interval]
    interval = dynamics.interval * dynamics.timestep
    try:
        each = {name: diffusion_coefficient(at_equal_times, interval, name) for name in elements}
    except InputError as error:
        return {}, str(error)
    return each, None
