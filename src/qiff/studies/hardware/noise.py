"""Noise: the errors of forces on noisy gates, with and without mitigation."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...hardware.measure import Mitigation, Protocol
from ...hardware.resources import resources
from ...model.predict import predict
from ...report.section import Claim, Section, TableRow
from ..harness import figures
from .errors import measure_errors, n_circuits, standard_error
from .models import MITIGATED, SHOTS_PER_CIRCUIT, Workspace

METHODS = {"raw": Mitigation(), "checked": Mitigation(symmetry=True), "mitigated": MITIGATED}
NOISY = {
    "LiH siVQLM": ("raw", "checked", "mitigated"),
    "LiH VQLM": ("raw", "mitigated"),
    "water siVQLM": ("raw", "mitigated"),
    "water VQLM": ("raw", "mitigated"),
}
"""Methods for each model; only the symmetric LiH model conserves a spin that can be checked."""
STRENGTHS = (0.001, 0.003, 0.01)
"""Probabilities of depolarising after a two-qubit gate."""


def section(workspace: Workspace) -> Section:
    """The effect of depolarising gates on forces, with and without mitigation."""
    rows, series = [], {}
    n_frames, strengths = (1, STRENGTHS[::2]) if workspace.settings.quick else (3, STRENGTHS)
    each = SHOTS_PER_CIRCUIT // (50 if workspace.settings.quick else 5)
    for name, methods in NOISY.items():
        potential, tests = workspace.trained(name)
        frames = tests[:n_frames]
        size = np.sqrt(np.mean([predict(potential, a).forces ** 2 for a in frames]))
        protocol = Protocol(each * n_circuits(potential, frames[0]))
        for method in methods:
            found = []
            for strength in strengths:
                workspace.show(f"{name}: noise {strength:g}, {method}")
                executor = workspace.executor(f"aer:depolarising={strength:g},readout=0.01")
                mitigated = replace(protocol, mitigation=METHODS[method])
                errors = measure_errors(potential, frames, executor, mitigated)
                gates = resources(potential, frames[0], executor, protocol)["two-qubit gates"]
                found.append(1000 * errors.forces)
                rows.append(
                    {
                        "model": name,
                        "two-qubit gates": gates,
                        "method": method,
                        "depolarising": strength,
                        "forces RMSE (meV/Å)": f"{found[-1]:.3g}",
                        "of their size (%)": f"{found[-1] / size / 10:.3g}",
                        "standard error (meV/Å)": f"{1000 * standard_error(errors.found):.3g}",
                    }
                )
            series[f"{name}, {method}"] = (strengths, found)
    claims = [_noise_claim(molecule, rows) for molecule in ("LiH", "water")]
    raw, checked = (_sizes(rows, "LiH siVQLM", method) for method in ("raw", "checked"))
    claims.append(
        Claim(
            "LiH: checking the conserved spin reduces the errors of forces",
            "raw and checked, in % of the forces: " + _pairs(raw, checked),
            all(c < r for r, c in zip(raw, checked, strict=True)),
        )
    )
    panel = {"series": series, "x": "depolarising probability", "y": "force error (meV/Å)"}
    pictures = {"noise": figures.lines([panel | {"xscale": "log", "yscale": "log"}])}
    notes = [
        "Depolarising noise after two-qubit gates, a tenth of it after one-qubit gates, and 1 % "
        f"readout errors; {n_frames} test geometries, {each} shots for each circuit on average. "
        "Mitigated: as in `agreement`; checked: outcomes with spin along the bond are discarded."
    ]
    return Section("noise", "Noise of gates", rows, claims, pictures, notes)


def _noise_claim(molecule: str, rows: Sequence[TableRow]) -> Claim:
    symmetric, generic = (_sizes(rows, f"{molecule} {kind}", "raw") for kind in ("siVQLM", "VQLM"))
    return Claim(
        f"{molecule}: the symmetric model is less sensitive to noise than the generic one",
        "raw, in % of the forces: " + _pairs(symmetric, generic),
        all(s < g for s, g in zip(symmetric, generic, strict=True)),
    )


def _sizes(rows: Sequence[TableRow], model: str, method: str) -> list[float]:
    """Errors in % of the forces, by strength of the noise."""
    own = (row for row in rows if row["model"] == model and row["method"] == method)
    return [float(row["of their size (%)"]) for row in own]


def _pairs(one: Sequence[float], other: Sequence[float]) -> str:
    return ", ".join(f"{a:.3g} and {b:.3g}" for a, b in zip(one, other, strict=True))
