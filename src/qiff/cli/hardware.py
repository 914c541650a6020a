"""Commands that lead to a quantum computer: export, resources; and `--executor` of others."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .._checks import InputError, check_known
from .._progress import progress
from .command import Commands, add, add_source_options, print_table, source_of

if TYPE_CHECKING:
    import ase

    from ..hardware import AbstractExecutor, MeasuredIntegrator, Measurement, Protocol
    from ..model.potential import AbstractPotential


def _export(options: argparse.Namespace) -> None:
    from .._files import atomic_write
    from ..hardware import circuits
    from ..hardware.files import FORMATS
    from ..training.checkpoint import load

    check_known("Format", options.to, FORMATS)
    potential = load(options.model)
    groups = circuits(potential, _geometry(options))
    items = [(group, k) for group in groups for k in range(len(group.angles))]
    out = Path(options.out or Path(options.model).stem)
    contents = {
        out.with_name(f"{out.name}-{n}{suffix}" if len(items) > 1 else f"{out.name}{suffix}"): text
        for n, (group, k) in enumerate(items, 1)
        for suffix, text in FORMATS[options.to](group, k).items()
    }
    for path in contents:
        if path.exists() and not options.overwrite:
            raise InputError(f"{path}: exists; choose another --out or replace it (--overwrite).")
    for path, text in contents.items():
        atomic_write(path, text)
        print(path)


def _resources(options: argparse.Namespace) -> None:
    from ..training.checkpoint import load

    potential = load(options.model)
    atoms = _geometry(options) if options.geometry else _scattered(potential)
    print_resources(options, potential, atoms)
    if not options.geometry:
        print("at scattered positions: give a --geometry for errors that mean something")


def _geometry(options: argparse.Namespace) -> "ase.Atoms":
    """The first configuration of the file that `--geometry` names."""
    from ..atoms.data.dataset import read

    return read(source_of(options, options.geometry))[0]


def _scattered(potential: "AbstractPotential") -> "ase.Atoms":
    """The atoms of a model, as its config names them, an Å or so apart."""
    import ase
    import numpy as np

    elements = _elements(potential.config())
    places = np.random.default_rng(0).normal(size=(len(elements), 3))
    return ase.Atoms(elements, places)


def _elements(config: object) -> list[str]:
    """The longest list of elements anywhere in a config.

    Raises:
        InputError: there is none.
    """
    found: list[list[str]] = []

    def search(node: object) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("elements"), list):
                found.append(node["elements"])
            for value in node.values():
                search(value)
        elif isinstance(node, list):
            for value in node:
                search(value)

    search(config)
    if not found:
        raise InputError("The model does not name its atoms: give a --geometry.")
    return max(found, key=len)


# --- with an executor -------------------------------------------------------------------------


def protocol_of(options: argparse.Namespace) -> "Protocol":
    """The protocol that the options of `add_executor` describe."""
    from ..hardware import Protocol
    from ..hardware.measure import mitigation

    names = [name.strip() for name in options.mitigate.split(",") if name.strip()]
    seed = getattr(options, "seed", 0)
    return Protocol(options.shots, options.method, mitigation(names), seed)


def executor_of(options: argparse.Namespace, cache: Path | None) -> "AbstractExecutor":
    """The executor that `--executor` names; results go to `--cache`, else to `cache`."""
    from ..hardware import make_executor

    if not options.executor:
        raise InputError("`--dry-run` needs an --executor to say what it would send.")
    folder = Path(options.cache) if options.cache else cache
    return make_executor(options.executor, seed=getattr(options, "seed", 0), cache=folder)


def print_resources(
    options: argparse.Namespace, potential: "AbstractPotential", atoms: "ase.Atoms"
) -> None:
    """What a geometry takes, before anything is sent."""
    from ..hardware import resources

    found = resources(potential, atoms, executor_of(options, None), protocol_of(options))
    print_table({k: f"{v:.3g}" if isinstance(v, float) else v for k, v in found.items()})


def measured(
    options: argparse.Namespace, potential: "AbstractPotential", frames: "list[ase.Atoms]"
) -> "list[Measurement]":
    """Energies and forces of frames from the executor that `--executor` names."""
    from ..hardware.estimate import measure
    from ..hardware.measure import Laboratory

    cache = Path(options.target).with_suffix(".results")
    executor, protocol, found = executor_of(options, cache), protocol_of(options), []
    with progress(len(frames)) as show:
        show(0, "compiling")
        tell = lambda n_circuits: show(len(found), f"{n_circuits} circuits")
        laboratory = Laboratory(executor, protocol, tell)
        for atoms in frames:
            found.append(measure(laboratory, potential, atoms))
    return found


def integrator_of(options: argparse.Namespace, path: Path) -> "MeasuredIntegrator":
    """Dynamics on forces from the executor that `--executor` names."""
    from ..hardware import MeasuredIntegrator

    executor = executor_of(options, path.with_suffix(".results"))
    return MeasuredIntegrator(executor, protocol_of(options))


def add_executor(sub: argparse.ArgumentParser, default: str | None = None) -> None:
    """Arguments for `executor_of` and `protocol_of`."""
    sub.add_argument(
        "--executor",
        default=default,
        metavar="NAME",
        help="exact, shots, aer:NOISE, fake:DEVICE, pennylane:DEVICE or runtime:DEVICE",
    )
    sub.add_argument("--shots", type=int, default=100_000, help="of a geometry, default 100000")
    sub.add_argument(
        "--method", default="bell", help="bell (default) or pauli: what is read at once"
    )
    sub.add_argument(
        "--mitigate", default="", metavar="NAMES", help="of readout, twirl, zne, symmetry; with ,"
    )
    sub.add_argument("--cache", default="", metavar="DIR", help="where results are kept")


def add_commands(commands: Commands) -> None:
    """Add these commands to the parser."""
    sub = add(commands, "export", _export, "write the circuit of a geometry for another package")
    sub.add_argument("model", metavar="MODEL")
    sub.add_argument("--geometry", required=True, metavar="FILE", help="its first configuration")
    sub.add_argument("--to", required=True, metavar="FORMAT", help="qasm3, qiskit or pennylane")
    sub.add_argument("--out", help="without suffix; default the name of the model")
    sub.add_argument("--overwrite", action="store_true", help="replace files")
    add_source_options(sub)

    sub = add(commands, "resources", _resources, "what a geometry takes of a quantum computer")
    sub.add_argument("model", metavar="MODEL")
    sub.add_argument("--geometry", metavar="FILE", help="its first configuration; default made up")
    add_executor(sub, "shots")
    add_source_options(sub)
