"""Shots: how many a geometry needs for a given error of the forces."""

from ...hardware.estimate import circuits, estimate
from ...hardware.executor import Shots
from ...hardware.measure import Protocol
from ...hardware.resources import DryRun
from ...model.shot_cost import GOAL
from ...report.section import Claim, Section
from ...training.metrics import evaluate
from ..harness import figures
from .errors import measure_errors, standard_error
from .models import SMALL_MODELS, Workspace


def section(workspace: Workspace) -> Section:
    """The number of shots that a geometry needs."""
    rows, series, needed = [], {}, {}
    numbers = (10_000, 100_000, 1_000_000, 10_000_000)
    n_geometries = 1 if workspace.settings.quick else 3
    absent = {name: why for name, subject in SMALL_MODELS.items() if (why := subject.missing())}
    for name in (name for name in SMALL_MODELS if name not in absent):
        workspace.show(f"{name}: shots")
        potential, tests = workspace.trained(name)
        frames = tests[:n_geometries]
        expected = {
            method: [estimate(potential, a, DryRun(), Protocol(10**6, method)) for a in frames]
            for method in ("auto", "bell", "pauli")
        }
        found = [measure_errors(potential, frames, Shots(), Protocol(n)) for n in numbers]
        taken = [errors.found[0].n_shots for errors in found]
        series[name] = (taken, [1000 * errors.forces for errors in found])
        error = {method: standard_error(of) for method, of in expected.items()}
        needed[name] = 10**6 * (error["auto"] / GOAL) ** 2
        mae = evaluate(potential, tests)["forces_mae"]
        rows.append(
            {
                "model": name,
                "qubits": max(p.program.n_qubits for p in circuits(potential, frames[0])),
                "circuits": expected["auto"][0].n_circuits,
                "test error of forces, exact (meV/Å)": f"{1000 * (mae or 0):.3g}",
                "error at 1e6 shots (meV/Å)": f"{1000 * error['auto']:.3g}",
                "variance, Pauli over Bell": f"{(error['pauli'] / error['bell']) ** 2:.2f}",
                "shots for 10 meV/Å": f"{needed[name]:.2g}",
            }
        )
    claims = [
        Claim(
            f"{molecule}: the symmetric model needs fewer shots than the generic one",
            f"{needed[f'{molecule} siVQLM'] / needed[f'{molecule} VQLM']:.2g} times as many",
            needed[f"{molecule} siVQLM"] < needed[f"{molecule} VQLM"],
        )
        for molecule in ("LiH", "water")
    ]
    panel = {"series": series, "x": "shots of a geometry", "y": "force error (meV/Å)"}
    pictures = {"shots": figures.lines([panel | {"xscale": "log", "yscale": "log"}])}
    notes = [
        "Circuits without noise. The table has expected errors from exact simulation, the figure "
        "measured ones; each circuit of a geometry gets shots in proportion to its importance for "
        f"the forces. {n_geometries} test geometries. The generic model is measured in the z "
        "basis, where both methods are the same.",
        *(f"Omitted: {name}. {why}" for name, why in absent.items()),
    ]
    return Section("shots", "Shots of a geometry", rows, claims, pictures, notes)
