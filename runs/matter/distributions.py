"""Radial distributions of water: a trajectory beside the reference frames, as a figure.

    QIFF_DATA=FOLDER python runs/matter/distributions.py TRAJECTORY.xyz OUT.png

The first tenth of the trajectory is left out.
"""

import sys
from itertools import combinations_with_replacement

import ase.io
import numpy as np
from matplotlib.figure import Figure

import qiff

R_MAX, N_BINS = 6.0, 120


def main(trajectory: str, target: str) -> None:
    """Write the figure and print the difference of each pair of elements, integrated over r."""
    frames = ase.io.read(trajectory, ":")
    frames = frames[len(frames) // 10 :]
    reference = qiff.read(qiff.Source("water64/water.xyz"))
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    pairs = list(combinations_with_replacement(("O", "H"), 2))
    panels = figure.subplots(1, 3)
    for axes, (first, second) in zip(panels, pairs, strict=True):
        seen = {
            f"reference, {len(reference)} frames": reference,
            f"model, {len(frames)} frames": frames,
        }
        curves = []
        for (name, of), style in zip(seen.items(), ("0.7", "#1f5fa8"), strict=True):
            found = qiff.radial_distribution(of, R_MAX, N_BINS, first, second)
            axes.plot(
                found.centres, found.g, color=style, lw=2.5 if style == "0.7" else 1.5, label=name
            )
            curves.append(found.g)
        apart = np.abs(curves[0] - curves[1]).sum() * R_MAX / N_BINS
        print(f"g {first}–{second}: integrated difference {apart:.2f} Å")
        axes.set(xlabel="r (Å)", ylabel=f"g {first}–{second}", ylim=(0, 3.6))
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].legend(frameon=False, fontsize=8)
    figure.savefig(target, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:])
