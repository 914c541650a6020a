"""Transfer on revised MD17: a model of nine molecules on the tenth, as it is and fine-tuned.

The model is trained on all molecules but one, tested on that one without having seen it, and
fine-tuned there with a few frames, beside a model that knows these frames alone.
"""

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np

from ..atoms.data.dataset import labels
from ..atoms.data.rmd17 import MOLECULES
from ..report.section import Claim, Section, TableRow
from .harness import figures
from .harness.experiment import Experiment, Outcome, SeedData
from .harness.rows import spread
from .harness.study import Budget, Study, read_frames
from .learning_curve import sample, training

HELD_OUT = ("ethanol", "malonaldehyde", "toluene")
"""Molecules that are transferred to, one at a time."""
MODEL = {
    "kind": "local",
    "elements": ["H", "C", "N", "O"],
    "n_interactions": 2,
    "n_circuits": 2,
    "n_hidden": 32,
}
SIZES = (25, 100)
"""Frames of the molecule that are learned from."""
N_EACH, N_VALID_EACH = 100, 10
"""Training and validation frames of each of the other molecules."""
STEPS, FINE_STEPS = 15000, 4000
"""Steps on the other molecules, and on the molecule itself."""
RATES = (0.003, 0.01)
"""Learning rates on the molecule itself, chosen by validation for either start."""

ZERO_SHOT, FINE_TUNED, FROM_SCRATCH = "zero-shot", "fine-tuned", "from scratch"


def all_but(molecule: str, n_each: int, seed: int) -> SeedData:
    """Frames of the training parts of the other molecules, tested on the one left out."""
    known = []
    for n, other in enumerate(MOLECULES):
        frames = read_frames(f"rmd17:{other}/train") if other != molecule else ()
        order = np.random.default_rng([seed, n]).permutation(len(frames))
        known += [frames[i] for i in order[: n_each + N_VALID_EACH]]
    n_valid = N_VALID_EACH * (len(MOLECULES) - 1)
    return SeedData(known, n_valid, {"test": read_frames(f"rmd17:{molecule}/test")})


def _experiments(budget: Budget) -> dict[str, Experiment]:
    molecules, sizes = (HELD_OUT[:1], SIZES[:1]) if budget.quick else (HELD_OUT, SIZES)
    found: dict[str, Experiment] = {}
    for molecule in molecules:
        before = Experiment(
            f"all-but-{molecule}",
            MODEL,
            partial(all_but, molecule, 10 if budget.quick else N_EACH),
            training(budget.steps if budget.quick else STEPS),
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
                    training(budget.steps if budget.quick else FINE_STEPS),
                    rates=RATES[-1:] if budget.quick else RATES,
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
    """Whether a molecule is helped by what was learned from others."""
    test = read_frames(f"rmd17:{molecule}/test")
    size = 1000 * float(np.abs([labels(atoms)["forces"] for atoms in test]).mean())
    (unseen,) = (_forces(outcome).mean() for outcome in curve[ZERO_SHOT].values())
    yield Claim(
        f"{molecule}: forces of a molecule never seen come to less than a tenth of their size",
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
    f"One model of circuits of atoms in two rounds is trained on {N_EACH} frames (10 in a quick "
    "run) of each of the nine other molecules. Zero-shot it has never seen the molecule: the sum "
    "of its reference energies is then unknown, and energies are compared after their mean error "
    "is taken off. Fine-tuning starts from these weights, with reference energies moved to the new "
    "frames, and takes as many steps as training from scratch; 50 more frames validate, and choose "
    "the learning rate. Errors are of the 1000 test frames of split 1; float32."
)

TRANSFER = Study(_experiments, _section)
