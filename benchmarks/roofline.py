"""Floating-point operations per second of the kernels against what the machine can do.

Counts are of one lane: operations on amplitudes by pair or block, as gates.hpp writes
them, and on angles, as lanes.hpp does. A multiplication with addition counts two.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from qiff.model.predict import enable_x64
from qiff.quantum.engines import native
from qiff.quantum.program import Program

from .kernels import calls, programs
from .timing import side_by_side

BATCH = 4096
PASSES = {"value": ("forward",), "gradient": ("forward", "backward"), "second": ("tangent", "back")}
# operations for each pair of amplitudes that a gate turns
ON_STATES = {
    "spin": {"forward": 28, "backward": 52, "tangent": 80, "back": 152},
    "exchange": {"forward": 12, "backward": 20, "tangent": 32, "back": 48},
}
# operations on the angles of a gate: series of 13 or 11 terms, and vector algebra
ON_ANGLES = {
    "spin": {"forward": 56, "backward": 110, "tangent": 155, "back": 160},
    "exchange": {"forward": 62, "backward": 2, "tangent": 66, "back": 6},
}


def operations(program: Program, task: str) -> int:
    """Floating-point operations of one sample in float64."""
    pairs = {"spin": 2**program.n_qubits // 2, "exchange": 2**program.n_qubits // 4}
    return sum(
        pairs[gate.name] * ON_STATES[gate.name][step] + ON_ANGLES[gate.name][step]
        for gate in program.gates()
        for step in PASSES[task]
    )


def peak(dtype: str, n_threads: int, n_rounds: int = 20_000_000) -> float:
    """Operations per second of multiplications with additions on all threads."""
    with ThreadPoolExecutor(n_threads) as pool:
        begin = time.perf_counter()
        done = sum(pool.map(lambda _: native.multiply_add(dtype, n_rounds), range(n_threads)))
        return done / (time.perf_counter() - begin)


def run(n_threads: int) -> dict[str, Any]:
    """Operations per second of each kernel, and their share of the peak before and after."""
    program, found = programs()["water"], {}
    with enable_x64(True):
        timed = calls(program, "float64", BATCH, spread=1.0)
        roof = peak("float64", n_threads)
        seconds = side_by_side(timed)
        roof = max(roof, peak("float64", n_threads))
    for task, s in seconds.items():
        rate = BATCH * operations(program, task) / s
        found[task] = {
            "microseconds": 1e6 * s,
            "gigaflops": rate / 1e9,
            "share_of_peak": rate / roof,
        }
    return {"peak_gigaflops": roof / 1e9, "threads": n_threads, "kernels": found}
