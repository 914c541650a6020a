"""Ethanol in several interactions from circuits, sent stage by stage: energy, forces and errors.

python runs/shots/stages.py [--n-interactions 2] [--n-qubits 2] [--n-hidden 0] [--shots 1e8]
    [--geometries 4] [--seeds 5] [--pilot 0] [--left-out]

With --left-out: of models of two interactions, for each geometry, the share of the variance of
forces that is not in their standard errors, from second derivatives of the simulated circuits.
"""

import argparse
from functools import partial

import ase
import ase.build
import jax
import numpy as np

import qiff
from qiff.hardware import Exact, Protocol, Shots, estimate, resources
from qiff.hardware.estimate import Geometry, measured_stages
from qiff.hardware.measure import Laboratory
from qiff.hardware.resources import DryRun
from qiff.model.plan import Response
from qiff.quantum.engine import expectations


def left_out(potential: qiff.AbstractPotential, atoms: ase.Atoms, protocol: Protocol) -> np.ndarray:
    """What the variances of forces would grow by, as a share, with second derivatives."""
    with qiff.precision(potential):
        geometry = Geometry(potential, atoms)
        (measured,) = measured_stages(Laboratory(DryRun(), protocol), [geometry], 2)
        first, second = measured.values()
        known = [one.group.response(one.found.values) for one in (first, second)]
        angles = geometry.plan._trace.run(*geometry.given, known)[0][1]
        simulate = jax.vmap(partial(expectations, second.group.program, engine="xla"))
        slopes = jax.vmap(jax.jacfwd(partial(expectations, second.group.program, engine="xla")))

        def forces(values: jax.Array, *, curved: bool) -> jax.Array:
            weights, positions = geometry.given
            one = Response(values, known[0].slopes)
            at = geometry.plan._trace.run(weights, positions, [one, known[1]])[0][1]
            two = Response(simulate(at), slopes(at if curved else angles))
            energy = geometry.plan._trace.energy
            return -jax.grad(energy, 1)(weights, positions, [one, two]).ravel()

        def variances(curved: bool) -> np.ndarray:
            of = jax.jit(jax.jacfwd(partial(forces, curved=curved)))(known[0].values)
            covariance = first.found.covariance[: len(known[0].values)]
            return np.einsum("iko,kop,ikp->i", of, covariance, of, optimize=True)

        total = np.diagonal(estimate(potential, atoms, DryRun(), protocol).covariance)
        return (variances(True) - variances(False)) / total


def main() -> None:
    """Print how far results are from automatic differentiation, and what they cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("interactions", 2), ("qubits", 2), ("hidden", 0)):
        parser.add_argument(f"--n-{name}", type=int, default=default)
    parser.add_argument("--shots", type=float, default=1e8)
    parser.add_argument("--pilot", type=float, default=0.0)
    parser.add_argument("--geometries", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--left-out", action="store_true")
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
        if options.left_out:
            share = left_out(potential, atoms, protocol)
            print(f"left out of the variance: mean {share.mean():.3f}, largest {share.max():.3f}")
            continue
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
