"""Predictions of any potential for configurations of ASE, in the precision of its weights."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any, overload

import ase
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress
from jaxtyping import Array, Float

from .._checks import InputError
from .._precision import NotFiniteError as NotFiniteError
from .._precision import computing, finite
from .._precision import enable_x64 as enable_x64
from ..atoms.graph import (
    Graph,
    check_apart,
    check_cell,
    complete_cell,
    graph,
    has_volume,
    rounded,
)
from ..atoms.groups import similar
from ..atoms.neighbours import NeighbourTable, neighbour_table
from .blocks import block_size, with_blocks
from .derivatives import Derivatives, derivatives
from .potential import AbstractPotential

_BATCH = 256  # configurations that are evaluated side by side, at most
_BLOCKS = 2  # of atoms in them, at most
_WORTH = 20_000  # atoms, which are computed in the time that it takes to compile
_FARTHEST = 1e4  # Å; float32 resolves 0.001 Å there


@dataclass(frozen=True)
class Prediction:
    """What a potential predicts of one configuration: a field for each of `PROPERTIES`, in double
    precision, whatever it was computed in, since ASE's files expect it.

    Args:
        energy: in eV.
        forces: in eV/Å.
        stress: in eV/Å³ in the order xx, yy, zz, yz, xz, xy; None without a cell.
    """

    energy: float
    forces: Float[np.ndarray, "n_atoms 3"]
    stress: Float[np.ndarray, "6"] | None = None

    def results(self) -> dict[str, Any]:
        """By property, those that there are: as ASE keeps them."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def virial(self, atoms: ase.Atoms) -> Float[np.ndarray, "3 3"]:
        r"""$W = -\partial E/\partial\epsilon = -V\sigma$ in eV; without a cell $\sum_i r_i F_i^T$.

        Args:
            atoms: the configuration.
        """
        if self.stress is None:
            return atoms.positions.T @ self.forces
        return -atoms.get_volume() * voigt_6_to_full_3x3_stress(self.stress)


