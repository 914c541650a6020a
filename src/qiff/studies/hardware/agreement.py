"""Agreement: energies and forces by four methods, against automatic differentiation."""

from collections.abc import Mapping

import numpy as np

from ...hardware.executor import Exact, Shots
from ...hardware.measure import Protocol
from ...report.section import Claim, Section, TableRow
from .errors import Errors, measure_errors, n_circuits, standard_error
from .models import MITIGATED, SHOTS_PER_CIRCUIT, Workspace

DEVICE = "fake:manila"
NOISY_SHOTS = 10
"""Factor in the number of shots on a noisy device, so that the noise dominates the errors."""


def section(workspace: Workspace) -> Section:
    """Energies and forces by all methods, for LiH and water."""
    rows, claims = [], []
    n_geometries = 2 if workspace.settings.quick else 10
    for name in ("LiH siVQLM", "water siVQLM", "water siVQLM, 4 layers"):
        potential, tests = workspace.trained(name)
        frames = tests[:n_geometries]
        each = SHOTS_PER_CIRCUIT // (10 if workspace.settings.quick else 1)
        shots = each * n_circuits(potential, frames[0])
        methods = {
            "shift rules, exact": (Exact(), Protocol(shots)),
            "shots": (Shots(), Protocol(shots)),
            f"{DEVICE}": (workspace.executor(DEVICE), Protocol(NOISY_SHOTS * shots)),
            f"{DEVICE}, mitigated": (
                workspace.executor(DEVICE),
                Protocol(NOISY_SHOTS * shots, mitigation=MITIGATED),
            ),
        }
        found = {}
        for method, (executor, protocol) in methods.items():
            workspace.show(f"{name}: {method}")
            found[method] = measure_errors(potential, frames, executor, protocol)
            rows.append(_row(name, method, found[method]))
        claims += _agreement_claims(name, found, each)
    notes = [
        f"Errors against automatic differentiation over {n_geometries} test geometries, "
        f"{each} shots for each circuit on average, {NOISY_SHOTS} times as many on the noisy "
        "device, measured in the Bell basis. Mitigated: errors of the readout are calibrated and "
        "corrected, and values are extrapolated to zero noise from one and three times the noise "
        "of the gates, after the decay that all circuits have in common is divided out."
    ]
    return Section("agreement", "Agreement of four methods", rows, claims, {}, notes)


def _row(name: str, method: str, errors: Errors) -> TableRow:
    first = errors.found[0]
    return {
        "model": name,
        "method": method,
        "circuits": first.n_circuits,
        "shots": first.n_shots,
        "energy RMSE (meV)": f"{1000 * errors.energy:.3g}",
        "forces RMSE (meV/Å)": f"{1000 * errors.forces:.3g}",
        "standard error of forces (meV/Å)": f"{1000 * standard_error(errors.found):.3g}",
    }


def _agreement_claims(name: str, found: Mapping[str, Errors], each: int) -> list[Claim]:
    exact, sampled, noisy, mitigated = found.values()
    within = sampled.in_errors
    closer = [
        float(np.mean(np.abs(getattr(mitigated, what)) < np.abs(getattr(noisy, what))))
        for what in ("by_geometry", "energies")
    ]
    return [
        Claim(
            f"{name}: shift rules are exact to 1e-9",
            f"largest deviation {exact.largest:.1e} eV or eV/Å",
            exact.largest < 1e-9,
        ),
        Claim(
            f"{name}: {each} shots are within three standard errors",
            f"{100 * np.mean(within < 3):.1f} % of {len(within)} energies and force components; "
            f"the largest deviation is {within.max():.2f}",
            bool(np.mean(within < 3) >= 0.99),
        ),
        Claim(
            f"{name}: mitigation reduces the errors on four of five geometries",
            f"forces on {100 * closer[0]:.0f} %, energy on {100 * closer[1]:.0f} %",
            min(closer) >= 0.8,
        ),
    ]
