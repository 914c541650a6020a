"""Seconds of 1000 GFN2 labels of ethanol in this process, in one worker and in two.

    python -m benchmarks.labels

The three take turns; the start of the workers is not counted, the import of the program in them is.
"""

import os
import time

import ase
import ase.build
import numpy as np

from qiff._workers import workers

N_LABELS, ROUNDS = 1000, 3
WORKERS = (0, 1, 2)
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def label(atoms: ase.Atoms) -> float:
    """The energy in eV; forces are computed with it."""
    from tblite.ase import TBLite

    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    atoms.get_forces()
    return atoms.get_potential_energy()


def geometries() -> list[ase.Atoms]:
    """Ethanol with random displacements of 0.03 Å."""
    rng, found = np.random.default_rng(0), []
    for _ in range(N_LABELS):
        atoms = ase.build.molecule("CH3CH2OH")
        atoms.positions += rng.normal(scale=0.03, size=atoms.positions.shape)
        found.append(atoms)
    return found


def seconds(n_workers: int) -> float:
    """Of all labels; 0 for this process alone."""
    with workers(n_workers) as map:
        begin = time.perf_counter()
        n_done = sum(1 for _ in map(label, geometries()))
        taken = time.perf_counter() - begin
    assert n_done == N_LABELS
    return taken


def main() -> None:
    for name in THREADS:
        os.environ[name] = "1"
    times: dict[int, list[float]] = {n: [] for n in WORKERS}
    for _ in range(ROUNDS):
        for n in WORKERS:
            times[n].append(seconds(n))
            print(f"{n} workers  {times[n][-1]:.1f} s  load {os.getloadavg()[0]:.1f}", flush=True)
    alone, one, two = (min(times[n]) for n in WORKERS)
    print(f"minimum: in this process {alone:.1f} s, 1 worker {one:.1f} s, 2 workers {two:.1f} s")
    print(f"one worker over two: {one / two:.2f}, this process over two: {alone / two:.2f}")


if __name__ == "__main__":
    main()