@eqx.filter_jit
def _predict_many(potential: AbstractPotential, graphs: Graph) -> Derivatives:
    """Some at a time, as many as fit into blocks; the last ones are computed more than once."""
    n_frames, n_atoms = graphs.numbers.shape
    size = max(1, min(_BATCH, n_frames, _BLOCKS * block_size() // max(1, n_atoms)))
    n_parts = -(-n_frames // size)
    places = np.minimum(np.arange(n_parts * size), n_frames - 1).reshape(n_parts, size)
    parts = jax.tree.map(lambda values: jnp.asarray(values)[places], graphs)
    found = jax.lax.map(lambda part: derivatives(potential, with_blocks(part)), parts)
    return jax.tree.map(lambda values: values.reshape(-1, *values.shape[2:])[:n_frames], found)


def evaluator(
    potential: AbstractPotential, atoms: ase.Atoms
) -> Callable[[Float[np.ndarray, "n_atoms 3"], Float[np.ndarray, "3 3"]], Prediction]:
    """Predictions for these atoms as a function of positions and cell in Å, for many calls.

    Compiled once for each structure of a potential, number of atoms and width of the neighbour
    table. What is given is not checked: that is for the caller, see `check_atoms`. Which cell
    vectors are periodic is taken from the atoms; the cell does not count if none is. What is
    predicted is finite; if it is not, an error names atoms that coincide.
    """
    leaves, structure = jax.tree.flatten(potential)
    function, name, cutoff = _compiled(structure), dtype(potential), potential.cutoff
    with computing(name):
        numbers = jnp.asarray(atoms.numbers.astype("int32"))
    reference_energy, n_atoms = potential.reference_energy(atoms.numbers), len(atoms)
    pbc, in_volume = atoms.pbc.copy(), has_volume(atoms)

    def evaluate(positions: np.ndarray, cell: np.ndarray) -> Prediction:
        box = complete_cell(cell) if pbc.any() else None
        try:
            with computing(name):
                table = neighbour_table(positions, cutoff, box, pbc)
                at = rounded(positions, name), numbers, table
                narrow = None if box is None else box.astype(name, copy=False)
                found = finite(np.asarray(function(leaves, *at, narrow), float))
        except NotFiniteError:
            check_apart(ase.Atoms(atoms.numbers, positions, cell=box, pbc=pbc), "atoms")
            raise
        forces, stress = np.split(found[1:], [3 * n_atoms])
        energy = reference_energy + float(found[0])
        return Prediction(energy, forces.reshape(-1, 3), stress if in_volume else None)

    return evaluate


@cache
def _compiled(structure: Any) -> Callable[..., Float[Array, " n_results"]]:
    """Energy, forces and stress in one array: to flatten a potential or fetch an array costs more
    than a small circuit."""

    def all_of(
        leaves: list[Array],
        positions: Array,
        numbers: Array,
        table: NeighbourTable,
        cell: Array | None,
    ) -> Array:
        potential: Any = jax.tree.unflatten(structure, leaves)
        seen = Graph(positions=positions, numbers=numbers, cell=cell, **table._asdict())
        found = derivatives(potential, with_blocks(seen)).properties().values()
        return jnp.concatenate([jnp.ravel(value) for value in found])

    return jax.jit(all_of)


def atomic_energies(
    potential: AbstractPotential, atoms: ase.Atoms
) -> Float[np.ndarray, " n_atoms"]:
    """The energy of each atom in eV, with its reference energy; their sum is the energy.

    Raises:
        InputError: as `predict`.
        NotFiniteError: there is no energy.
    """
    check_atoms(potential, atoms, "atoms")
    with precision(potential):
        seen = graph(atoms, dtype(potential), potential.cutoff)
        found = finite(np.asarray(eqx.filter_jit(potential)(with_blocks(seen)), float))
    return found + potential.reference_energies(atoms.numbers)


@overload
def predict(potential: AbstractPotential, atoms: ase.Atoms) -> Prediction: ...
@overload
def predict(potential: AbstractPotential, atoms: Sequence[ase.Atoms]) -> list[Prediction]: ...
def predict(
    potential: AbstractPotential, atoms: ase.Atoms | Sequence[ase.Atoms]
) -> Prediction | list[Prediction]:
    """Energy, forces and, with a cell, stress of one configuration or of several.

    Args:
        potential: any potential, in the precision of its weights.
        atoms: one configuration, or several.

    Returns:
        What it predicts of the configuration, or a list of that for several.

    Raises:
        InputError: the potential cannot describe one of them, its positions are not finite, or
            atoms coincide and there is no energy; its number is named.
        NotFiniteError: there is no energy for another reason.
    """
    if isinstance(atoms, ase.Atoms):
        return predict(potential, [atoms])[0]
    if not atoms:
        return []
    for index, frame in enumerate(atoms):
        check_atoms(potential, frame, f"frame {index}")
    n_atoms = np.array([len(frame) for frame in atoms])
    found: dict[int, Prediction] = {}
    try:
        for group in similar(n_atoms, np.zeros_like(n_atoms), worth=_WORTH):
            own = [atoms[index] for index in group]
            found |= zip(group.tolist(), _predicted(potential, own), strict=True)
    except NotFiniteError:
        for index, frame in enumerate(atoms):
            check_apart(frame, f"frame {index}")
        raise
    return [found[index] for index in range(len(atoms))]


def _predicted(potential: AbstractPotential, frames: Sequence[ase.Atoms]) -> list[Prediction]:
    """Of configurations that are padded to the largest of them."""
    with precision(potential):
        graphs = graph(frames, dtype(potential), potential.cutoff)
        found = _predict_many(potential, graphs)
        found = jax.tree.map(lambda values: finite(np.asarray(values, float)), found)
    return [
        Prediction(
            potential.reference_energy(frame.numbers) + float(found.energy[k]),
            found.forces[k, : len(frame)],
            found.stress[k] if has_volume(frame) else None,
        )
        for k, frame in enumerate(frames)
    ]


def check_atoms(potential: AbstractPotential, atoms: ase.Atoms, place: str) -> None:
    """Raise InputError, naming the place, unless the potential can describe the atoms."""
    if not len(atoms):
        raise InputError(f"{place}: has no atoms.")
    if not np.all(np.isfinite(atoms.positions)):
        raise InputError(f"{place}: `positions` must be finite, but has NaN or infinity.")
    check_cell(atoms, place)
    if (extent := np.ptp(atoms.positions)) > _FARTHEST and dtype(potential) == "float32":
        raise InputError(
            f"{place}: extends over {extent:.3g} Å, in which single precision does not resolve "
            f"distances; at most {_FARTHEST:g} Å, or a model in float64."
        )
    if atoms.pbc.any() and not potential.is_local:
        raise InputError(
            f"{place}: is periodic (pbc = {atoms.pbc.tolist()}), but the model describes an "
            "isolated molecule; ignore the cell (`Calculator(…, isolated=True)`, `--isolated`), "
            "set pbc to false, or use a model with a cutoff."
        )
    try:
        potential.check(atoms.numbers)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def dtype(potential: AbstractPotential) -> str:
    """The floating-point type of the weights of a potential."""
    return np.result_type(*(leaf.dtype for leaf in jax.tree.leaves(potential))).name


def precision(potential: AbstractPotential) -> AbstractContextManager[None]:
    """A context in which JAX computes in the precision of the weights of a potential.

    Args:
        potential: decides the precision, by the type of its weights.

    Returns:
        The context, for `with`.

    Raises:
        NotFiniteError: an engine found angles that are NaN or infinite.
    """
    return computing(dtype(potential))
