"""The picture of the README: a molecule, its circuit and its energy.

    python docs/figures/overview.py

writes `overview.png` and `overview-narrow.png` beside this file. The curve is that of a circuit
trained on bundled LiH.
"""

from functools import cache
from pathlib import Path
from typing import Any

import ase
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyBboxPatch

import qiff

MODEL = {"kind": "diatomic", "elements": ["Li", "H"], "n_layers": 10, "n_repeats": 2}
VIOLET, ORANGE, TEAL, GREY = "#6a4fc1", "#e08a1e", "#12857f", "#555555"


@cache
def trained() -> tuple[qiff.AbstractPotential, list[ase.Atoms], list[ase.Atoms]]:
    """A potential of LiH, the frames that it was trained on, and frames to test it on."""
    frames = qiff.read(qiff.Source("bundled:lih"))
    parts = qiff.split(frames, train=0.6, valid=0.1, test=0.3, seed=0)
    train, valid, test = ([frames[i] for i in part] for part in parts)
    potential = qiff.build_for(train, MODEL, seed=0)
    training = qiff.Training(steps=6000, batch_size=32, learning_rate=0.03)
    state = qiff.initial_state(potential, training)
    state = qiff.fit(state, qiff.stack(train), qiff.stack(valid), training, seed=0)
    return state.best, train, test


def molecule(ax: Axes) -> None:
    """Two atoms about their centre, and the vectors to them."""
    for x, radius, colour, name in ((-1.0, 0.52, VIOLET, "Li"), (1.0, 0.34, ORANGE, "H")):
        ax.add_patch(Circle((x, 0), radius, color=colour, zorder=2))
        ax.text(x, 0, name, color="white", ha="center", va="center", fontsize=13, zorder=3)
    ax.plot([-1, 1], [0, 0], color=GREY, lw=4, zorder=1)
    for sign, index in ((-1, 1), (1, 2)):
        tip = {"arrowstyle": "-|>", "color": "black", "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", (sign, -0.85), (0, -0.85), arrowprops=tip)
        ax.text(sign / 2, -1.2, rf"$x_{index}$", ha="center", va="center")
    ax.plot(0, -0.85, "k.", ms=5)
    ax.set(xlim=(-1.7, 1.6), ylim=(-2.1, 2.1), aspect="equal")


def gate(
    ax: Axes, x: float, wires: tuple[int, int], text: str, colour: str, width: float = 0.66
) -> None:
    """A box on the wires from the lowest to the highest."""
    low, high = wires
    corner, height = (x - width / 2, low - 0.31), high - low + 0.62
    box = FancyBboxPatch(corner, width, height, "round,pad=0,rounding_size=0.1")
    box.set(facecolor=colour, edgecolor="none", zorder=2)
    ax.add_patch(box)
    middle = (low + high) / 2
    ax.text(x, middle, text, color="white", ha="center", va="center", fontsize=11, zorder=3)


def circuit(ax: Axes) -> None:
    """Singlets, the encoding, a trainable layer with the encoding after it, the observable."""
    wires = range(3, -1, -1)
    for y in wires:
        ax.plot([0.2, 6.9], [y, y], color=GREY, lw=1, zorder=0)
    for top in (3, 1):
        ax.text(-0.05, top - 0.5, r"$|s\rangle$", ha="right", va="center")
        ax.plot([0.2, 0.0, 0.2], [top, top - 0.5, top - 1], color=GREY, lw=1)
    for x in (0.95, 5.0):
        for y in wires:
            gate(ax, x, (y, y), rf"$x_{1 + (3 - y) % 2}$", VIOLET)
    for x, low in ((2.2, 2), (2.2, 0), (3.2, 1)):
        gate(ax, x, (low, low + 1), "$j$", TEAL)
    ax.plot([1.6, 1.6, 5.55, 5.55], [-0.45, -0.65, -0.65, -0.45], color=GREY, lw=1)
    ax.text(3.6, -1.0, "repeated; every layer has its own weights $j$", ha="center", color=GREY)
    gate(ax, 6.4, (2, 3), r"$\sigma_0\cdot\sigma_1$", ORANGE, width=1.0)
    ax.set(xlim=(-0.8, 7.1), ylim=(-1.3, 3.6))


def energies(ax: Axes) -> None:
    """The energy against the bond length: computed, and of the circuit."""
    potential, train, test = trained()
    lengths = np.linspace(1.0, 4.4, 200)
    curve = [ase.Atoms("LiH", [[0, 0, 0], [0, 0, r]]) for r in lengths]
    predicted = np.array([found.energy for found in qiff.predict(potential, curve)])
    zero = predicted.min()
    ax.plot(lengths, predicted - zero, color=VIOLET, lw=2, label="circuit", zorder=2)
    for frames, colour, name in ((train, GREY, "FCI, training"), (test, ORANGE, "FCI, test")):
        bonds = [atoms.get_distance(0, 1) for atoms in frames]
        computed = [atoms.get_potential_energy() - zero for atoms in frames]
        ax.plot(bonds, computed, ".", color=colour, ms=6, label=name, zorder=3)
    error = qiff.evaluate(potential, test)
    words = [
        f"{1000 * (error[key] or 0):.1f} {unit}"
        for key, unit in (("energy_mae", "meV"), ("forces_mae", "meV/Å"))
    ]
    ax.text(0.98, 0.09, "test errors\n" + ", ".join(words), transform=ax.transAxes, ha="right")
    ax.set(xlabel="bond length (Å)", ylabel="energy (eV)", xlim=(0.9, 4.45), ylim=(-0.15, 3.0))
    ax.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.02, 0.26))
    ax.spines[["top", "right"]].set_visible(False)


TITLES = (
    "a molecule",
    r"its circuit: no rotation changes $\langle\sigma_0\cdot\sigma_1\rangle$",
    "its energy; forces are exact derivatives",
)


def draw(name: str, **layout: Any) -> None:
    """The three parts, side by side or below each other."""
    fig, axes = plt.subplots(**layout)
    for ax, part, title in zip(axes, (molecule, circuit, energies), TITLES, strict=True):
        part(ax)
        ax.set_title(title, fontsize=12)
    for ax in axes[:2]:
        ax.axis("off")
    fig.tight_layout()
    fig.savefig(Path(__file__).with_name(name), dpi=110)


def main() -> None:
    """Draw the picture for wide and for narrow screens."""
    plt.rcParams |= {"font.size": 11, "mathtext.fontset": "cm"}
    draw("overview.png", ncols=3, figsize=(12, 3.1), width_ratios=[1.1, 2.6, 1.7])
    draw("overview-narrow.png", nrows=3, figsize=(4.6, 8.2), height_ratios=[1.0, 1.9, 1.9])


if __name__ == "__main__":
    main()
