"""A step of dynamics through each program that drives our potentials, beside our compiled loop.

    python -m benchmarks.routes

writes `results/routes.json`: seconds of the processor of a step of NVE, of all threads and child
processes together, for ethanol and for 64 water molecules in a cell. Each run is a process of its
own; a long one less a short one leaves out imports and compilation.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import ase
import ase.build
import ase.units

import qiff
from qiff._files import atomic_write

from .matter import RESULTS
from .on_mace import box

TIMESTEP = 0.1  # fs: the start is not relaxed


class System(NamedTuple):
    """What is simulated.

    Args:
        model: that comes with qiff.
        start: the configuration.
        steps: of the short and of the long run.
    """

    model: str
    start: Callable[[], ase.Atoms]
    steps: tuple[int, int]


SYSTEMS = {
    "ethanol": System("ethanol", lambda: ase.build.molecule("CH3CH2OH"), (100, 2100)),
    "64 water": System("liquid-water", lambda: box(64), (20, 320)),
}


def compiled(system: System, n_steps: int, folder: Path) -> None:
    """The loop of `qiff md`."""
    dynamics = qiff.Dynamics("nve", 300.0, TIMESTEP, n_steps, n_steps)
    qiff.run_dynamics(qiff.load(system.model), system.start(), dynamics, folder / "nve.xyz")


def through_ase(system: System, n_steps: int, folder: Path) -> None:
    """Velocity Verlet of ASE with our calculator."""
    from ase.md.verlet import VelocityVerlet

    del folder
    atoms = system.start()
    atoms.calc = qiff.Calculator(qiff.load(system.model))
    VelocityVerlet(atoms, timestep=TIMESTEP * ase.units.fs).run(n_steps)


def through_ipi(system: System, n_steps: int, folder: Path) -> None:
    """i-PI with one bead, which calls the potential itself (`ffdirect`)."""
    from qiff.interfaces.ipi import PathIntegral, write_inputs

    settings = PathIntegral("nve", 300.0, 1, TIMESTEP, n_steps, n_steps)
    write_inputs(folder, system.model, system.start(), settings)
    program = Path(sys.executable).with_name("i-pi")
    subprocess.run([program, "input.xml"], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def through_openmm(system: System, n_steps: int, folder: Path) -> None:
    """OpenMM on its platform CPU."""
    import openmm
    import openmm.app
    import openmmml

    del folder
    atoms, topology = system.start(), openmm.app.Topology()
    residue = topology.addResidue("X", topology.addChain())
    for number in atoms.numbers:
        topology.addAtom("X", openmm.app.Element.getByAtomicNumber(int(number)), residue)
    if atoms.pbc.all():
        topology.setPeriodicBoxVectors([openmm.Vec3(*row) for row in atoms.cell.array / 10])
    potential = openmmml.MLPotential("qiff", modelPath=system.model)
    integrator = openmm.VerletIntegrator(TIMESTEP / 1000)
    platform = openmm.Platform.getPlatform("CPU")
    context = openmm.Context(potential.createSystem(topology), integrator, platform)
    context.setPositions(atoms.positions / 10)
    integrator.step(n_steps)


def through_lammps(system: System, n_steps: int, folder: Path) -> None:
    """LAMMPS, one rank."""
    from qiff.interfaces.lammps import attach, open_lammps

    del folder
    atoms = system.start()
    if not atoms.pbc.any():
        atoms.center(vacuum=5.0)
    elements = sorted(set(atoms.symbols))
    x, y, z = atoms.cell.lengths()
    lmp = open_lammps("-log", "none", "-screen", "none")
    lmp.commands_string(f"units metal\nboundary {'p p p' if atoms.pbc.any() else 'f f f'}")
    lmp.commands_string(f"region box block 0 {x} 0 {y} 0 {z}\ncreate_box {len(elements)} box")
    types = [elements.index(symbol) + 1 for symbol in atoms.symbols]
    atoms.wrap()
    lmp.create_atoms(len(atoms), None, types, atoms.positions.ravel().tolist())
    for number, symbol in enumerate(elements, 1):
        lmp.command(f"mass {number} {ase.Atoms(symbol).get_masses()[0]}")
    lmp.commands_string(f"pair_style zero 2.0\npair_coeff * *\ntimestep {TIMESTEP / 1000}")
    lmp.command("fix move all nve")
    attach(lmp, qiff.load(system.model), elements)
    lmp.command(f"run {n_steps}")


class Route(NamedTuple):
    """A program, and the package whose version is recorded."""

    run: Callable[[System, int, Path], None]
    package: str


ROUTES = {
    "qiff md": Route(compiled, "qiff"),
    "ASE": Route(through_ase, "ase"),
    "i-PI": Route(through_ipi, "ipi"),
    "OpenMM": Route(through_openmm, "openmm"),
    "LAMMPS": Route(through_lammps, "lammps"),
}


def seconds(route: str, system: str, n_steps: int) -> float:
    """Processor seconds of a process that runs so many steps, its children included."""
    command = [sys.executable, "-m", "benchmarks.routes", "--one", route, system, str(n_steps)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def of_step(route: str, system: str, turns: int) -> float:
    """Processor seconds of a step: the least of some turns."""
    few, many = SYSTEMS[system].steps
    first = seconds(route, system, few)  # compiles
    found = []
    for _ in range(turns):
        long, short = seconds(route, system, many), seconds(route, system, few)
        found.append((long - min(short, first)) / (many - few))
    return min(found)


def main() -> None:
    from .__main__ import machine

    parser = argparse.ArgumentParser(prog="python -m benchmarks.routes")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--turns", type=int, default=2)
    options = parser.parse_args()
    if options.one:
        route, system, n_steps = options.one
        with tempfile.TemporaryDirectory() as folder:
            ROUTES[route].run(SYSTEMS[system], int(n_steps), Path(folder))
        return
    found: dict[str, Any] = {"machine": machine()}
    for name, route in ROUTES.items():
        try:
            row: dict[str, Any] = {"version": version(route.package)}
        except PackageNotFoundError:
            print(f"{name}: not measured, {route.package} is not installed")
            continue
        for system in SYSTEMS:
            row[system] = of_step(name, system, options.turns)
            ratio = row[system] / found.get("qiff md", row)[system]
            print(
                f"{name}, {system}: {1e3 * row[system]:.2f} ms, {ratio:.2f} of qiff md", flush=True
            )
        found[name] = row
    atomic_write(RESULTS / "routes.json", json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
