"""Every third frame of a data set in few bytes: labels rounded to 1e-6 eV and 1e-4 eV/Å.

    qiff data make organic --n-frames 900
    python runs/organic/bundle.py organic.xyz src/qiff/atoms/data/bundled/organic.xyz

Positions have four decimals already. The provenance beside the data says so.
"""

import json
import re
import sys
from pathlib import Path

import qiff
from qiff._files import atomic_write, read_record
from qiff.atoms.data.dataset import write


def short(text: str) -> str:
    """An extxyz file with columns of four decimals, without zeros at the end."""
    text = re.sub(r"energy=(-?\d+\.\d+)", lambda found: f"energy={float(found[1]):.6f}", text)
    number = lambda found: f"{float(found[1]) + 0.0:.4f}".rstrip("0").rstrip(".")
    lines = []
    for line in text.splitlines():
        atom = re.match(r"[A-Z][a-z]? +-?\d", line)
        lines.append(re.sub(r" +(-?\d+\.\d+)", lambda f: f" {number(f)}", line) if atom else line)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    frames = qiff.read(qiff.Source(f"{source}@::3"), need_energy=True, need_forces=True)
    write(target, frames)
    atomic_write(target, short(target.read_text("utf-8")))
    record = read_record(source.with_suffix(".json")) | {
        "bundled": "every third frame; energies are rounded to 1e-6 eV, forces to 1e-4 eV/Å"
    }
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    atomic_write(target.with_suffix(".json"), text)
