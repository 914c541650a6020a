"""Molecular dynamics of liquid water with MACE, through its own ASE calculator.

    python -m benchmarks.on_mace MOLECULES

It needs `mace-torch` and neither qiff nor JAX, so that it can run in an environment of its own.
"""

import json
import os
import resource
import sys
import time
from importlib.metadata import version
from typing import Any

import ase
import ase.units
import numpy as np
from ase.md.verlet import VelocityVerlet
from scipy.spatial.transform import Rotation

CUTOFF = 5.0  # Å
SPACING = 3.1042  # Å between molecules on a lattice: 1 g/cm³
ATOM_STEPS = 300_000  # atoms times steps of a run
_MOLECULE = np.array([[0, 0, 0], [0.757, 0.586, 0], [-0.757, 0.586, 0]])


def box(n_molecules: int) -> ase.Atoms:
    """Molecules on a cubic lattice, turned at random."""
    side = round(n_molecules ** (1 / 3))
    places = SPACING * np.stack(np.meshgrid(*[np.arange(side)] * 3), -1).reshape(-1, 3)
    turns = Rotation.from_quat(np.random.default_rng(0).normal(size=(len(places), 4)))
    positions = [place + turn.apply(_MOLECULE) for place, turn in zip(places, turns, strict=True)]
    length = side * SPACING
    return ase.Atoms("OHH" * len(places), np.concatenate(positions), cell=[length] * 3, pbc=True)


def mace(n_molecules: int) -> dict[str, Any]:
    """Processor seconds of a step of velocity Verlet through ASE, and peak memory in MiB."""
    os.environ.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # e3nn loads its constants
    import torch  # pyright: ignore[reportMissingImports]
    from e3nn import o3  # pyright: ignore[reportMissingImports]
    from mace.calculators import MACECalculator  # pyright: ignore[reportMissingImports]
    from mace.modules import MACE, interaction_classes  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    torch.set_default_dtype(torch.float32)
    block = interaction_classes["RealAgnosticResidualInteractionBlock"]
    model = MACE(
        r_max=CUTOFF, num_bessel=8, num_polynomial_cutoff=5, max_ell=2, num_interactions=2,
        interaction_cls=block, interaction_cls_first=block, num_elements=2,
        hidden_irreps=o3.Irreps("32x0e + 32x1o"), MLP_irreps=o3.Irreps("16x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.zeros(2), avg_num_neighbors=50.0, atomic_numbers=[1, 8], correlation=3,
        radial_type="bessel",
    )  # fmt: skip
    atoms = box(n_molecules)
    atoms.calc = MACECalculator(models=[model], device="cpu", default_dtype="float32")
    driver = VelocityVerlet(atoms, timestep=0.01 * ase.units.fs)
    n_steps = max(2, ATOM_STEPS // 20 // len(atoms))
    driver.run(2)
    begin = time.process_time()
    driver.run(n_steps)
    return {
        "seconds": (time.process_time() - begin) / n_steps,
        "MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    used = {package: version(package) for package in ("torch", "mace-torch")}
    print(json.dumps(mace(int(sys.argv[1])) | {"versions": used}))
