"""The report of a validation by dynamics: table, figures and notes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..dynamics.bulk import CLOSEST, G_BIN_WIDTH, R_MAX, Bulk, PairDistribution
from ..dynamics.diffusion import TO_1E9_M2_S
from ..dynamics.observables import BlockMean
from ..dynamics.statistics import read_samples
from ..dynamics.validation import BIN_WIDTH, STABLE, BulkValidation, Distances, Validation
from .dynamics import dynamics_figure
from .figures import COLOURS, new_figure, png
from .section import Section

_COLUMNS = 3  # of panels


class _Content(NamedTuple):
    """What a report says beside the dynamics themselves.

    Args:
        of_nvt: rows on the NVT trajectory, a quantity and its value.
        last: rows at the end of the table.
        figures: PNG by name.
        notes: a paragraph.
    """

    of_nvt: Mapping[str, str]
    last: Mapping[str, str]
    figures: Mapping[str, bytes]
    notes: str


def validation_section(found: Validation | BulkValidation, folder: Path) -> Section:
    """The report of a validation.

    Args:
        found: its numbers.
        folder: holds the trajectories and gives the report its name.
    """
    content = _CONTENTS[type(found)](found)
    figures = dict(content.figures)
    for name, record in found.trajectories.items():
        if "exploded" not in record:
            samples = read_samples(folder / f"{name}.csv")
            figures[name] = dynamics_figure(samples, record["n_atoms"])
    of_nvt, of_nve = _dynamics(found.trajectories)
    quantities = {**of_nvt, **content.of_nvt, **of_nve, **content.last}
    rows = [{"quantity": quantity, "value": value} for quantity, value in quantities.items()]
    title = f"Dynamics of {found.formula}"
    return Section(folder.name, title, rows, (), figures, [content.notes])


def _dynamics(
    trajectories: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, str], dict[str, str]]:
    """Rows on the NVT and the NVE trajectory themselves."""
    nvt, nve = trajectories["nvt"], trajectories["nve"]
    planned = nvt["steps"] * nvt["timestep"] / 1000
    missing = {"picoseconds": 0.0, "mean_temperature": np.nan, "drift": np.nan, "spread": np.nan}
    heated, isolated = ({**missing, **record} for record in (nvt, nve))
    of_nvt = {
        f"NVT at {nvt['temperature']:g} K": nvt.get("exploded", f"{planned:g} ps, no explosion"),
        "mean temperature": f"{heated['mean_temperature']:.1f} K",
    }
    of_nve = {
        "NVE": nve.get("exploded", f"{isolated['picoseconds']:g} ps, no explosion"),
        "energy drift": f"{isolated['drift']:.2g} meV/atom/ps",
        "standard deviation of the energy around the drift": (f"{isolated['spread']:.2g} meV/atom"),
    }
    return of_nvt, of_nve


def _molecule(found: Validation) -> _Content:
    distances = found.distances
    of_nvt = {
        f"time until a bond differs by more than {STABLE} Å from its mean": (
            f"{100 * distances.stable_share:.3g} % of the planned time"
        ),
        "largest deviation of a bond from its mean": (
            f"{distances.bond_change:.2f} Å (data {distances.bond_change_data:.2f} Å)"
        ),
        "h(r), MAE against the data": f"{distances.mae:.3f}",
        "h(r), MAE between halves of the data": f"{distances.mae_of_halves:.3f}",
    }
    frequencies = ", ".join(f"{frequency:.0f}" for frequency in found.frequencies)
    last = {"harmonic frequencies in 1/cm": found.not_relaxed or frequencies}
    return _Content(of_nvt, last, {"distances": distances_figure(distances)}, _MOLECULE_NOTES)


def _bulk(found: BulkValidation) -> _Content:
    bulk = found.bulk
    of_nvt = {
        f"time until two atoms are closer than {CLOSEST} times the sum of covalent radii": (
            f"{100 * bulk.stable_share:.3g} % of the planned time"
        ),
        "shortest distance over the sum of covalent radii": (
            f"{bulk.contact:.2f} (data {bulk.contact_data:.2f})"
        ),
    }
    for pair, one in bulk.distributions.items():
        of_nvt[f"g(r) of {pair}, MAE against the data"] = (
            f"{one.mae:.3f} Å (between halves of the data {one.mae_of_halves:.3f} Å)"
        )
    of_nvt["density"] = f"{bulk.density:.4g} g/cm³ (data {bulk.density_data:.4g} g/cm³)"
    data = "no stress" if bulk.pressure_data is None else _with_error(bulk.pressure_data, "GPa")
    of_nvt["mean pressure"] = f"{_with_error(bulk.pressure, 'GPa')} (data {data})"
    for element, (value, error) in bulk.diffusion.items():
        scaled = BlockMean(TO_1E9_M2_S * value, TO_1E9_M2_S * error)
        of_nvt[f"diffusion coefficient of {element}"] = _with_error(scaled, "1e-9 m²/s")
    if bulk.no_diffusion is not None:
        of_nvt["diffusion coefficients"] = bulk.no_diffusion
    return _Content(of_nvt, {}, {"distributions": distributions_figure(bulk)}, _BULK_NOTES)


def _with_error(mean: BlockMean, unit: str) -> str:
    return f"({mean.value:.3g} ± {mean.error:.1g}) {unit}"


_CONTENTS: dict[type, Callable[[Any], _Content]] = {Validation: _molecule, BulkValidation: _bulk}
"""What reports say, by the kind of the system."""


def distances_figure(found: Distances) -> bytes:
    """Distributions of distances in model and data, as PNG."""
    figure, (axes,) = new_figure(1, width=7)
    _beside_data(axes, found)
    axes.set(xlabel="distance of two atoms (Å)", ylabel="h(r) (1/Å)")
    axes.legend(frameon=False, fontsize=8)
    return png(figure)


def distributions_figure(found: Bulk) -> bytes:
    """g(r) of each pair of elements in model and data, as PNG."""
    n_pairs = len(found.distributions)
    n_columns = min(_COLUMNS, n_pairs)
    n_rows = -(-n_pairs // n_columns)
    size = {"width": 3.5 * n_columns, "height": 3.0 * n_rows}
    figure, panels = new_figure(n_columns, n_rows=n_rows, **size)
    panels = np.ravel(panels)
    for axes, (pair, one) in zip(panels, found.distributions.items(), strict=False):
        _beside_data(axes, one)
        axes.axhline(1, color="0.5", lw=0.8, zorder=0)
        axes.set(xlabel=f"{pair} distance (Å)", ylabel="g(r)")
    panels[0].legend(frameon=False, fontsize=8)
    for axes in panels[n_pairs:]:
        axes.axis("off")
    return png(figure)


def _beside_data(axes: Any, found: Distances | PairDistribution) -> None:
    axes.fill_between(found.centres, found.data, color=COLOURS["train"], label="data")
    axes.plot(found.centres, found.model, color=COLOURS["test"], lw=1, label="model")


_AGAINST_DATA = (
    "(Fu et al., arXiv:2210.07237) and is meaningful if the data have the temperature of the "
    "dynamics. The halves of the data are the frames of even and odd index: the MAE between them "
    "is the statistical error of half of the data."
)
_MOLECULE_NOTES = (
    "Two trajectories start from the first frame of the data set, with newly drawn velocities: "
    "Langevin dynamics (NVT), then an isolated molecule (NVE). h(r) is the distribution of the "
    f"distances of all pairs of atoms, in bins of {BIN_WIDTH} Å; its error is integrated over "
    f"distances {_AGAINST_DATA} Frequencies are those of the structure "
    "relaxed from the frame lowest in energy, without rigid motion; imaginary ones are negative."
)
_BULK_NOTES = (
    "Two trajectories start from the first frame of the data set, with newly drawn velocities: "
    "Langevin dynamics (NVT), then constant energy (NVE). g(r) is the radial distribution function "
    f"of two elements up to {R_MAX:g} Å, in bins of {G_BIN_WIDTH} Å, with periodic images; its "
    f"error is integrated over distances {_AGAINST_DATA} Pressures are those of the stress plus "
    "that of an ideal gas at the temperature of the dynamics. Standard errors are those of blocks. "
    "Diffusion coefficients are not corrected for the size of the cell."
)
