"""Ethanol in several interactions from circuits, sent stage by stage: energy, forces and errors.

python runs/shots/stages.py [--n-interactions 2] [--n-qubits 2] [--n-hidden 0] [--shots 1e8]
    [--geometries 4] [--seeds 5] [--pilot 0]
"""

import argparse

import ase.build
import jax
import numpy as np

import qiff
from qiff.hardware import Exact, Protocol, Shots, estimate, resources


def main() -> None:
    """Print how far results are from automatic differentiation, and what they cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("interactions", 2), ("qubits", 2), ("hidden", 0)):
        parser.add_argument(f"--n-{name}", type=int, default=default)
    parser.add_argument("--shots", type=float, default=1e8)
    parser.add_argument("--pilot", type=float, default=0.0)
    parser.add_argument("--geometries", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    sizes = {name: value for name, value in vars(options).items() if name.startswith("n_")}
    config = {"kind": "local", "elements": ["H", "C", "O"], "n_layers": 1, "n_circuits": 1, **sizes}
    potential = qiff.build(config, jax.random.key(0))
    potential = jax.tree.map(lambda leaf: np.asarray(leaf, "float64"), potential)
    protocol = Protocol(int(options.shots), pilot=options.pilot)
    off, of_energy = [], []
    for geometry in range(options.geometries):
        atoms = ase.build.molecule("CH3CH2OH")
        atoms.rattle(0.05, seed=geometry)
        wanted = qiff.predict(potential, atoms)
        if geometry == 0:
            exact = estimate(potential, atoms, Exact())
            print("exact, energy:", abs(exact.energy - wanted.energy), "eV")
            print("exact, forces:", np.abs(exact.forces - wanted.forces).max(), "eV/Å")
            for name, value in resources(potential, atoms, Shots(), protocol).items():
                print(f"{name:24} {value:.4g}")
        for seed in range(options.seeds):
            found = estimate(potential, atoms, Shots(100 * geometry + seed), protocol)
            off.append(((found.forces - wanted.forces) / found.forces_error).ravel())
            of_energy.append((found.energy - wanted.energy) / found.energy_error)
        for name, z in (("energy", np.array(of_energy)), ("forces", np.ravel(off))):
            inside, spread = np.mean(np.abs(z) < 3), np.sqrt(np.mean(z**2))
            print(f"{name}: {len(z)}, within three standard errors {inside:.4f}, rms {spread:.3f}")


if __name__ == "__main__":
    main()
