"""Energy and forces of any potential: the package's only gradient in the positions."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, overload

import ase
import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from .._checks import InputError, RunError
from .._types import Energy, Forces
from ..atoms.graph import Graph, graph
from .potential import AbstractPotential

try:
    from jax import enable_x64
except ImportError:  # jax < 0.8
    from jax.experimental import enable_x64  # pyright: ignore[reportAttributeAccessIssue]

_AT_ONCE = 256  # configurations evaluated side by side


class Prediction(NamedTuple):
    """Energy in eV and forces in eV/Å of one configuration."""

    energy: float
    forces: Float[np.ndarray, "n_atoms 3"]


def energy(potential: AbstractPotential, graph: Graph) -> Energy:
    r"""$E = \sum_i E_i$ of one configuration, in eV."""
    return potential(graph).sum()


def energy_and_forces(potential: AbstractPotential, graph: Graph) -> tuple[Energy, Forces]:
    r"""$E$ in eV and $F = -\partial E/\partial R$ in eV/Å of one configuration."""

    def of_positions(positions: Array) -> Energy:
        return energy(potential, eqx.tree_at(lambda g: g.positions, graph, positions))

    value, gradient = jax.value_and_grad(of_positions)(jax.numpy.asarray(graph.positions))
    return value, -gradient


@eqx.filter_jit
def _predict_many(potential: AbstractPotential, graphs: Graph) -> tuple[Array, Array]:
    one = lambda graph: energy_and_forces(potential, graph)
    return jax.lax.map(one, graphs, batch_size=_AT_ONCE)


@overload
def predict(potential: AbstractPotential, atoms: ase.Atoms) -> Prediction: ...
@overload
def predict(potential: AbstractPotential, atoms: Sequence[ase.Atoms]) -> list[Prediction]: ...
def predict(
    potential: AbstractPotential, atoms: ase.Atoms | Sequence[ase.Atoms]
) -> Prediction | list[Prediction]:
    """Energy and forces of one configuration or of several.

    Args:
        potential: any potential, in the precision of its weights.
        atoms: one configuration, or several of equal size.

    Raises:
        InputError: the potential cannot describe one of them, it is periodic or its positions
            are not finite; its number is named.
    """
    if isinstance(atoms, ase.Atoms):
        return predict(potential, [atoms])[0]
    if not atoms:
        return []
    for index, frame in enumerate(atoms):
        check_atoms(potential, frame, f"frame {index}")
    with precision(potential):
        energies, forces = _predict_many(potential, graph(atoms, dtype(potential)))
        values, vectors = np.asarray(energies), np.asarray(forces)
    return [Prediction(float(e), f) for e, f in zip(values, vectors, strict=True)]


def check_atoms(potential: AbstractPotential, atoms: ase.Atoms, place: str) -> None:
    """Raise InputError, naming the place, unless the potential can describe the atoms."""
    if not np.all(np.isfinite(atoms.positions)):
        raise InputError(f"{place}: `positions` must be finite, but has NaN or infinity.")
    if atoms.pbc.any():
        raise InputError(
            f"{place}: is periodic (pbc = {atoms.pbc.tolist()}), but the model describes an "
            "isolated molecule; set pbc to false."
        )
    try:
        potential.check(atoms.numbers)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def dtype(potential: AbstractPotential) -> str:
    """The floating-point type of the weights of a potential."""
    return np.result_type(*(leaf.dtype for leaf in jax.tree.leaves(potential))).name


class NotFiniteError(RunError):
    """The angles of a circuit became NaN or infinite."""


@contextmanager
def precision(potential: AbstractPotential) -> Iterator[None]:
    """A context in which JAX computes in the precision of the weights of a potential.

    Raises:
        NotFiniteError: an engine found angles that are NaN or infinite.
    """
    with enable_x64(dtype(potential) == "float64"):
        try:
            yield
        except jax.errors.JaxRuntimeError as error:
            if "must be finite" not in str(error):
                raise
            raise NotFiniteError(
                "the angles of a circuit became NaN or infinite: the weights of the model are "
                "not finite or the positions have run away."
            ) from None
