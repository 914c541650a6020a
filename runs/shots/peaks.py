"""Temperature and vibrational frequencies of a diatomic molecule or of water in trajectories.

    python runs/shots/peaks.py TRAJECTORY... [--timestep 0.5] [--parts 1]

Frequencies are the maxima of the spectra of the bond length, or of the angle, the sum and the
difference of the bond lengths, with a Hann window; a trajectory has one state for each time step,
oxygen first. A time $t$ resolves $1/t$. With --parts N each is cut into N, and mean and standard
deviation of these are printed: those of a single trajectory of this length.
"""

import argparse
from pathlib import Path

import ase
import ase.io
import ase.units
import numpy as np

PADDED = 1 << 17
PER_FS = 1 / (ase.units._c * 100 * 1e-15)  # 1/fs in 1/cm
SKIPPED = 200  # states, a tenth at most, for the thermostat to take hold


def coordinates(frames: list[ase.Atoms]) -> dict[str, np.ndarray]:
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


def measured(frames: list[ase.Atoms], timestep: float) -> dict[str, float]:
    """Temperature in K and frequencies in 1/cm."""
    temperatures = [float(atoms.get_temperature()) for atoms in frames]
    return {"temperature (K)": float(np.mean(temperatures))} | {
        name: frequency(values, timestep) for name, values in coordinates(frames).items()
    }


def main() -> None:
    """See the docstring of the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("trajectories", type=Path, nargs="+")
    parser.add_argument("--timestep", type=float, default=0.5)
    parser.add_argument("--parts", type=int, default=1)
    options = parser.parse_args()
    for path in options.trajectories:
        frames = list(ase.io.iread(path))
        frames = frames[min(SKIPPED, len(frames) // 10) :]
        length = len(frames) // options.parts
        found = [
            measured(frames[n * length : (n + 1) * length], options.timestep)
            for n in range(options.parts)
        ]
        shown = []
        for name in found[0]:
            values = np.array([one[name] for one in found])
            spread = f" ± {values.std(ddof=1):.0f}" if len(values) > 1 else ""
            shown.append(f"{name} {values.mean():.0f}{spread}")
        resolved = PER_FS / (options.timestep * length)
        print(f"{path}: {', '.join(shown)}; resolution {resolved:.0f} 1/cm")


if __name__ == "__main__":
    main()
