"""StableHLO: a potential as one compiled function for other programs, which need no qiff.

The function has fixed sizes, those of a geometry, and plain arrays as arguments. Circuits are
simulated by the XLA engine, so it runs wherever XLA does.
"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ase
import jax
import jax.numpy as jnp
import numpy as np
from ase.data import chemical_symbols
from jax import export
from jaxtyping import Array

from .._checks import missing_extra
from ..atoms.graph import Graph, cell_of
from ..atoms.neighbours import VerletList
from ..model.derivatives import derivatives
from ..model.potential import AbstractPotential
from ..model.predict import check_atoms, dtype, precision
from ..quantum.circuit import with_engine

SKIN = 1.0
"""Distance in Å beyond the cutoff up to which the neighbours of the geometry are counted."""
_BLOCK = 1024  # atoms that are computed at a time, see `Graph`

ARGUMENTS = {
    "positions": "Å",
    "numbers": "atomic numbers; 0 for padding, which has no neighbours",
    "neighbours": "row i lists the atoms that atom i sees, counted from 0",
    "mask": "which of these are neighbours; the others are padding",
    "shifts": "image of each neighbour in units of the cell vectors; 0 for a molecule",
    "cell": "Å, rows are the cell vectors; the unit matrix for a molecule",
}
RESULTS = {
    "energy": "eV, without the reference energies of the atoms",
    "forces": "eV/Å",
    "virial": "eV, −dE/dε of a strain ε: −volume × stress",
}


def exported(potential: AbstractPotential, atoms: ase.Atoms) -> export.Exported:
    r"""Energy, forces and virial as a function for `jax.export`.

    $$ E, \quad F = -\frac{\partial E}{\partial R}, \quad
       W = -\frac{\partial E}{\partial\epsilon} = -V\sigma $$

    of the arguments `ARGUMENTS`, shapes (n_atoms, 3), (n_atoms,), twice (n_atoms, n_neighbours),
    (n_atoms, n_neighbours, 3) and (3, 3), in the precision of the weights. A neighbour is at
    $r_j + S_{ij} h$, with shifts $S$ and cell rows $h$; every pair is listed for both atoms.

    Args:
        potential: any potential.
        atoms: their number is that of the function, and so is the largest number of neighbours
            that one of them has, with room for some more.

    Raises:
        InputError: the potential cannot describe the atoms.
    """
    check_atoms(potential, atoms, "geometry")
    cell, cutoff, real = cell_of(atoms), potential.cutoff, dtype(potential)
    listed = VerletList.of(atoms.positions, cell, atoms.pbc, cutoff, SKIN).table.mask.shape
    shapes = {
        "positions": jax.ShapeDtypeStruct((len(atoms), 3), real),
        "numbers": jax.ShapeDtypeStruct((len(atoms),), "int32"),
        "neighbours": jax.ShapeDtypeStruct(listed, "int32"),
        "mask": jax.ShapeDtypeStruct(listed, "bool"),
        "shifts": jax.ShapeDtypeStruct((*listed, 3), "int32"),
        "cell": jax.ShapeDtypeStruct((3, 3), real),
    }
    potential = with_engine(potential, "xla")

    def function(*arrays: Array) -> tuple[Array, Array, Array]:
        graph = Graph(**dict(zip(ARGUMENTS, arrays, strict=True)), block=_BLOCK)
        found: Any = derivatives(jax.tree.map(jnp.asarray, potential), graph)
        volume = jnp.abs(jnp.linalg.det(jnp.asarray(graph.cell)))
        xx, yy, zz, yz, xz, xy = -volume * found.stress
        virial = jnp.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz]).reshape(3, 3)
        return found.energy, found.forces, virial

    with precision(potential), _no_source_files():
        anywhere = [export.DisabledSafetyCheck.platform()]
        to_export = export.export(jax.jit(function), platforms=["cpu"], disabled_checks=anywhere)
        return to_export(*(shapes[name] for name in ARGUMENTS))


@contextmanager
def _no_source_files() -> Iterator[None]:
    """A context in which JAX does not write the paths of source files into what it exports."""
    name = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, name)
    jax.config.update(name, 0)
    try:
        yield
    finally:
        jax.config.update(name, before)


def stablehlo_files(potential: AbstractPotential, atoms: ase.Atoms) -> dict[str, bytes | str]:
    """Contents by file suffix: `exported` as StableHLO, for JAX, and its description.

    `.stablehlo` is a portable artifact of StableHLO, `.jax` is for `jax.export.deserialize`, and
    `.json` has shapes and units of arguments and results, the cutoff in Å (null if there is none),
    and the reference energies in eV of the elements of the geometry.

    Raises:
        InputError: as `exported`.
        MissingExtraError: flatbuffers is not installed.
    """
    found = exported(potential, atoms)
    try:
        for_jax = bytes(found.serialize())
    except ImportError:
        raise missing_extra("flatbuffers", "stablehlo", "Export to StableHLO") from None
    numbers, cutoff = sorted({int(z) for z in atoms.numbers}), potential.cutoff
    record = {
        "arguments": _described(ARGUMENTS, found.in_avals),
        "results": _described(RESULTS, found.out_avals),
        "cutoff": cutoff if cutoff is not None and math.isfinite(cutoff) else None,
        "reference_energies": {
            chemical_symbols[z]: potential.reference_energy(np.array([z])) for z in numbers
        },
    }
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    return {".stablehlo": found.mlir_module_serialized, ".jax": for_jax, ".json": text}


def _described(texts: dict[str, str], shapes: Any) -> list[dict[str, Any]]:
    return [
        {"name": name, "shape": list(shape.shape), "dtype": shape.dtype.name, "is": text}
        for (name, text), shape in zip(texts.items(), shapes, strict=True)
    ]


FORMATS = {"stablehlo": stablehlo_files}
"""Formats of potentials as functions, by name."""
