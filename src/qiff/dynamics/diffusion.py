"""Diffusion: mean square displacements of the atoms of a trajectory, and their slope."""

from collections.abc import Sequence
from typing import NamedTuple

import ase
import numpy as np
from jaxtyping import Float

from .._checks import InputError, check_at_least, check_positive
from ..atoms.graph import complete_cell
from .observables import (
    N_BLOCKS,
    BlockMean,
    atoms_of,
    check_same_atoms,
    check_some,
    standard_error,
)

TO_1E9_M2_S = 10.0
"""One Å²/ps in units of 1e-9 m²/s."""
_FITTED = (0.1, 0.5)  # of a block: the times at which displacements are fitted
_SHORTEST_BLOCK = 10  # frames


class MeanSquareDisplacement(NamedTuple):
    """How far atoms move.

    Args:
        times: in ps, from zero.
        values: mean square displacement after these times, in Å².
    """

    times: Float[np.ndarray, " n_times"]
    values: Float[np.ndarray, " n_times"]


def mean_square_displacement(
    frames: Sequence[ase.Atoms], interval_fs: float, element: str | None = None
) -> MeanSquareDisplacement:
    r"""How far atoms move, relative to the centre of mass of all atoms.

    $$ \mathrm{MSD}(t) = \frac1N \sum_i
       \big\langle |r_i(t_0 + t) - r_i(t_0)|^2 \big\rangle_{t_0} $$

    averaged over all times of origin $t_0$, by fast Fourier transform.

    Args:
        frames: at equal intervals of time. Positions must be unwrapped: atoms that leave the cell
            go on outside of it.
        interval_fs: time between frames in fs.
        element: chemical symbol; all atoms by default.

    Returns:
        Times in ps, and the mean square displacement after each of them in Å².

    Raises:
        InputError: the frames are not of the same atoms, none is of the element, or an atom jumps
            by more than half a cell from one frame to the next, so that positions are wrapped.

    Reference: Calandrini et al., Collection SFN 12, 201 (2011).
    """
    check_positive("interval_fs", interval_fs)
    values = _mean_square(_paths(frames, element))
    return MeanSquareDisplacement(interval_fs / 1000 * np.arange(len(values)), values)


def diffusion_coefficient(
    frames: Sequence[ase.Atoms],
    interval_fs: float,
    element: str | None = None,
    n_blocks: int = N_BLOCKS,
) -> BlockMean:
    r"""The diffusion coefficient in Å²/ps; multiplied by `TO_1E9_M2_S` in 1e-9 m²/s.

    $$ D = \frac16 \frac{d}{dt} \mathrm{MSD}(t) $$

    A straight line is fitted to the displacements in each block of the trajectory, between a tenth
    and half of its length. The mean and its standard error are those of the blocks. Nothing is
    corrected for the size of the cell.

    Args:
        frames, interval_fs, element: see `mean_square_displacement`.
        n_blocks: consecutive parts of the trajectory.

    Returns:
        The mean and its standard error in Å²/ps.

    Raises:
        InputError: as `mean_square_displacement`, or there are fewer than 10 frames in a block.

    Reference: Einstein 1905; for the size of the cell Yeh, Hummer, J. Phys. Chem. B 108, 15873
    (2004).
    """
    check_positive("interval_fs", interval_fs)
    check_at_least("n_blocks", n_blocks, 1)
    length = len(frames) // n_blocks
    if length < _SHORTEST_BLOCK:
        raise InputError(
            f"`frames` must be at least {_SHORTEST_BLOCK} for each of {n_blocks} blocks, but are "
            f"{len(frames)}: record more frames or ask for fewer blocks."
        )
    paths = _paths(frames, element)
    start, end = (round(share * length) for share in _FITTED)
    times = interval_fs / 1000 * np.arange(start, end)
    blocks = (paths[k * length : (k + 1) * length] for k in range(n_blocks))
    slopes = [np.polyfit(times, _mean_square(block)[start:end], 1)[0] / 6 for block in blocks]
    return BlockMean(float(np.mean(slopes)), standard_error(slopes))


def _paths(
    frames: Sequence[ase.Atoms], element: str | None
) -> Float[np.ndarray, "n_frames n_chosen 3"]:
    """Positions of the atoms of an element relative to the centre of mass of all, in Å."""
    check_some(frames)
    check_same_atoms(frames)
    positions = np.array([atoms.positions for atoms in frames])
    _check_unwrapped(frames, positions)
    centres = np.average(positions, axis=1, weights=frames[0].get_masses())
    return (positions - centres[:, None])[:, atoms_of(element, frames[0], 0)]


def _check_unwrapped(
    frames: Sequence[ase.Atoms], positions: Float[np.ndarray, "n_frames n_atoms 3"]
) -> None:
    if not frames[0].pbc.any():
        return
    inverses = np.linalg.inv([complete_cell(atoms.cell.array) for atoms in frames])
    jumps = np.abs(np.diff(positions @ inverses, axis=0)) * frames[0].pbc
    if jumps.max(initial=0) > 0.5:
        step, atom, _ = np.argwhere(jumps > 0.5)[0]
        raise InputError(
            f"`frames` must have unwrapped positions, but atom {atom} jumps by more than half a "
            f"cell from frame {step} to {step + 1}: do not put atoms back into the cell, or record "
            "more often."
        )


def _mean_square(paths: Float[np.ndarray, "n_times n_atoms 3"]) -> Float[np.ndarray, " n_times"]:
    """Mean square displacement after each time, from sums of $x^2$ and correlations."""
    paths = paths - paths.mean(0)
    n_times, n_atoms, _ = paths.shape
    power = (np.abs(np.fft.rfft(paths, 2 * n_times, axis=0)) ** 2).sum((1, 2))
    correlation = np.fft.irfft(power)[:n_times]
    until = np.concatenate([[0.0], np.cumsum((paths**2).sum((1, 2)))])
    ends = until[n_times:0:-1] + until[-1] - until[:n_times]
    return (ends - 2 * correlation) / (n_atoms * np.arange(n_times, 0, -1))
