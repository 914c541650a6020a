"""Observables of frames: radial distributions, density and pressure; their means and errors.

Frames are configurations of ASE, from this package or from any other program.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import ase
import ase.units
import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError
from jaxtyping import Bool, Float

from .._checks import InputError, check_at_least, check_positive
from ..atoms.graph import cell_of, check_cell, has_volume
from ..atoms.neighbours import pairs_within

GRAM_PER_CM3 = ase.units.kg / 1000 / (ase.units.m / 100) ** 3
"""One g/cm³ in u/Å³."""
N_BLOCKS = 5
"""Parts of a trajectory from which standard errors are estimated."""


class RadialDistribution(NamedTuple):
    """A radial distribution function.

    Args:
        centres: of the bins in Å.
        g: its mean in each bin; 1 where atoms are not correlated.
    """

    centres: Float[np.ndarray, " n_bins"]
    g: Float[np.ndarray, " n_bins"]


class BlockMean(NamedTuple):
    """A mean over a trajectory and its standard error, in the same unit."""

    value: float
    error: float


def radial_distribution(
    frames: Sequence[ase.Atoms],
    r_max: float,
    n_bins: int,
    first: str | None = None,
    second: str | None = None,
) -> RadialDistribution:
    r"""How often two atoms are a distance apart, relative to atoms without correlation.

    $$ g_{ab}(r) = \Big\langle \frac{V}{N_a N_b} \sum_{i \in a} \sum_{j \in b}
       \frac{n_{ij}(r)}{v(r)} \Big\rangle $$

    where $n_{ij}(r)$ counts the images of atom j in the bin at distance r from atom i and $v(r)$ is
    the volume of the bin, a spherical shell. $V$, $N_a$ and $N_b$ are those of each frame. All
    periodic images are counted, those of atom i itself too, so that `r_max` may be of any size and
    $(N_b/V) \int g_{ab} 4\pi r^2 dr$ is the mean number of neighbours. Between images of
    uncorrelated atoms $g_{aa} = 1 - 1/N_a$ and $g_{ab} = 1$.

    Args:
        frames: periodic configurations, in cells of any shape.
        r_max: the largest distance in Å.
        n_bins: number of bins of equal width.
        first: chemical symbol of the atoms i; all atoms by default.
        second: chemical symbol of the atoms j; all atoms by default.

    Returns:
        The centres of the bins in Å, and $g_{ab}$ in each bin.

    Raises:
        InputError: there are no frames, a frame has no cell with a volume or no atom of the
            elements, or a number is out of range.

    Reference: Allen, Tildesley, Computer Simulation of Liquids (2017), Sec. 2.6. The normalisation
    is that of `ase.geometry.rdf`.
    """
    check_positive("r_max", r_max)
    check_at_least("n_bins", n_bins, 1)
    edges = np.linspace(0, r_max, n_bins + 1)
    each = distribution_of_each(frames, edges, first, second)
    return RadialDistribution((edges[1:] + edges[:-1]) / 2, each.mean(0))


def distribution_of_each(
    frames: Sequence[ase.Atoms],
    edges: Float[np.ndarray, " n_edges"],
    first: str | None = None,
    second: str | None = None,
) -> Float[np.ndarray, "n_frames n_edges-1"]:
    """The radial distribution function of each frame, see `radial_distribution`.

    Args:
        frames: periodic configurations.
        edges: of the bins, in Å.
        first, second: chemical symbols.
    """
    in_volumes, shells = volumes(frames), 4 / 3 * np.pi * np.diff(edges**3)
    found = []
    for index, (atoms, volume) in enumerate(zip(frames, in_volumes, strict=True)):
        one, other = (atoms_of(element, atoms, index) for element in (first, second))
        pairs = pairs_within(edges[-1], atoms.positions, cell_of(atoms), atoms.pbc)
        chosen = one[pairs.first] & other[pairs.second]
        counts = np.histogram(pairs.distances[chosen], edges)[0]
        found.append(counts * volume / (one.sum() * other.sum() * shells))
    return np.array(found)


def atoms_of(element: str | None, atoms: ase.Atoms, index: int) -> Bool[np.ndarray, " n_atoms"]:
    """Which atoms are of an element; all if it is None."""
    if element is None:
        return np.ones(len(atoms), bool)
    chosen = np.asarray(atoms.symbols) == element
    if not chosen.any():
        raise InputError(f"`frames` must have atoms of {element}, but frame {index} has none.")
    return chosen


def volumes(frames: Sequence[ase.Atoms]) -> Float[np.ndarray, " n_frames"]:
    """Volumes of the cells in Å³.

    Raises:
        InputError: there are no frames, or a frame has no cell with a volume.
    """
    check_some(frames)
    for index, atoms in enumerate(frames):
        check_cell(atoms, f"frame {index}")
        if not has_volume(atoms):
            raise InputError(
                f"`frames` must be periodic in a cell with a volume, but frame {index} is not: "
                f"pbc = {atoms.pbc.tolist()}, cell {atoms.cell.array.tolist()}."
            )
    return np.array([atoms.get_volume() for atoms in frames])


def density(frames: Sequence[ase.Atoms]) -> Float[np.ndarray, " n_frames"]:
    """The mass density of each frame in g/cm³.

    Args:
        frames: periodic configurations.

    Returns:
        One density for each frame.

    Raises:
        InputError: there are no frames, or a frame has no cell with a volume.
    """
    masses = np.array([atoms.get_masses().sum() for atoms in frames])
    return masses / volumes(frames) / GRAM_PER_CM3


def pressure(
    frames: Sequence[ase.Atoms], temperature: float | None = None
) -> Float[np.ndarray, " n_frames"]:
    r"""The pressure of each frame in GPa.

    $$ P = \frac{2 E_\mathrm{kin}}{3V} - \frac13 \operatorname{tr} \sigma $$

    Args:
        frames: periodic configurations with a stress $\sigma$, stored or by their calculator.
        temperature: if given, the kinetic energy is $\frac32 N k_B T$ at this temperature in K
            instead of that of the velocities of the frame.

    Returns:
        One pressure for each frame, positive under compression.

    Raises:
        InputError: there are no frames, a frame has no cell with a volume, or no stress.
    """
    kinetic = (
        float(atoms.get_kinetic_energy())
        if temperature is None
        else 3 / 2 * len(atoms) * ase.units.kB * temperature
        for atoms in frames
    )
    each = zip(frames, kinetic, volumes(frames), strict=True)
    return np.array(
        [pressure_of(_stress(a, k), energy, v) for k, (a, energy, v) in enumerate(each)]
    )


def pressure_of(stress: Float[np.ndarray, "6"], kinetic_energy: float, volume: float) -> float:
    """The pressure in GPa of a stress in eV/Å³, a kinetic energy in eV and a volume in Å³."""
    return float((2 * kinetic_energy / (3 * volume) - stress[:3].mean()) / ase.units.GPa)


def _stress(atoms: ase.Atoms, index: int) -> Float[np.ndarray, "6"]:
    """The stress of a frame in eV/Å³."""
    with suppress(PropertyNotImplementedError):
        if atoms.calc is not None:
            return atoms.get_stress()
    raise InputError(
        f"`frames` must have a stress, but frame {index} has none; give it a calculator."
    )


def block_mean(values: Float[np.ndarray, " n_values"], n_blocks: int = N_BLOCKS) -> BlockMean:
    """The mean of values along a trajectory, with its standard error.

    The error is that of the mean of independent blocks, so that a block has to be longer than the
    correlation time of the values. There are at most as many blocks as values; of one block the
    error is NaN.

    Args:
        values: one for each frame.
        n_blocks: consecutive parts, equal in length up to one frame.

    Returns:
        The mean and its standard error, in the unit of the values.

    Raises:
        InputError: there are no values.

    Reference: Flyvbjerg, Petersen, J. Chem. Phys. 91, 461 (1989).
    """
    if not len(values):
        raise InputError("`values` must have at least one entry, but is empty.")
    blocks = np.array_split(values, min(n_blocks, len(values)))
    return BlockMean(float(np.mean(values)), standard_error([block.mean() for block in blocks]))


def standard_error(values: Sequence[float]) -> float:
    """Of the mean of independent values."""
    n_values = len(values)
    return float(np.std(values, ddof=1) / np.sqrt(n_values)) if n_values > 1 else np.nan


def check_some(frames: Sequence[ase.Atoms]) -> None:
    """Raise if there are no frames."""
    if not frames:
        raise InputError("`frames` must have at least one frame, but is empty.")


def check_same_atoms(frames: Sequence[ase.Atoms], system: str = "system") -> None:
    """Raise unless all frames have the same atoms in the same order.

    Args:
        frames: configurations.
        system: what they must be one of, in words.
    """
    first = frames[0]
    for index, atoms in enumerate(frames):
        if not np.array_equal(atoms.numbers, first.numbers):
            raise InputError(
                f"`frames` must be of one {system}, but frame {index} is {atoms.symbols} and "
                f"frame 0 is {first.symbols}."
            )
