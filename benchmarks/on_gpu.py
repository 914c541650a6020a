"""The water circuit on a GPU: the kernels in Pallas against plain JAX.

    python -m benchmarks.on_gpu

All rows are printed, and kept in `results/gpu.json`.
"""

import json
import sys
from pathlib import Path

import jax

from qiff._checks import InputError
from qiff._files import atomic_write
from qiff.quantum.engine import choose
from qiff.quantum.engines import pallas

from .circuits import MODELS, compared

RESULTS = Path(__file__).parent / "results"
BATCHES = (256, 4096, 65536)


def main() -> None:
    ours = pallas.ENGINE.name
    try:
        choose(ours)
    except InputError as error:
        sys.exit(f"Nothing is measured. {error}")
    rows = []
    for model in MODELS:
        for batch in BATCHES:
            for dtype in ("float32", "float64"):
                for row in compared([ours, "xla"], model, batch, dtype):
                    rows.append(row)
                    print(json.dumps(row))
    report = {"device": jax.devices()[0].device_kind, "jax": jax.__version__, "rows": rows}
    atomic_write(RESULTS / "gpu.json", json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
