"""Temperature and vibrational frequencies of a diatomic molecule or of water in trajectories.

    python runs/shots/peaks.py TRAJECTORY... [--timestep 0.5]

Frequencies are the maxima of the spectra of the bond length, or of the angle, the sum and the
difference of the bond lengths, with a Hann window; a trajectory has one state for each time step,
oxygen first. A time $t$ resolves $1/t$.
"""

import argparse
from pathlib import Path

import ase.io
import ase.units
import numpy as np

PADDED = 1 << 17
PER_FS = 1 / (ase.units._c * 100 * 1e-15)  # 1/fs in 1/cm
SKIPPED = 0.1  # share of the states, for the thermostat to take hold


def coordinates(frames: list) -> dict[str, np.ndarray]:
    """Internal coordinates in Å and radians."""
    positions = np.array([atoms.positions for atoms in frames])
    first, *others = (positions[:, k] - positions[:, 0] for k in range(1, len(frames[0])))
    if not others:
        return {"stretch": np.linalg.norm(first, axis=1)}
    (second,) = others
    a, b = (np.linalg.norm(vectors, axis=1) for vectors in (first, second))
    angle = np.arccos((first * second).sum(1) / (a * b))
    return {"bend": angle, "symmetric stretch": a + b, "asymmetric stretch": a - b}


def frequency(values: np.ndarray, timestep: float) -> float:
    """The largest maximum of a spectrum in 1/cm."""
    spectrum = np.abs(np.fft.rfft((values - values.mean()) * np.hanning(len(values)), PADDED))
    frequencies = np.fft.rfftfreq(PADDED, timestep) * PER_FS
    return float(frequencies[(spectrum * (frequencies > 500)).argmax()])


def main() -> None:
    """See the docstring of the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("trajectories", type=Path, nargs="+")
    parser.add_argument("--timestep", type=float, default=0.5)
    options = parser.parse_args()
    for path in options.trajectories:
        frames = ase.io.read(path, ":")
        frames = frames[int(SKIPPED * len(frames)) :]
        temperatures = np.array([atoms.get_temperature() for atoms in frames])
        found = {
            name: frequency(values, options.timestep)
            for name, values in coordinates(frames).items()
        }
        resolved = PER_FS / (options.timestep * len(frames))
        shown = ", ".join(f"{name} {value:.0f}" for name, value in found.items())
        print(f"{path}: {temperatures.mean():.0f} K; {shown} 1/cm, resolution {resolved:.0f}")


if __name__ == "__main__":
    main()
