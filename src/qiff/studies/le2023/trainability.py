"""Trainability: how gradients, generators, spectra and states of circuits scale with their size.

Le et al. 2023 in its journal version (New J. Phys. 27, 023015) finds no barren plateau in the
shallow regime; these are the quantities behind such a statement.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...model.predict import enable_x64
from ...report.section import Claim, Section
from ..harness import figures
from ..harness.experiment import Progress
from ..harness.parts import StudySettings
from .families import FAMILIES, N_SAMPLES, expressibility, gradient_variance, spectrum
from .lie_algebra import generators, lie_dimension


def section(settings: StudySettings, out: Path, show: Progress) -> Section:
    """Variances, Lie algebras, spectra and expressibility, as a table and figures."""
    quick, seeds = settings.quick, settings.seeds
    sizes = (2, 4, 6) if quick else (2, 4, 6, 8, 10, 12)
    depths = (2, 8) if quick else (2, 4, 8, 16, 32, 64)
    shallow = 4
    show("trainability")
    with enable_x64(True):
        spectra = {name: spectrum(f, 4, 3, seeds[0]) for name, f in FAMILIES.items()}
        by_size: dict[str, list[float]] = {}
        by_depth: dict[str, list[float]] = {}
        rows: list[Mapping[str, str | float | int]] = []
        for name, family in FAMILIES.items():
            mean = lambda n, d, family=family: float(
                np.mean([gradient_variance(family, n, d, seed) for seed in seeds])
            )
            by_size[name] = [mean(n, shallow) for n in sizes]
            by_depth[name] = [mean(6, d) for d in depths]
            lie = {n: lie_dimension(generators(family, n, encoding=False)) for n in (2, 3, 4)}
            with_data = {n: lie_dimension(generators(family, n, encoding=True)) for n in (2, 3)}
            rows.append(
                {
                    "circuit": name,
                    **{
                        f"variance, {n} qubits": f"{v:.3g}"
                        for n, v in zip(sizes, by_size[name], strict=True)
                    },
                    "decay per qubit": f"{_decay(sizes, by_size[name]):.3f}",
                    **{f"Lie algebra, {n} qubits": d for n, d in lie.items()},
                    **{f"with data, {n} qubits": d for n, d in with_data.items()},
                    "highest frequency": _highest(spectra[name]),
                    "expressibility": f"{expressibility(family, 4, 4, seeds[0]):.3g}",
                }
            )
    panels = [
        {
            "series": {name: (sizes, v) for name, v in by_size.items()},
            "x": f"qubits ({shallow} layers)",
            "y": "variance of the gradient",
            "yscale": "log",
        },
        {
            "series": {name: (depths, v) for name, v in by_depth.items()},
            "x": "layers (6 qubits)",
            "y": "variance of the gradient",
            "yscale": "log",
        },
        {
            "series": {name: (range(len(v)), np.maximum(v, 1e-9)) for name, v in spectra.items()},
            "x": "frequency (4 qubits, 3 layers)",
            "y": "Fourier amplitude",
            "yscale": "log",
        },
    ]
    decay = _decay(sizes, by_size["symmetric"])
    last, first = by_size["symmetric"][-1], by_size["symmetric"][0]
    deep = by_depth["symmetric"]
    claims = [
        Claim(
            "no barren plateau in the shallow regime for the symmetric circuit",
            f"variance from {first:.3g} at {sizes[0]} to {last:.3g} at {sizes[-1]} qubits with "
            f"{shallow} layers: a factor {decay:.2f} per qubit (generic "
            f"{_decay(sizes, by_size['generic']):.2f}; a barren plateau has 0.5 or less)",
            decay > 0.5,
        ),
        Claim(
            "the variance does not vanish with depth either",
            f"6 qubits: {deep[0]:.3g} with {depths[0]} layers, {deep[-1]:.3g} with {depths[-1]}",
            deep[-1] > 1e-2 * deep[0],
        ),
    ]
    notes = [
        f"Weights uniform over a period, data normal, {N_SAMPLES} samples for each of "
        f"{len(seeds)} seeds. Symmetric: exchange gates along a chain, singlets as initial state, "
        "one vector per qubit; the observable is the exchange of the first pair. Broken: also a z "
        "rotation in each layer. Generic: y and z rotations and a ring of controlled-NOT gates; "
        "the observable is Z of the first qubit. The decay is fitted to the logarithms of the "
        "variances. Dimensions of Lie algebras are those of the trainable gates of a layer, "
        "without and with the gates that encode data."
    ]
    pictures = {"trainability": figures.lines(panels)}
    return Section("trainability", "Trainability", rows, claims, pictures, notes)


def _decay(sizes: tuple[int, ...], variances: list[float]) -> float:
    slope, _ = np.polyfit(sizes, np.log(variances), 1)
    return float(np.exp(slope))


def _highest(amplitudes: np.ndarray) -> int:
    return int(np.max(np.nonzero(amplitudes > 1e-9)[0], initial=0))
