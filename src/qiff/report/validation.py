"""The report of a validation by dynamics: table, figures and notes."""

from pathlib import Path

import numpy as np

from ..dynamics.statistics import read_samples
from ..dynamics.validation import BIN_WIDTH, STABLE, Distances, Validation
from .dynamics import dynamics_figure
from .figures import COLOURS, new_figure, png
from .section import Section, TableRow


def validation_section(found: Validation, folder: Path) -> Section:
    """The report of a validation.

    Args:
        found: its numbers.
        folder: holds the trajectories and gives the report its name.
    """
    figures = {"distances": distances_figure(found.distances)}
    for name, record in found.trajectories.items():
        if "exploded" not in record:
            samples = read_samples(folder / f"{name}.csv")
            figures[name] = dynamics_figure(samples, record["n_atoms"])
    return Section(folder.name, f"Dynamics of {found.formula}", _rows(found), (), figures, [_NOTES])


def _rows(found: Validation) -> list[TableRow]:
    nvt, nve = found.trajectories["nvt"], found.trajectories["nve"]
    planned = nvt["steps"] * nvt["timestep"] / 1000
    missing = {"picoseconds": 0.0, "mean_temperature": np.nan, "drift": np.nan, "spread": np.nan}
    heated, isolated = ({**missing, **record} for record in (nvt, nve))
    distances = found.distances
    rows = {
        f"NVT at {nvt['temperature']:g} K": nvt.get("exploded", f"{planned:g} ps, no explosion"),
        "mean temperature": f"{heated['mean_temperature']:.1f} K",
        f"time until a bond differs by more than {STABLE} Å from its mean": (
            f"{100 * distances.stable_share:.3g} % of the planned time"
        ),
        "largest deviation of a bond from its mean": (
            f"{distances.bond_change:.2f} Å (data {distances.bond_change_data:.2f} Å)"
        ),
        "h(r), MAE against the data": f"{distances.mae:.3f}",
        "h(r), MAE between halves of the data": f"{distances.mae_of_halves:.3f}",
        "NVE": nve.get("exploded", f"{isolated['picoseconds']:g} ps, no explosion"),
        "energy drift": f"{isolated['drift']:.2g} meV/atom/ps",
        "standard deviation of the energy around the drift": (f"{isolated['spread']:.2g} meV/atom"),
        "harmonic frequencies in 1/cm": found.not_relaxed
        or ", ".join(f"{frequency:.0f}" for frequency in found.frequencies),
    }
    return [{"quantity": quantity, "value": value} for quantity, value in rows.items()]


def distances_figure(found: Distances) -> bytes:
    """Distributions of distances in model and data, as PNG."""
    figure, (axes,) = new_figure(1, width=7)
    axes.fill_between(found.centres, found.data, color=COLOURS["train"], label="data")
    axes.plot(found.centres, found.model, color=COLOURS["test"], lw=1, label="model")
    axes.set(xlabel="distance of two atoms (Å)", ylabel="h(r) (1/Å)")
    axes.legend(frameon=False, fontsize=8)
    return png(figure)


_NOTES = (
    "Two trajectories start from the first frame of the data set, with newly drawn velocities: "
    "Langevin dynamics (NVT), then an isolated molecule (NVE). h(r) is the distribution of the "
    f"distances of all pairs of atoms, in bins of {BIN_WIDTH} Å; its error is integrated over "
    "distances (Fu et al., arXiv:2210.07237) and is meaningful if the data have the temperature of "
    "the dynamics. The halves of the data are the frames of even and odd index: the MAE between "
    "them is the statistical error of half of the data. Frequencies are those of the structure "
    "relaxed from the frame lowest in energy, without rigid motion; imaginary ones are negative."
)
