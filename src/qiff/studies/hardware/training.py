"""Training on shots: exact gradients, shift rules and simultaneous perturbation."""

from dataclasses import replace

from ..._files import read_record, save_record
from ...atoms.frames import stack
from ...hardware.executor import Shots
from ...hardware.measure import Protocol
from ...hardware.trainable import Measuring
from ...model.build import build_for
from ...quantum.circuit import with_engine
from ...report.section import Claim, Section, TableRow
from ...training.fit import fit, initial_state
from ...training.metrics import evaluate
from ..harness.parts import StudySettings
from .models import SMALL_MODELS, Workspace


def section(workspace: Workspace) -> Section:
    """LiH trained on shots, by shift rules and by simultaneous perturbation."""
    rows = []
    for label, (gradient, shots) in _TRAININGS.items():
        path = workspace.out / "runs" / f"training-{label.replace(',', '').replace(' ', '-')}.json"
        if not path.exists():
            workspace.show(f"training: {label}")
            record = _train(workspace.settings, gradient, shots)
            save_record(path, record)
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
        "The LiH siVQLM of the other parts, trained on energies alone, batches of 16, learning "
        "rate 0.03. Shots are those of training and validation; errors are those of an exact "
        "simulation of the trained model."
    ]
    return Section("training", "Training on shots", rows, claims, {}, notes)


_TRAININGS = {
    "exact": ("derivative", 0),
    "shift rules, 100 shots": ("derivative", 100),
    "spsa, 100 shots": ("spsa", 100),
}
"""Gradient, and shots of each circuit; 0 for exact simulation."""


def _train(settings: StudySettings, gradient: str, shots: int) -> TableRow:
    seed = settings.seeds[0]
    small = SMALL_MODELS["LiH siVQLM"]
    sample = small.sample(seed)
    train, valid = sample.frames[: -sample.n_valid], sample.frames[-sample.n_valid :]
    steps = 20 if settings.quick else 2000
    chosen = replace(
        settings.training(0.0),
        steps=steps,
        batch_size=16,
        learning_rate=0.03,
        evaluate_every=steps // 10,
        gradient=gradient,
    )
    measuring = Measuring(Shots(seed), Protocol(shots)) if shots else None
    potential = with_engine(build_for(train, small.config, seed=seed), measuring or "auto")
    state = fit(initial_state(potential, chosen), stack(train), stack(valid), chosen, seed=seed)
    errors = evaluate(with_engine(state.best, "auto"), sample.tests["test"])
    return {
        "steps": steps,
        "energy MAE (meV)": f"{1000 * (errors['energy_mae'] or 0):.3g}",
        "circuits": measuring.n_circuits if measuring else 0,
        "shots": measuring.n_shots if measuring else 0,
    }
