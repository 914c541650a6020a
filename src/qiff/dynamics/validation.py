r"""Validation of a model by dynamics: stability, energy drift, distances, frequencies.

Periodic systems are compared with their data in `bulk`; of molecules,

$$ h(r) = \frac{2}{N(N-1)} \Big\langle \sum_{i<j} \delta(r - r_{ij}) \Big\rangle, \qquad
   \mathrm{MAE} = \int |h(r) - h_\mathrm{data}(r)|\,dr $$

Reference: Fu et al., arXiv:2210.07237, who also call dynamics of a molecule stable as long as no
bond is longer or shorter by more than 0.5 Å.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.data import covalent_radii
from jaxtyping import Bool, Float

from .._checks import InputError, RunError
from ..atoms.properties import labels
from ..atoms.rigid import n_rigid
from ..model.potential import AbstractPotential
from .bulk import Bulk, check_bulk, compare_bulk
from .harmonic import vibrations
from .observables import check_same_atoms
from .resume import simulated
from .settings import Dynamics
from .trajectory import read_trajectory

STABLE = 0.5
"""Å by which a bond may differ from its mean in the data."""
BIN_WIDTH = 0.02
"""Å, of the bins of h(r)."""
_BOND = 1.25  # times the sum of covalent radii
_NVT_STEPS_PER_NVE_STEP = 10


@dataclass(frozen=True)
class Distances:
    """Distances between atoms in a trajectory and in the data.

    Args:
        mae: error of $h(r)$, integrated over $r$.
        mae_of_halves: the same between the halves of the data of even and odd index.
        bond_change: largest deviation of a bond from its mean in the data, in Å.
        bond_change_data: the same in the data.
        stable_share: share of the planned frames before a bond deviates by more than `STABLE`.
        centres: of the bins of $h(r)$, in Å.
        data: $h(r)$ of the data in 1/Å.
        model: $h(r)$ of the trajectory in 1/Å.
    """

    mae: float
    mae_of_halves: float
    bond_change: float
    bond_change_data: float
    stable_share: float
    centres: Float[np.ndarray, " n_bins"]
    data: Float[np.ndarray, " n_bins"]
    model: Float[np.ndarray, " n_bins"]


@dataclass(frozen=True)
class Validation:
    """What validation by dynamics found of a molecule.

    Args:
        formula: of the molecule.
        trajectories: record of each trajectory by name, see `save_statistics`; or its settings and
            the error under `exploded`.
        distances: between atoms, of the NVT trajectory.
        frequencies: harmonic frequencies in 1/cm without rigid motion; imaginary ones are negative.
        not_relaxed: the error if there are no frequencies, else None.
    """

    formula: str
    trajectories: Mapping[str, Mapping[str, Any]]
    distances: Distances
    frequencies: Sequence[float]
    not_relaxed: str | None = None

    def record(self) -> dict[str, Any]:
        """The numbers for a JSON file."""
        distances = self.distances
        relaxation = {} if self.not_relaxed is None else {"not_relaxed": self.not_relaxed}
        return {
            **self.trajectories,
            "distances_mae": distances.mae,
            "distances_mae_of_halves": distances.mae_of_halves,
            "bond_change": distances.bond_change,
            "bond_change_data": distances.bond_change_data,
            "stable_share": distances.stable_share,
            "frequencies": list(self.frequencies),
            **relaxation,
        }


@dataclass(frozen=True)
class BulkValidation:
    """What validation by dynamics found of a periodic system.

    Args:
        formula: of all atoms.
        trajectories: as in `Validation`.
        bulk: comparison of the NVT trajectory with the data.
    """

    formula: str
    trajectories: Mapping[str, Mapping[str, Any]]
    bulk: Bulk

    def record(self) -> dict[str, Any]:
        """The numbers for a JSON file."""
        return {**self.trajectories, **self.bulk.record()}


def simulations(dynamics: Dynamics) -> dict[str, Dynamics]:
    """What is simulated, by name: NVT as given, and NVE with a tenth of the steps."""
    n_steps = max(1, dynamics.steps // _NVT_STEPS_PER_NVE_STEP)
    return {
        "nvt": replace(dynamics, ensemble="nvt"),
        "nve": replace(dynamics, ensemble="nve", steps=n_steps),
    }


def validate(
    potential: AbstractPotential,
    frames: Sequence[ase.Atoms],
    dynamics: Dynamics,
    folder: Path,
    origin: Mapping[str, Any],
    show: Callable[[int, str], None] = lambda n_steps, text: None,
) -> Validation | BulkValidation:
    """Simulate the molecule or the periodic system of a data set and compare with the data.

    Args:
        potential: any potential.
        frames: configurations of one molecule or periodic system at the temperature of `dynamics`;
            the first is the start.
        dynamics: of the NVT trajectory, see `simulations`.
        folder: where trajectories go; those already there are reused.
        origin: which model it is; goes into the records of trajectories.
        show: called with the number of steps done and what is being done.

    Raises:
        InputError: the frames are not of one molecule or periodic system, the potential cannot
            describe it, or `folder` holds trajectories of another model or other dynamics.
    """
    first, periodic = frames[0], any(atoms.pbc.any() for atoms in frames)
    (check_bulk if periodic else _check_molecule)(frames)
    done, trajectories, planned = 0, {}, simulations(dynamics)
    for name, settings in planned.items():
        path, after = folder / f"{name}.xyz", lambda steps, n=done, name=name: show(n + steps, name)
        trajectories[name] = simulated(potential, first, settings, path, origin, after)
        done += settings.steps
    formula, trajectory = first.get_chemical_formula(), read_trajectory(folder / "nvt.xyz")
    if periodic:
        show(done, "distributions")
        bulk = compare_bulk(potential, frames, trajectory, planned["nvt"])
        return BulkValidation(formula, trajectories, bulk)
    show(done, "frequencies")
    found = compare(frames, trajectory, len(planned["nvt"].recorded))
    frequencies, not_relaxed = _frequencies(potential, frames)
    return Validation(formula, trajectories, found, frequencies, not_relaxed)


def _check_molecule(frames: Sequence[ase.Atoms]) -> None:
    check_same_atoms(frames, "molecule")
    if len(frames[0]) < 2:
        raise InputError("`frames` must have at least 2 atoms, but have 1.")


def pair_distances(frames: Sequence[ase.Atoms]) -> Float[np.ndarray, "n_frames n_pairs"]:
    """Distances in Å of all pairs of atoms."""
    positions = np.array([atoms.positions for atoms in frames])
    one, other = np.triu_indices(positions.shape[1], 1)
    return np.linalg.norm(positions[:, one] - positions[:, other], axis=-1)


def distribution(
    distances: Float[np.ndarray, "n_frames n_pairs"], edges: Float[np.ndarray, " n_edges"]
) -> Float[np.ndarray, " n_edges-1"]:
    """$h(r)$ in 1/Å; its integral is the share of distances between the edges."""
    return np.histogram(distances, edges)[0] / distances.size / np.diff(edges)


def compare(
    data: Sequence[ase.Atoms], trajectory: Sequence[ase.Atoms], n_planned: int
) -> Distances:
    """Compare distances between atoms in a trajectory with those in the data.

    Args:
        data: frames to compare with.
        trajectory: frames of the dynamics.
        n_planned: number of frames without an explosion.
    """
    wanted, found = pair_distances(data), pair_distances(trajectory)
    longest = max(wanted.max(), np.nanmax(found)) + BIN_WIDTH
    edges = np.arange(0, longest + BIN_WIDTH, BIN_WIDTH)
    h_data, h_model, even, odd = (
        distribution(part, edges) for part in (wanted, found, wanted[::2], wanted[1::2])
    )
    means = wanted.mean(0)
    bonded = _bonded(data[0], means)
    change = lambda distances: np.abs(distances - means)[:, bonded].max(1, initial=0)
    unstable = np.flatnonzero(change(found) > STABLE)
    return Distances(
        mae=float(np.abs(h_model - h_data).sum() * BIN_WIDTH),
        mae_of_halves=float(np.abs(even - odd).sum() * BIN_WIDTH),
        bond_change=float(change(found).max()),
        bond_change_data=float(change(wanted).max()),
        stable_share=float([*unstable, len(trajectory)][0]) / n_planned,
        centres=edges[:-1] + BIN_WIDTH / 2,
        data=h_data,
        model=h_model,
    )


def _bonded(atoms: ase.Atoms, means: Float[np.ndarray, " n_pairs"]) -> Bool[np.ndarray, " n_pairs"]:
    """Pairs that are bonded, judged by their mean distances."""
    radii = covalent_radii[atoms.numbers]
    one, other = np.triu_indices(len(atoms), 1)
    return means < _BOND * (radii[one] + radii[other])


def _frequencies(
    potential: AbstractPotential, frames: Sequence[ase.Atoms]
) -> tuple[list[float], str | None]:
    """Frequencies of the structure relaxed from the frame lowest in energy, or the error."""
    lowest = min(frames, key=lambda atoms: labels(atoms).get("energy", 0.0))
    try:
        found = vibrations(potential, lowest)
    except RunError as error:
        return [], str(error)
    rigid = np.argsort(np.abs(found.frequencies))[: n_rigid(found.atoms)]
    return np.delete(found.frequencies, rigid).tolist(), None
