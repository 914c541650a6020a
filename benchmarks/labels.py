"""Seconds of labels in this process, in one worker and in two, for short and for long labels.

    python -m benchmarks.labels [CASE ...]

The three take turns; the start of the workers is not counted, the import of the program in them is.
The time of the processor is that of all processes, the start of the workers included.
"""

import os
import resource
import sys
import time
from functools import partial
from typing import NamedTuple

import ase
import numpy as np

from qiff import Source, read
from qiff._workers import workers
from qiff.labelling.level import Labeller
from qiff.labelling.levels import find_level

ROUNDS = 3
WORKERS = (0, 1, 2)
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Case(NamedTuple):
    """What is labelled, at which level, and how often."""

    smiles: str
    level: str
    n_labels: int


CASES = {
    "ethanol": Case("CCO", "gfn2", 1000),
    "decane": Case("CCCCCCCCCC", "gfn2", 200),
    "water": Case("O", "pbe/def2-svp", 40),
}


def label(labeller: Labeller, atoms: ase.Atoms) -> float:
    """The energy in eV; forces are computed with it."""
    return labeller(atoms)["energy"]


def geometries(case: Case) -> list[ase.Atoms]:
    """The molecule with random displacements of 0.03 Å."""
    (start,) = read(Source(f"smiles:{case.smiles}"))
    rng, found = np.random.default_rng(0), []
    for _ in range(case.n_labels):
        found.append(start.copy())
        found[-1].positions += rng.normal(scale=0.03, size=start.positions.shape)
    return found


def processor() -> float:
    """Seconds of the processor so far, of this process and of those that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def seconds(case: Case, n_workers: int) -> tuple[float, float]:
    """Of all labels, and of the processor; 0 for this process alone."""
    frames, before = geometries(case), processor()
    function = partial(label, find_level(case.level).label)
    with workers(n_workers) as map:
        begin = time.perf_counter()
        n_done = sum(1 for _ in map(function, frames))
        taken = time.perf_counter() - begin
    assert n_done == case.n_labels
    return taken, processor() - before


def main() -> None:
    for name in THREADS:
        os.environ[name] = "1"
    for case in sys.argv[1:] or CASES:
        times: dict[int, list[float]] = {n: [] for n in WORKERS}
        for _ in range(ROUNDS):
            for n in WORKERS:
                taken, used = seconds(CASES[case], n)
                times[n].append(taken)
                load = os.getloadavg()[0]
                line = f"{case}  {n} workers  {taken:.1f} s, of the processor {used:.1f} s"
                print(f"{line}, load {load:.1f}", flush=True)
        alone, one, two = (min(times[n]) for n in WORKERS)
        print(f"{case}: minimum {alone:.1f} s here, {one:.1f} s in 1 worker, {two:.1f} s in 2")
        print(
            f"{case}: one worker over two {one / two:.2f}, this process over two {alone / two:.2f}"
        )


if __name__ == "__main__":
    main()
