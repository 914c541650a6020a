"""Lithium hydride: energies, forces, and labels with noise. (Le et al. 2023, Sec. III.1.)"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import product

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from ...atoms.properties import labels
from ...report.section import Claim, Section
from ..harness import figures
from ..harness.data import SeedData, read_frames, shuffled
from ..harness.experiment import Experiment, Outcome
from ..harness.parts import ExperimentsPart, StudySettings
from ..harness.rows import REPORTED, error_row, ratio

LIH = ["Li", "H"]
_SI_LIH = {"kind": "diatomic", "elements": LIH, "n_layers": 8, "n_repeats": 2}
_VQLM_LIH = {"kind": "generic", "elements": LIH, "n_qubits": 4, "n_layers": 8}
CHOSEN = {"siVQLM": 0.03, "VQLM": 0.01, "VQLM fixed": 0.01}
"""Learning rates that the validation loss chose without noise."""
LIH_FRAMES = (60, 20)
SIGMAS = (0.001, 0.003, 0.01, 0.03, 0.1)
"""Standard deviations of label noise in eV."""


def _lih_sample(periodised: bool, sigma: float, seed: int) -> SeedData:
    """Bond lengths in random order; energies for training and validation with noise.

    A periodised training set, for a model that is periodic in its input, is extended beyond the
    longest bond by its mirror image (Kiss et al. 2022). The relevant test set omits energies above
    the dissociation limit.
    """
    sample = shuffled("bundled:lih", *LIH_FRAMES, seed, learned=(0, -1))
    rng = np.random.default_rng([seed, 1])
    frames = [_with_energy(atoms, sigma * rng.normal()) for atoms in sample.frames]
    if periodised:
        frames = [image for atoms in frames for image in (atoms, _mirrored(atoms))]
    limit = labels(read_frames("bundled:lih")[-1])["energy"]
    test = sample.tests["test"]
    relevant = [atoms for atoms in test if labels(atoms)["energy"] <= limit]
    n_valid = sample.n_valid * (2 if periodised else 1)
    return SeedData(frames, n_valid, {"full": test, "relevant": relevant})


def _with_energy(atoms: ase.Atoms, shift: float) -> ase.Atoms:
    known = labels(atoms)
    shifted = atoms.copy()
    shifted.calc = SinglePointCalculator(shifted, **known | {"energy": known["energy"] + shift})
    return shifted


def _mirrored(atoms: ase.Atoms) -> ase.Atoms:
    """The frame mirrored at the longest bond length: the same energy, opposite forces."""
    longest = read_frames("bundled:lih")[-1].get_distance(0, 1)
    known = labels(atoms)
    image = atoms.copy()
    image.set_distance(0, 1, 2 * longest - atoms.get_distance(0, 1), fix=0)
    image.calc = SinglePointCalculator(image, **known | {"forces": -known["forces"]})
    return image


def _lih_pair(settings: StudySettings, sigma: float, rates: Mapping[str, tuple[float, ...]]):
    training = replace(settings.training(forces_weight=0), batch_size=128)
    lengths = [atoms.get_distance(0, 1) for atoms in read_frames("bundled:lih")]
    period = {"initial_scale": np.pi / float(np.ptp(lengths))}
    suffix = f"-{sigma:g}" if sigma else ""
    models = {
        "siVQLM": (_SI_LIH, False),
        "VQLM": (_VQLM_LIH | period, True),
        "VQLM fixed": (_VQLM_LIH | period | {"fixed_scales": True}, True),
    }
    return {
        f"{label}{suffix}": Experiment(
            f"lih-{label}{suffix}".lower().replace(" ", "-"),
            model,
            partial(_lih_sample, periodised, sigma),
            training,
            rates.get(label, settings.rates),
        )
        for label, (model, periodised) in models.items()
    }


def _lih_section(found: Mapping[str, Outcome]) -> Section:
    rows = [
        error_row(label, outcome, test)
        for label, outcome in found.items()
        for test in ("full", "relevant")
    ]
    claims = []
    for label in GENERIC:
        over = {
            (what, test): ratio(*(found[k].mean_square(test, what) for k in (label, "siVQLM")))
            for what in REPORTED
            for test in _TESTS
        }
        energies, forces = ([over[what, test] for test in _TESTS] for what in REPORTED)
        of_high = ratio(*(found[label].mean_square(test, "energy") for test in _TESTS))
        claims += [
            Claim(
                f"energy errors of the {label} (relevant) and the siVQLM are of the same order",
                f"its MSE is {energies[1]:.3g} times that of the siVQLM (full set: "
                f"{energies[0]:.3g})",
                0.1 <= energies[1] <= 10,
            ),
            Claim(
                f"forces of the siVQLM are about ten times better than of the {label}",
                f"its MSE is {forces[1]:.3g} times that of the siVQLM (full set: {forces[0]:.3g})",
                min(forces) >= 10,
            ),
            Claim(
                f"the {label} fails at high energies",
                f"its energy MSE on the full set is {of_high:.3g} times that on the relevant",
                of_high > 2,
            ),
        ]
    notes = [
        "FCI/STO-3G, bond lengths from 0.9 to 4.5 Å, 60 training and 20 validation frames, the "
        "other 101 are the full test; the shortest and the longest bond are always in the training "
        "part. The relevant test has the energies below the dissociation limit. All models are "
        "trained on energies alone, with all frames in each step. The VQLM is reconstructed; it is "
        "trained on the periodised set, with trained encoding scales and with fixed ones."
    ]
    pictures = {
        "curve": figures.bond_curves(
            {label: outcome.folders[0] for label, outcome in found.items()},
            read_frames("bundled:lih"),
        ),
        "learning": figures.learning_curves(found),
    }
    return Section("lih", "LiH: energies and forces", rows, claims, pictures, notes)


_TESTS = ("full", "relevant")
GENERIC = ("VQLM", "VQLM fixed")


def _noise_experiments(settings: StudySettings) -> dict[str, Experiment]:
    """With the learning rates that were chosen without noise."""
    rates = {label: (rate,) for label, rate in CHOSEN.items()}
    sigmas = SIGMAS[::2] if settings.quick else SIGMAS
    return {
        label: experiment
        for sigma in sigmas
        for label, experiment in _lih_pair(settings, sigma, rates).items()
    }


def _noise_section(found: Mapping[str, Outcome]) -> Section:
    rows = [
        {"sigma (eV)": float(label.split("-")[1]), **error_row(label.split("-")[0], outcome, test)}
        for label, outcome in found.items()
        for test in _TESTS
    ]
    sigmas = sorted({float(label.split("-")[1]) for label in found})
    shown = ", ".join(f"{s:g}" for s in sigmas)
    claims = []
    for label, (what, least) in product(GENERIC, (("energy", 1), ("forces", 10))):
        ratios = [
            ratio(
                found[f"{label}-{s:g}"].mean_square("relevant", what),
                found[f"siVQLM-{s:g}"].mean_square("relevant", what),
            )
            for s in sigmas
        ]
        claims.append(
            Claim(
                f"with noisy labels the siVQLM has better {what} than the {label} at every σ"
                + (", at least tenfold" if least == 10 else ""),
                f"MSE of the {label} over that of the siVQLM at σ = {shown} eV, both on the "
                "relevant set: " + ", ".join(f"{r:.3g}" for r in ratios),
                min(ratios) > least,
            )
        )
    notes = [
        "Gaussian noise on the training and validation energies, none on the test. Otherwise as "
        "in `lih`, with the learning rates that were chosen there."
    ]
    pictures = {"noise": figures.against_noise(found, sigmas)}
    return Section("lih-noise", "LiH: noisy labels", rows, claims, pictures, notes)


LIH_STUDY = ExperimentsPart(lambda settings: _lih_pair(settings, 0.0, {}), _lih_section)
NOISE_STUDY = ExperimentsPart(_noise_experiments, _noise_section)
