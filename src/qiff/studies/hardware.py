"""From simulator to quantum computer: what shots and noise do to energies and forces.

Every part is measured against the exact model itself, not against reference data: the question is
what a quantum computer adds to the error that a model has already.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from .._files import atomic_write, read_record
from ..atoms.frames import stack
from ..hardware.estimate import circuits, estimate
from ..hardware.executor import Exact, Shots
from ..hardware.measure import Mitigation, Protocol
from ..hardware.resources import DryRun, resources
from ..hardware.trainable import Measuring
from ..model.build import build_for
from ..model.predict import predict
from ..quantum.circuit import with_engine
from ..report.section import Claim, Section, TableRow
from ..training.fit import fit, initial_state
from ..training.metrics import evaluate
from .harness import figures
from .harness.measured import SUBJECTS, Errors, Work, measure_errors, n_circuits, standard_error
from .harness.reproduce import Piece, StudyPart
from .harness.study import Budget

DEVICE = "fake:manila"
MITIGATED = Mitigation(readout=True, folds=(1, 3))
SHOTS_PER_CIRCUIT = 100_000
NOISY_SHOTS = 10
"""Times as many on a noisy device, so that what is left is the noise and not the shots."""
WAYS = {"raw": Mitigation(), "checked": Mitigation(symmetry=True), "mitigated": MITIGATED}
NOISY = {
    "LiH siVQLM": ("raw", "checked", "mitigated"),
    "LiH VQLM": ("raw", "mitigated"),
    "water siVQLM": ("raw", "mitigated"),
    "water VQLM": ("raw", "mitigated"),
}
"""What is done about noise for each model; only LiH conserves a spin to check."""
STRENGTHS = (0.001, 0.003, 0.01)
"""Probabilities of depolarising after a gate on two qubits."""
GOAL = 0.010
"""Wanted error of a force component, in eV/Å."""


# --- agreement --------------------------------------------------------------------------------


def _agreement(work: Work) -> Section:
    """Energies and forces through every way there is, for LiH and water."""
    rows, claims = [], []
    n_geometries = 2 if work.budget.quick else 10
    for name in ("LiH siVQLM", "water siVQLM", "water siVQLM, 4 layers"):
        potential, tests = work.subject(name)
        frames = tests[:n_geometries]
        each = SHOTS_PER_CIRCUIT // (10 if work.budget.quick else 1)
        shots = each * n_circuits(potential, frames[0])
        ways = {
            "shift rules, exact": (Exact(), Protocol(shots)),
            "shots": (Shots(), Protocol(shots)),
            f"{DEVICE}": (work.executor(DEVICE), Protocol(NOISY_SHOTS * shots)),
            f"{DEVICE}, mitigated": (
                work.executor(DEVICE),
                Protocol(NOISY_SHOTS * shots, mitigation=MITIGATED),
            ),
        }
        found = {}
        for way, (executor, protocol) in ways.items():
            work.show(f"{name}: {way}")
            found[way] = measure_errors(potential, frames, executor, protocol)
            rows.append(_row(name, way, found[way]))
        claims += _agreement_claims(name, found, each)
    notes = [
        f"Errors against automatic differentiation over {n_geometries} test geometries, "
        f"{each} shots for each circuit on average, {NOISY_SHOTS} times as many on the noisy "
        "device, read in the Bell basis. Mitigated: readout "
        "calibrated and undone, gates extrapolated from one and three times their noise after the "
        "decay that all circuits share was divided out."
    ]
    return Section("agreement", "Four ways to a force", rows, claims, {}, notes)


def _row(name: str, way: str, errors: Errors) -> TableRow:
    first = errors.found[0]
    return {
        "model": name,
        "way": way,
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
            f"{100 * np.mean(within < 3):.1f} % of {len(within)} energies and force components, "
            f"the farthest {within.max():.2f} away",
            bool(np.mean(within < 3) >= 0.99),
        ),
        Claim(
            f"{name}: mitigation is closer than none on four of five geometries",
            f"forces on {100 * closer[0]:.0f} %, energy on {100 * closer[1]:.0f} %",
            min(closer) >= 0.8,
        ),
    ]


# --- shots ------------------------------------------------------------------------------------


def _shots(work: Work) -> Section:
    """How many shots a geometry takes."""
    rows, series, needed = [], {}, {}
    budgets = (10_000, 100_000, 1_000_000, 10_000_000)
    n_geometries = 1 if work.budget.quick else 3
    absent = {name: why for name, subject in SUBJECTS.items() if (why := subject.missing())}
    for name in (name for name in SUBJECTS if name not in absent):
        work.show(f"{name}: shots")
        potential, tests = work.subject(name)
        frames = tests[:n_geometries]
        expected = {
            method: [estimate(potential, a, DryRun(), Protocol(10**6, method)) for a in frames]
            for method in ("bell", "pauli")
        }
        found = [measure_errors(potential, frames, Shots(), Protocol(n)) for n in budgets]
        taken = [errors.found[0].n_shots for errors in found]
        series[name] = (taken, [1000 * errors.forces for errors in found])
        error = {method: standard_error(of) for method, of in expected.items()}
        needed[name] = 10**6 * (error["bell"] / GOAL) ** 2
        mae = evaluate(potential, tests)["forces_mae"]
        rows.append(
            {
                "model": name,
                "qubits": max(p.program.n_qubits for p in circuits(potential, frames[0])),
                "circuits": expected["bell"][0].n_circuits,
                "test error of forces, exact (meV/Å)": f"{1000 * (mae or 0):.3g}",
                "error at 1e6 shots (meV/Å)": f"{1000 * error['bell']:.3g}",
                "variance, Pauli over Bell": f"{(error['pauli'] / error['bell']) ** 2:.2f}",
                "shots for 10 meV/Å": f"{needed[name]:.2g}",
            }
        )
    claims = [
        Claim(
            f"{molecule}: the symmetric model takes fewer shots than the generic one",
            f"{needed[f'{molecule} siVQLM'] / needed[f'{molecule} VQLM']:.2g} times as many",
            needed[f"{molecule} siVQLM"] < needed[f"{molecule} VQLM"],
        )
        for molecule in ("LiH", "water")
    ]
    panel = {"series": series, "x": "shots of a geometry", "y": "force error (meV/Å)"}
    pictures = {"shots": figures.lines([panel | {"xscale": "log", "yscale": "log"}])}
    notes = [
        "Perfect circuits. Errors are those expected of the shots, by exact simulation, and in the "
        "figure those found; shots are shared by the circuits of a geometry as they matter to the "
        f"forces. {n_geometries} test geometries. The generic model is read in z, where both "
        "methods are the same.",
        *(f"Left out: {name}. {why}" for name, why in absent.items()),
    ]
    return Section("shots", "Shots of a geometry", rows, claims, pictures, notes)


# --- noise ------------------------------------------------------------------------------------


def _noise(work: Work) -> Section:
    """What depolarising gates do to forces, with and without mitigation."""
    rows, series = [], {}
    n_frames, strengths = (1, STRENGTHS[::2]) if work.budget.quick else (3, STRENGTHS)
    each = SHOTS_PER_CIRCUIT // (50 if work.budget.quick else 5)
    for name, ways in NOISY.items():
        potential, tests = work.subject(name)
        frames = tests[:n_frames]
        size = np.sqrt(np.mean([predict(potential, a).forces ** 2 for a in frames]))
        protocol = Protocol(each * n_circuits(potential, frames[0]))
        for way in ways:
            found = []
            for strength in strengths:
                work.show(f"{name}: noise {strength:g}, {way}")
                executor = work.executor(f"aer:depolarising={strength:g},readout=0.01")
                mitigated = replace(protocol, mitigation=WAYS[way])
                errors = measure_errors(potential, frames, executor, mitigated)
                gates = resources(potential, frames[0], executor, protocol)["two-qubit gates"]
                found.append(1000 * errors.forces)
                rows.append(
                    {
                        "model": name,
                        "two-qubit gates": int(str(gates)),
                        "way": way,
                        "depolarising": strength,
                        "forces RMSE (meV/Å)": f"{found[-1]:.3g}",
                        "of their size (%)": f"{found[-1] / size / 10:.3g}",
                        "standard error (meV/Å)": f"{1000 * standard_error(errors.found):.3g}",
                    }
                )
            series[f"{name}, {way}"] = (strengths, found)
    claims = [_noise_claim(molecule, rows) for molecule in ("LiH", "water")]
    raw, checked = (_sizes(rows, "LiH siVQLM", way) for way in ("raw", "checked"))
    claims.append(
        Claim(
            "LiH: to check the conserved spin lowers the error of forces",
            "raw and checked, in % of the forces: " + _pairs(raw, checked),
            all(c < r for r, c in zip(raw, checked, strict=True)),
        )
    )
    panel = {"series": series, "x": "depolarising probability", "y": "force error (meV/Å)"}
    pictures = {"noise": figures.lines([panel | {"xscale": "log", "yscale": "log"}])}
    notes = [
        "Depolarising after every gate on two qubits, a tenth of it after those on one, and 1 % of "
        f"wrong readouts; {n_frames} test geometries, {each} shots for each circuit on average. "
        "Mitigated as in `agreement`; checked: outcomes with spin along the bond are thrown away."
    ]
    return Section("noise", "Noise of gates", rows, claims, pictures, notes)


def _noise_claim(molecule: str, rows: Sequence[TableRow]) -> Claim:
    symmetric, generic = (_sizes(rows, f"{molecule} {kind}", "raw") for kind in ("siVQLM", "VQLM"))
    return Claim(
        f"{molecule}: the symmetric model suffers less from noise than the generic one",
        "raw, in % of the forces: " + _pairs(symmetric, generic),
        all(s < g for s, g in zip(symmetric, generic, strict=True)),
    )


def _sizes(rows: Sequence[TableRow], model: str, way: str) -> list[float]:
    """Errors in % of the forces, by strength of the noise."""
    own = (row for row in rows if row["model"] == model and row["way"] == way)
    return [float(row["of their size (%)"]) for row in own]


def _pairs(one: Sequence[float], other: Sequence[float]) -> str:
    return ", ".join(f"{a:.3g} and {b:.3g}" for a, b in zip(one, other, strict=True))


# --- training ---------------------------------------------------------------------------------


def _training(work: Work) -> Section:
    """LiH learned from shots alone, by shift rules and by simultaneous perturbation."""
    rows = []
    for label, (gradient, shots) in _TRAININGS.items():
        path = work.out / "runs" / f"training-{label.replace(',', '').replace(' ', '-')}.json"
        if not path.exists():
            work.show(f"training: {label}")
            record = _train(work.budget, gradient, shots)
            atomic_write(path, json.dumps(record) + "\n")
        rows.append({"training": label, **read_record(path)})
    exact, measured, *_ = (float(row["energy MAE (meV)"]) for row in rows)
    claims = [
        Claim(
            "shots train to within three times the error of the exact model",
            f"{measured:.3g} meV by shift rules, {measured / exact:.2f} times the exact one",
            measured <= 3 * exact,
        )
    ]
    notes = [
        "The LiH siVQLM of the other parts, from energies alone, batches of 16, learning rate "
        "0.03. Shots are those of training and validation; errors are those of the trained model "
        "when simulated exactly."
    ]
    return Section("training", "Training on shots", rows, claims, {}, notes)


_TRAININGS = {
    "exact": ("derivative", 0),
    "shift rules, 100 shots": ("derivative", 100),
    "spsa, 100 shots": ("spsa", 100),
}
"""Gradient and shots of each circuit; none where circuits are simulated as ever."""


def _train(budget: Budget, gradient: str, shots: int) -> TableRow:
    seed = budget.seeds[0]
    subject = SUBJECTS["LiH siVQLM"]
    sample = subject.sample(seed)
    train, valid = sample.frames[: -sample.n_valid], sample.frames[-sample.n_valid :]
    steps = 20 if budget.quick else 2000
    training = replace(
        budget.training(0.0),
        steps=steps,
        batch_size=16,
        learning_rate=0.03,
        evaluate_every=steps // 10,
        gradient=gradient,
    )
    engine = Measuring(Shots(seed), Protocol(shots)) if shots else "auto"
    potential = with_engine(build_for(train, subject.model, seed=seed), engine)
    state = fit(initial_state(potential, training), stack(train), stack(valid), training, seed=seed)
    errors = evaluate(with_engine(state.best, "auto"), sample.tests["test"])
    return {
        "steps": steps,
        "energy MAE (meV)": f"{1000 * (errors['energy_mae'] or 0):.3g}",
        "circuits": engine.n_circuits if isinstance(engine, Measuring) else 0,
        "shots": engine.n_shots if isinstance(engine, Measuring) else 0,
    }


# --- all parts --------------------------------------------------------------------------------


def _part(section: Callable[[Work], Section], steps: int) -> Piece:
    return Piece(lambda budget, out, show: section(Work(out, budget, show)), steps)


PARTS: dict[str, StudyPart] = {
    "agreement": _part(_agreement, 15),
    "shots": _part(_shots, 16),
    "noise": _part(_noise, 31),
    "training": _part(_training, 3),
}
