r"""Is a model fit for dynamics? Stability, energy drift, distances between atoms, frequencies.

$$ h(r) = \frac{2}{N(N-1)} \Big\langle \sum_{i<j} \delta(r - r_{ij}) \Big\rangle, \qquad
   \mathrm{MAE} = \int |h(r) - h_\mathrm{data}(r)|\,dr $$

Reference: Fu et al., arXiv:2210.07237, who also call dynamics of a molecule stable as long as no
bond is longer or shorter by more than 0.5 Å.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.data import covalent_radii
from jaxtyping import Bool, Float

from .._checks import InputError, RunError
from ..atoms.data.dataset import labels
from ..atoms.rigid import n_rigid
from ..dynamics.harmonic import vibrations
from ..dynamics.md import Dynamics, simulate
from ..model.potential import AbstractPotential
from ..report.dynamics import save_dynamics
from ..report.figures import COLOURS, new_figure, png
from ..report.records import read_record, save_record
from ..report.section import Section, TableRow

STABLE = 0.5
"""Å by which a bond may differ from its mean in the data."""
_WIDTH = 0.02  # Å, of the bins of h(r)
_BOND = 1.25  # times the sum of covalent radii
_SHARE = 10  # NVT takes so many times the steps of NVE

Show = Callable[[int, str], None]


def courses(dynamics: Dynamics) -> dict[str, Dynamics]:
    """What is simulated, by name: NVT as given and a tenth of it NVE."""
    isolated = replace(dynamics, ensemble="nve", steps=max(1, dynamics.steps // _SHARE))
    return {"nvt": replace(dynamics, ensemble="nvt"), "nve": isolated}


def validate(
    potential: AbstractPotential,
    frames: Sequence[ase.Atoms],
    dynamics: Dynamics,
    folder: Path,
    origin: Mapping[str, Any],
    show: Show,
) -> tuple[Section, dict[str, Any]]:
    """Simulate the molecule of a data set and compare with the data.

    Args:
        potential: any potential.
        frames: configurations of one molecule at the temperature of `dynamics`; the first is
            the start.
        dynamics: of the NVT run, see `courses`.
        folder: where trajectories go; those already there are kept.
        origin: which model it is; goes into the records of trajectories.
        show: called with the number of steps done and what is being done.

    Returns:
        The report, and its numbers.

    Raises:
        InputError: the frames are not of one molecule, the potential cannot describe it, or
            `folder` holds trajectories of another model or other dynamics.
    """
    first = frames[0]
    for index, atoms in enumerate(frames):
        if not np.array_equal(atoms.numbers, first.numbers):
            raise InputError(
                f"`frames` must be of one molecule, but frame {index} is {atoms.symbols} and "
                f"frame 0 is {first.symbols}."
            )
    if len(first) < 2:
        raise InputError("`frames` must have at least 2 atoms, but have 1.")
    done, records = 0, {}
    for name, course in courses(dynamics).items():
        path, after = folder / f"{name}.xyz", lambda steps, n=done, name=name: show(n + steps, name)
        records[name] = _trajectory(potential, first, course, path, origin, after)
        done += course.steps
    show(done, "frequencies")
    found = compare(frames, _read(folder / "nvt.xyz"), len(courses(dynamics)["nvt"].recorded))
    found |= _frequencies(potential, frames)
    figures = {"distances": _figure(found.pop("curves"))}
    pictures = {name: folder / f"{name}.png" for name in records}
    figures |= {name: path.read_bytes() for name, path in pictures.items() if path.exists()}
    title = f"Dynamics of {first.get_chemical_formula()}"
    section = Section(folder.name, title, _rows(records, found), (), figures, [_NOTES])
    return section, {**origin, **records, **found}


def _trajectory(
    potential: AbstractPotential,
    start: ase.Atoms,
    course: Dynamics,
    path: Path,
    origin: Mapping[str, Any],
    after_frame: Callable[[int], None],
) -> dict[str, Any]:
    """The record of a trajectory, simulated if it is not yet; an explosion is a finding too."""
    record, wanted = path.with_suffix(".json"), {**asdict(course), **origin}
    before = read_record(record)
    if before and path.exists():
        if any(before.get(key) != value for key, value in wanted.items()):
            raise InputError(
                f"{path}: is of another model or other dynamics; choose another --out."
            )
        return before
    after_frame(0)
    try:
        samples, report = simulate(potential, start, course, path, after_frame)
    except RunError as error:
        return save_record(record, {**wanted, "exploded": str(error)})
    return save_dynamics(path, course, samples, report, origin)


def _read(path: Path) -> list[ase.Atoms]:
    import ase.io

    return ase.io.read(path, ":")  # pyright: ignore[reportReturnType]


def distances(frames: Sequence[ase.Atoms]) -> Float[np.ndarray, "n_frames n_pairs"]:
    """Distances in Å of all pairs of atoms."""
    positions = np.array([atoms.positions for atoms in frames])
    one, other = np.triu_indices(positions.shape[1], 1)
    return np.linalg.norm(positions[:, one] - positions[:, other], axis=-1)


def distribution(
    apart: Float[np.ndarray, "n_frames n_pairs"], edges: Float[np.ndarray, " n_bins+1"]
) -> Float[np.ndarray, " n_bins"]:
    """$h(r)$ in 1/Å; its integral is the share of distances between the edges."""
    return np.histogram(apart, edges)[0] / apart.size / np.diff(edges)


def compare(data: Sequence[ase.Atoms], seen: Sequence[ase.Atoms], n_planned: int) -> dict[str, Any]:
    """$h(r)$ of both, how far apart they are, how much bonds change, and the share that is stable.

    Args:
        data: frames to compare with.
        seen: frames of the dynamics.
        n_planned: how many there are if nothing explodes.
    """
    wanted, found = distances(data), distances(seen)
    longest = max(wanted.max(), np.nanmax(found)) + _WIDTH
    edges = np.arange(0, longest + _WIDTH, _WIDTH)
    curves = {"data": distribution(wanted, edges), "model": distribution(found, edges)}
    halves = [distribution(part, edges) for part in (wanted[::2], wanted[1::2])]
    means, bonded = wanted.mean(0), _bonded(data[0], wanted.mean(0))
    change = lambda apart: np.abs(apart - means)[:, bonded].max(1, initial=0)
    unstable = np.flatnonzero(change(found) > STABLE)
    return {
        "distances_mae": float(np.abs(curves["model"] - curves["data"]).sum() * _WIDTH),
        "distances_mae_of_halves": float(np.abs(halves[0] - halves[1]).sum() * _WIDTH),
        "bond_change": float(change(found).max()),
        "bond_change_data": float(change(wanted).max()),
        "stable_share": float([*unstable, len(seen)][0]) / n_planned,
        "curves": (edges[:-1] + _WIDTH / 2, curves),
    }


def _bonded(atoms: ase.Atoms, means: Float[np.ndarray, " n_pairs"]) -> Bool[np.ndarray, " n_pairs"]:
    """Pairs that are bonded by their mean distances."""
    radii = covalent_radii[atoms.numbers]
    one, other = np.triu_indices(len(atoms), 1)
    return means < _BOND * (radii[one] + radii[other])


def _frequencies(potential: AbstractPotential, frames: Sequence[ase.Atoms]) -> dict[str, Any]:
    """Harmonic frequencies in 1/cm without rigid motion, from the frame lowest in energy."""
    lowest = min(frames, key=lambda atoms: labels(atoms).get("energy", 0.0))
    try:
        relaxed, found = vibrations(potential, lowest)
    except RunError as error:
        return {"frequencies": [], "not_relaxed": str(error)}
    rigid = np.argsort(np.abs(found))[: n_rigid(relaxed)]
    return {"frequencies": np.delete(found, rigid).tolist()}


def _rows(records: Mapping[str, Mapping[str, Any]], found: Mapping[str, Any]) -> list[TableRow]:
    nvt, nve = records["nvt"], records["nve"]
    planned = nvt["steps"] * nvt["timestep"] / 1000
    fallback = {"picoseconds": 0.0, "mean_temperature": np.nan, "drift": np.nan, "spread": np.nan}
    heated, conserved = ({**fallback, **one} for one in (nvt, nve))
    rows = {
        f"NVT at {nvt['temperature']:g} K": nvt.get("exploded", f"{planned:g} ps, no explosion"),
        "mean temperature": f"{heated['mean_temperature']:.1f} K",
        f"all bonds within {STABLE} Å of their means": f"{100 * found['stable_share']:.3g} % of it",
        "largest change of a bond": f"{found['bond_change']:.2f} Å "
        f"(data {found['bond_change_data']:.2f} Å)",
        "h(r), MAE against the data": f"{found['distances_mae']:.3f}",
        "h(r), MAE of halves of the data": f"{found['distances_mae_of_halves']:.3f}",
        "NVE": nve.get("exploded", f"{conserved['picoseconds']:g} ps, no explosion"),
        "energy drift": f"{conserved['drift']:.2g} meV/atom/ps",
        "spread of the energy": f"{conserved['spread']:.2g} meV/atom",
        "harmonic frequencies in 1/cm": found.get("not_relaxed")
        or ", ".join(f"{frequency:.0f}" for frequency in found["frequencies"]),
    }
    return [{"what": what, "found": value} for what, value in rows.items()]


def _figure(curves: tuple[np.ndarray, Mapping[str, np.ndarray]]) -> bytes:
    """Distributions of distances in model and data, as PNG."""
    r, found = curves
    figure, (axes,) = new_figure(1, width=7)
    axes.fill_between(r, found["data"], color=COLOURS["train"], label="data")
    axes.plot(r, found["model"], color=COLOURS["test"], lw=1, label="model")
    axes.set(xlabel="distance of two atoms (Å)", ylabel="h(r) (1/Å)")
    axes.legend(frameon=False, fontsize=8)
    return png(figure)


_NOTES = (
    "Langevin dynamics from the first frame of the data set, then from there an isolated molecule; "
    "velocities are drawn anew for both. h(r) is the distribution of the distances of all pairs of "
    f"atoms, in bins of {_WIDTH} Å; its error is integrated over distances (Fu et al., "
    "arXiv:2210.07237) and meaningful where the data have the temperature of the dynamics. Halves "
    "are the frames of even and odd number: so much is chance with half of the data. Frequencies "
    "are of the structure relaxed from the frame lowest in energy, without rigid motion; imaginary "
    "ones are negative."
)
