"""Check an installed qiff, in an environment without a compiler: run by `make test-wheel`."""

import subprocess
import tempfile
from pathlib import Path

import ase.build
import ase.io
import numpy as np

import qiff
from qiff.quantum.engine import describe


def run(*command: str) -> str:
    """What a command prints; an error unless it succeeds."""
    done = subprocess.run(["qiff", *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"qiff {' '.join(command)}: {done.stderr}")
    return done.stdout


def main() -> None:
    """Version, engine, the bundled model and a prediction, from outside any source tree."""
    folder = Path(qiff.__file__).parent
    assert "site-packages" in folder.parts, f"imported from {folder}, not from the wheel"
    assert (folder / "py.typed").exists(), "the type hints are not marked as such"
    assert describe().startswith("native"), f"engine: {describe()}"
    assert run("--version").split() == ["qiff", qiff.__version__]
    assert "local" in run("info", "ethanol")
    for name in ("page.html", "page.css", "page.js", "3Dmol-min.js", "3Dmol-LICENSE.txt"):
        assert (folder / "report" / "assets" / name).stat().st_size > 100, f"{name} is missing"
    with tempfile.TemporaryDirectory() as scratch:
        start, out = f"{scratch}/start.xyz", f"{scratch}/out.xyz"
        ase.io.write(start, ase.build.molecule("CH3CH2OH"))
        run("predict", "ethanol", start, out)
        (atoms,) = ase.io.iread(out)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    assert -4300 < energy < -4100, f"energy of ethanol: {energy} eV"
    assert np.abs(forces.sum(axis=0)).max() < 1e-3 < np.abs(forces).max() < 5, forces
    print(f"qiff {qiff.__version__}, engine {describe()}, ethanol {energy:.3f} eV")


main()
