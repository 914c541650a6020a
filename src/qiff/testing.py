"""Laws that every potential must obey, to be checked for your own potentials in your own tests.

A law is a function of a potential and a configuration whose value is the defect: by how much
energies (eV) and forces (eV/Å) differ from what the law requires, relative to the largest force
if that is above 1 eV/Å. `check_potential` checks all laws that apply:

```python
from qiff.testing import check_potential


def test_my_potential():
    check_potential(my_potential, my_atoms)
```
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import ase
import jax
import jax.numpy as jnp
import numpy as np

from ._changes import defect, evaluate, in_precision, transformed
from ._changes import random_rotation as _random_rotation
from ._laws_of_cells import CELL as CELL
from ._laws_of_cells import (
    box_rotation,
    choice_of_cell,
    large_box,
    strain_gradient,
    supercell,
    wrapping,
)
from ._laws_of_cells import boxed as boxed
from .atoms.graph import Graph, graph
from .model.build import skeleton
from .model.derivatives import energy
from .model.potential import AbstractPotential
from .model.predict import Prediction, dtype, precision, predict
from .quantum.consistency import check_gate as check_gate

TOLERANCE = {"float64": 1e-10, "float32": 2e-4}
"""Largest allowed defect by the precision of a potential."""
_STEP = 1e-4  # Å, of central differences
_STIRRED = 0.1  # Å
_FAR = 20.0  # Å beyond the interaction range

Law = Callable[[AbstractPotential, ase.Atoms], float]


def translation(potential: AbstractPotential, atoms: ase.Atoms) -> float:
    """Energies and forces are invariant under translations."""
    before, after = evaluate(potential, [atoms, transformed(atoms, shift=[3.0, -1.0, 7.0])])
    return defect(after, before)


def _orthogonal(potential: AbstractPotential, atoms: ase.Atoms, matrix: np.ndarray) -> float:
    before, after = evaluate(potential, [atoms, transformed(atoms, matrix)])
    return defect(after, Prediction(before.energy, before.forces @ matrix.T))


def rotation(potential: AbstractPotential, atoms: ase.Atoms) -> float:
    """Energies are invariant under rotations and forces rotate."""
    return _orthogonal(potential, atoms, _random_rotation())


def reflection(potential: AbstractPotential, atoms: ase.Atoms) -> float:
    """Energies are invariant under reflections and forces are reflected."""
    return _orthogonal(potential, atoms, np.diag([1.0, -1.0, 1.0]) @ _random_rotation())


def order(potential: AbstractPotential, atoms: ase.Atoms) -> float:
    """The order of the atoms does not matter."""
    back = np.arange(len(atoms))[::-1]
    before, after = evaluate(potential, [atoms, atoms[back]])
    return defect(after, Prediction(before.energy, before.forces[back]))


def exchange(
    potential: AbstractPotential,
    atoms: ase.Atoms,
    pairs: Sequence[tuple[int, int]] | None = None,
) -> float:
    """Alike atoms exchange places and the energy stays the same.

    Args:
        potential: any potential.
        atoms: one configuration.
        pairs: atoms that exchange places; default all pairs of one element.
    """
    if pairs is None:
        every = combinations(range(len(atoms)), 2)
        pairs = [(a, b) for a, b in every if atoms.numbers[a] == atoms.numbers[b]]
    exchanged = []
    for a, b in pairs:
        exchanged.append(atoms.copy())
        exchanged[-1].positions[[a, b]] = atoms.positions[[b, a]]
    before, *after = evaluate(potential, [atoms, *exchanged])
    found = [0.0]
    for (a, b), other in zip(pairs, after, strict=True):
        forces = before.forces.copy()
        forces[[a, b]] = forces[[b, a]]
        found.append(defect(other, Prediction(before.energy, forces)))
    return max(found)


def total_force(potential: AbstractPotential, atoms: ase.Atoms) -> float:
    """The forces on all atoms sum to zero."""
    (found,) = evaluate(potential, [atoms])
    scale = max(1.0, float(np.abs(found.forces).max(initial=0.0)))
    return float(np.abs(found.forces.sum(0)).max()) / scale


def gradient(potential: AbstractPotential, atoms: ase.Atoms) -> float:
    r"""Forces are $-\partial E/\partial R$, by fourth-order central differences in float64."""
    wide = in_precision(potential, "float64")
    steps = _STEP * np.eye(3 * len(atoms)).reshape(-1, len(atoms), 3)
    frames = [transformed(atoms, shift=k * step) for k in (1, -1, 2, -2) for step in steps]
    energies = np.array([found.energy for found in evaluate(wide, frames)])
    ahead, behind, far_ahead, far_behind = energies.reshape(4, len(atoms), 3)
    slopes = (8 * (ahead - behind) - (far_ahead - far_behind)) / (12 * _STEP)
    (found,) = evaluate(wide, [atoms])
    return defect(found, Prediction(found.energy, -slopes))


def rounding(potential: AbstractPotential, atoms: ase.Atoms) -> float:
    """In its precision, a potential predicts the same as in float64."""
    (found,), (expected,) = (
        evaluate(one, [atoms]) for one in (potential, in_precision(potential, "float64"))
    )
    return defect(found, expected)


def padding(potential: AbstractPotential, atoms: ase.Atoms) -> float:
    """Padding with masked atoms and masked neighbours changes nothing."""
    with precision(potential):
        seen = graph(atoms, dtype(potential), potential.cutoff)
        both = jax.jit(jax.value_and_grad(lambda x, g: energy(potential, g.at(x))))
        (bare, slopes), (wider, other) = (
            jax.tree.map(np.asarray, both(jnp.asarray(g.positions), g))
            for g in (seen, _wider(seen))
        )
    n_atoms = len(atoms)
    beyond = np.abs(other[n_atoms:]).max(initial=0.0)
    padded = Prediction(float(wider), -other[:n_atoms])
    return max(defect(padded, Prediction(float(bare), -slopes)), float(beyond))


def stack(potential: AbstractPotential, atoms: ase.Atoms) -> float:
    """Configurations that are predicted together are predicted as each alone."""
    moved = transformed(atoms, shift=_STIRRED * np.sin(np.arange(3 * len(atoms)).reshape(-1, 3)))
    frames = [atoms, moved]
    if potential.is_local:
        frames += [boxed(atoms), boxed(moved, 1.1 * CELL)]
    both = zip(predict(potential, frames), evaluate(potential, frames), strict=True)
    return max(defect(found, expected) for found, expected in both)


def _wider(seen: Graph) -> Graph:
    """The same with two masked atoms and three masked neighbours of each atom more."""
    atoms, columns = 2, 3 if seen.mask.shape[1] else 0
    n_atoms = len(seen.numbers)
    itself = np.tile(np.arange(n_atoms + atoms)[:, None], (1, seen.mask.shape[1] + columns))
    itself[:n_atoms, : seen.mask.shape[1]] = seen.neighbours
    rows: Any = ((0, atoms), (0, 0))
    table: Any = ((0, atoms), (0, columns))
    return Graph(
        positions=np.pad(np.asarray(seen.positions), rows),
        numbers=np.pad(np.asarray(seen.numbers), (0, atoms)),
        neighbours=itself.astype(np.int32),
        mask=np.pad(np.asarray(seen.mask), table),
    )


def extensivity(potential: AbstractPotential, atoms: ase.Atoms) -> float:
    """Energies of configurations beyond the interaction range of each other add up."""
    reach = float(potential.interaction_range or 0.0)
    other = transformed(atoms, _random_rotation(), [reach + _FAR, 3.0, -7.0])
    here, there = evaluate(potential, [atoms, other])
    (together,) = evaluate(potential, [atoms + other])
    forces = np.concatenate([here.forces, there.forces])
    return defect(together, Prediction(here.energy + there.energy, forces))


def continuity(potential: AbstractPotential, atoms: ase.Atoms, step: float = 1e-8) -> float:
    """Energy, forces and Hessian are continuous where a neighbour crosses the cutoff; in float64.

    The last atom is put at the cutoff from the first, and the others near the first.
    """
    wide, cutoff = in_precision(potential, "float64"), float(potential.cutoff or 0.0)

    @jax.jit
    def orders(seen: Graph) -> tuple:
        at = lambda x: energy(wide, seen.at(x))
        x = jnp.asarray(seen.positions)
        return at(x), jax.grad(at)(x), jax.jacrev(jax.grad(at))(x)

    found = []
    for change in (-step, step):
        moved = atoms.copy()
        moved.positions[:-1] = 0.5 * (moved.positions[:-1] - moved.positions[0])
        moved.positions[-1] = [cutoff + change, 0, 0]
        with precision(wide):
            seen = graph(moved, "float64", cutoff + 1.0)
            found.append([np.asarray(values) for values in orders(seen)])
    return max(
        float(np.abs(below - above).max() / max(1.0, np.abs(above).max()))
        for below, above in zip(*found, strict=True)
    )


LAWS: dict[str, Law] = {
    "translation": translation,
    "rotation": rotation,
    "reflection": reflection,
    "order": order,
    "exchange": exchange,
    "total force": total_force,
    "rounding": rounding,
    "gradient": gradient,
    "padding": padding,
    "stack": stack,
    "extensivity": extensivity,
    "continuity": continuity,
    "supercell": supercell,
    "choice of cell": choice_of_cell,
    "wrapping": wrapping,
    "box rotation": box_rotation,
    "large box": large_box,
    "strain gradient": strain_gradient,
}
"""All laws by name."""
FIXED = {"gradient": 1e-6, "continuity": 1e-6, "strain gradient": 1e-6}
"""Largest allowed defect of the laws that compute in float64 whatever the potential."""
PERIODIC = {
    "supercell",
    "choice of cell",
    "wrapping",
    "box rotation",
    "large box",
    "strain gradient",
}
"""Laws of periodic atoms."""
LOCAL = {"padding", "extensivity", "continuity", *PERIODIC}
"""Laws of potentials with a cutoff."""


def applicable(potential: AbstractPotential) -> dict[str, float]:
    """The laws that a potential must obey, and the largest defect allowed.

    Args:
        potential: any potential.

    Returns:
        The largest defect allowed by the name of the law, a key of `LAWS`.
    """
    allowed, is_local = TOLERANCE[dtype(potential)], potential.is_local
    return {name: FIXED.get(name, allowed) for name in LAWS if is_local or name not in LOCAL}


def check_potential(potential: AbstractPotential, atoms: ase.Atoms) -> None:
    """Check all laws that apply to a potential, and that its config describes its structure.

    Args:
        potential: any potential, with weights that are not small.
        atoms: a configuration without symmetry, in which atoms are an Å or so apart.

    Raises:
        AssertionError: naming the law, the defect and what is allowed.
    """
    for name, allowed in applicable(potential).items():
        found = LAWS[name](potential, atoms)
        assert found <= allowed, f"`{name}`: the defect is {found:.3g}, allowed is {allowed:.3g}."
    check_config(potential)


def check_config(potential: AbstractPotential) -> None:
    """Check that the config of a registered potential rebuilds its structure.

    Args:
        potential: of a registered kind.

    Raises:
        AssertionError: it does not.
    """
    again = skeleton(potential.config())
    assert jax.tree.structure(again) == jax.tree.structure(potential), (
        f"`config` must rebuild the structure of the potential, but {potential.config()} does not."
    )
