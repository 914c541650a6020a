"""Transfer on revised MD17: a model of nine molecules on the tenth, zero-shot and fine-tuned.

The model is trained on all molecules but one and tested on that one. It is also fine-tuned with a
few frames of it, and compared with a model that is trained on these frames from scratch.
"""

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np

from ...atoms.data.rmd17 import MOLECULES
from ...atoms.properties import labels
from ...report.section import Claim, Section, TableRow
from ...report.tables import spread
from ..harness import figures
from ..harness.data import SeedData, read_frames
from ..harness.experiment import Experiment, Outcome
from ..harness.parts import ExperimentsPart, StudySettings
from .learning_curve import sample, training

HELD_OUT = ("ethanol", "malonaldehyde", "toluene")
"""Molecules that are left out, one at a time."""
MODEL = {
    "kind": "local",
    "elements": ["H", "C", "N", "O"],
    "n_interactions": 2,
    "n_circuits": 2,
    "n_hidden": 32,
}
SIZES = (25, 100)
"""Numbers of frames of the molecule for training."""
N_EACH, N_VALID_EACH = 100, 10
"""Training and validation frames of each of the other molecules."""
STEPS, FINE_STEPS = 15000, 4000
"""Steps on the other molecules, and on the molecule itself."""
RATES = (0.003, 0.01)
"""Learning rates on the molecule itself; the validation loss decides, for either start."""

ZERO_SHOT, FINE_TUNED, FROM_SCRATCH = "zero-shot", "fine-tuned", "from scratch"


def all_but(molecule: str, n_each: int, seed: int) -> SeedData:
    """Frames of the training parts of the other molecules; the test is on the one left out."""
    known = []
    for n, other in enumerate(MOLECULES):
        frames = read_frames(f"rmd17:{other}/train") if other != molecule else ()
        order = np.random.default_rng([seed, n]).permutation(len(frames))
        known += [frames[i] for i in order[: n_each + N_VALID_EACH]]
    n_valid = N_VALID_EACH * (len(MOLECULES) - 1)
    return SeedData(known, n_valid, {"test": read_frames(f"rmd17:{molecule}/test")})


def _experiments(settings: StudySettings) -> dict[str, Experiment]:
    molecules, sizes = (HELD_OUT[:1], SIZES[:1]) if settings.quick else (HELD_OUT, SIZES)
    found: dict[str, Experiment] = {}
    for molecule in molecules:
        before = Experiment(
            f"all-but-{molecule}",
            MODEL,
            partial(all_but, molecule, 10 if settings.quick else N_EACH),
            training(settings.steps if settings.quick else STEPS),
            rates=(0.01,),
            n_seeds=1,
            dtype="float32",
        )
        found[_label(molecule, ZERO_SHOT, 0)] = before
        for size in sizes:
            for name, start in ((FINE_TUNED, before), (FROM_SCRATCH, None)):
                found[_label(molecule, name, size)] = Experiment(
                    f"{molecule}-{name}-{size}".replace(" ", "-"),
                    MODEL,
                    partial(sample, molecule, size),
                    training(settings.steps if settings.quick else FINE_STEPS),
                    rates=RATES[-1:] if settings.quick else RATES,
                    dtype="float32",
                    start=start,
                )
    return found


def _label(molecule: str, start: str, size: int) -> str:
    return f"{molecule}, {start}, {size}"


def _section(found: Mapping[str, Outcome]) -> Section:
    rows = [_row(label, outcome) for label, outcome in found.items()]
    curves: dict[str, dict[str, dict[int, Outcome]]] = {}
    for label, outcome in found.items():
        molecule, start, size = label.split(", ")
        curves.setdefault(molecule, {}).setdefault(start, {})[int(size)] = outcome
    claims = [claim for molecule, curve in curves.items() for claim in _claims(molecule, curve)]
    panels = [
        {
            "series": {
                start: (list(by_size), [_forces(outcome) for outcome in by_size.values()])
                for start, by_size in curve.items()
            },
            "x": "training frames of the molecule",
            "y": f"{molecule}: forces MAE, meV/Å",
            "yscale": "log",
        }
        for molecule, curve in curves.items()
    ]
    return Section(
        "transfer",
        "Transfer between molecules of revised MD17",
        rows,
        claims,
        {"transfer": figures.lines(panels)},
        [_NOTES],
    )


def _row(label: str, outcome: Outcome) -> TableRow:
    molecule, start, size = label.split(", ")
    energy, shifted, forces = (
        spread(1000 * outcome.mean_absolute("test", name))
        for name in ("energy", "energy_shifted", "forces")
    )
    return {
        "molecule": molecule,
        "start": start,
        "frames": int(size),
        "weights": outcome.n_weights,
        "rate": outcome.rate,
        "seeds": len(outcome.folders),
        "energy MAE (meV)": "–" if start == ZERO_SHOT else energy,
        "energy MAE up to a constant (meV)": shifted,
        "forces MAE (meV/Å)": forces,
        "training s": round(outcome.seconds),
    }


def _forces(outcome: Outcome) -> np.ndarray:
    return 1000 * outcome.mean_absolute("test", "forces")


def _claims(molecule: str, curve: Mapping[str, Mapping[int, Outcome]]) -> Iterator[Claim]:
    """Whether training on other molecules helps."""
    test = read_frames(f"rmd17:{molecule}/test")
    size = 1000 * float(np.abs([labels(atoms)["forces"] for atoms in test]).mean())
    (unseen,) = (_forces(outcome).mean() for outcome in curve[ZERO_SHOT].values())
    yield Claim(
        f"{molecule}: zero-shot errors of forces are below a tenth of their mean size",
        f"MAE {unseen:.1f} meV/Å, mean size {size:.0f} meV/Å",
        unseen < size / 10,
    )
    for n, tuned in curve[FINE_TUNED].items():
        after, alone = (_forces(o).mean() for o in (tuned, curve[FROM_SCRATCH][n]))
        yield Claim(
            f"{molecule}: with {n} frames fine-tuning is better than a start from scratch",
            f"forces MAE {after:.1f} instead of {alone:.1f} meV/Å",
            after < alone,
        )


_NOTES = (
    f"One model of circuits of atoms with two interactions is trained on {N_EACH} frames (10 in a "
    "quick run) of each of the nine other molecules. In the zero-shot test the sum of the "
    "reference energies of the molecule is unknown, and energies are compared after their mean "
    "error is subtracted. Fine-tuning starts from these weights, with reference energies refitted "
    "to the new frames, and takes as many steps as training from scratch; 50 more frames are for "
    "validation and decide the learning rate. Errors are those on the 1000 test frames of split 1; "
    "float32."
)

TRANSFER = ExperimentsPart(_experiments, _section)
