"""All benchmarks: tables and figures in `results/`, all rows in `results/latest.json`.

    python -m benchmarks [--full]

`--full` times every peer at every size and precision, for more than half an hour.
"""

import argparse
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from qiff._files import atomic_write
from qiff.quantum.engine import describe

from . import atoms, circuits, dynamics, roofline, scaling

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("jax", "numpy", "pennylane", "pennylane-lightning", "tensorcircuit-ng", "qiskit-aer")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="every peer at every size")
    options = parser.parse_args()
    console, begin = Console(width=120), time.time()
    report: dict[str, Any] = {"machine": machine(), "full": options.full}
    console.print(report["machine"])
    report["roofline"] = roofline.run(os.cpu_count() or 1)
    report["circuits"] = []
    for row in circuits.run(options.full):
        report["circuits"].append(row)
        console.print(circuits.line(row))
    report["others"] = list(circuits.run_others())
    report["dynamics"] = dynamics.run()
    report["scaling"] = scaling.run()
    report["atoms"] = list(atoms.run())
    report["seconds"] = time.time() - begin
    scaling.plot(report["scaling"], RESULTS / "scaling.png")
    atoms.save(report["atoms"])
    atomic_write(RESULTS / "latest.json", json.dumps(report, indent=1))
    print_tables(console, report)


def machine() -> dict[str, Any]:
    cpu = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), "?"
    )
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=RESULTS
    ).stdout.strip()
    return {
        "processor": f"{cpu}, {os.cpu_count()} cores", "python": platform.python_version(),
        "engine": describe(), "commit": commit, **dict(_versions()),
    }  # fmt: skip


def _versions() -> Iterator[tuple[str, str]]:
    """Of the packages that are installed."""
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            yield name, version(name)


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def print_tables(console: Console, report: dict[str, Any]) -> None:
    table = Table("circuit", "batch", "precision", "task", "native µs", title="ratios to native")
    names = ["xla", "pennylane", "tensorcircuit"]
    for name in names:
        table.add_column(name)
    table.add_column("first call s")
    for row in report["circuits"]:
        seconds, ours = row["seconds"], row["seconds"]["native"]
        ratios = [f"{seconds[n] / ours:.1f}" if n in seconds else "" for n in names]
        first = " / ".join(f"{row['first_call'][n]:.1f}" for n in seconds)
        table.add_row(
            row["model"], str(row["batch"]), row["dtype"], row["task"], f"{1e6 * ours:.1f}",
            *ratios, first,
        )  # fmt: skip
    console.print(table)
    for row in report["others"]:
        ours, (peer, seconds) = row["seconds"]["native"], list(row["seconds"].items())[-1]
        what = f"{row['task']}, batch {row['batch']}: native {1e6 * ours:.1f} µs"
        console.print(f"{what}, {peer} {seconds / ours:.0f} times that")
    for key in ("dynamics", "roofline", "scaling"):
        console.print(key, report[key])
    for row in report["atoms"]:
        console.print(atoms.line(row))


if __name__ == "__main__":
    main()
