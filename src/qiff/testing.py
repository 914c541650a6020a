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
from ase.stress import (
    full_3x3_to_voigt_6_stress,
    voigt_6_to_full_3x3_strain,
    voigt_6_to_full_3x3_stress,
)
from jaxtyping import Float
from numpy.typing import ArrayLike

from .atoms.graph import Graph, graph
from .model.build import skeleton
from .model.derivatives import energy
from .model.potential import AbstractPotential
from .model.predict import Prediction, dtype, enable_x64, evaluator, precision
from .quantum.consistency import check_gate as check_gate

TOLERANCE = {"float64": 1e-10, "float32": 2e-4}
"""Largest allowed defect by the precision of a potential."""
_STEP = 1e-4  # Å, of central differences
_STRAIN = 2e-5
_FAR = 20.0  # Å beyond the interaction range

Law = Callable[[AbstractPotential, ase.Atoms], float]


def defect(found: Prediction, expected: Prediction) -> float:
    """Largest difference of energies and forces, relative to the largest force above 1 eV/Å, or of
    stresses, relative to the largest component above 1e-3 eV/Å³.

    Args:
        found: of the configuration that was changed.
        expected: what the law demands.

    Returns:
        A number without unit; zero if the law holds exactly.
    """
    scale = max(1.0, float(np.abs(expected.forces).max(initial=0.0)))
    apart = np.abs(found.forces - expected.forces).max(initial=0.0)
    largest = float(max(abs(found.energy - expected.energy), apart) / scale)
    if found.stress is None or expected.stress is None:
        return largest
    unit = max(1e-3, float(np.abs(expected.stress).max()))
    return max(largest, float(np.abs(found.stress - expected.stress).max() / unit))


def evaluate(potential: AbstractPotential, frames: Sequence[ase.Atoms]) -> list[Prediction]:
    """What a potential predicts of each configuration, compiled once for each number of atoms.

    Args:
        potential: any potential.
        frames: configurations of any sizes.

    Returns:
        One prediction for each configuration.
    """
    return [evaluator(potential, one)(one.positions, one.cell.array) for one in frames]


def transformed(
    atoms: ase.Atoms, matrix: np.ndarray | None = None, shift: ArrayLike = 0.0
) -> ase.Atoms:
    """A copy with positions $Mr + s$.

    Args:
        atoms: one configuration.
        matrix: $M$, orthogonal or not; None for no change.
        shift: $s$ in Å, one vector or one for each atom.

    Returns:
        The copy, in the same cell.
    """
    moved = atoms.copy()
    turned = atoms.positions @ (np.eye(3) if matrix is None else matrix).T
    moved.positions = turned + np.asarray(shift)
    return moved


def _random_rotation(seed: int = 11) -> Float[np.ndarray, "3 3"]:
    from scipy.spatial.transform import Rotation

    return Rotation.from_quat(np.random.default_rng(seed).normal(size=4)).as_matrix()


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


def in_precision(potential: AbstractPotential, name: str) -> AbstractPotential:
    """The same potential with weights in another precision.

    Args:
        potential: any potential.
        name: float32 or float64.

    Returns:
        The potential in that precision; the one that was given is not changed.
    """
    with enable_x64(True):
        return jax.tree.map(lambda weights: jnp.asarray(weights, name), potential)


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


CELL = np.array([[4.1, 0.3, -0.2], [1.2, 4.4, 0.1], [-0.7, 0.9, 4.8]])
"""Vectors in Å of the cell in which the laws of periodic atoms put a configuration."""


def boxed(atoms: ase.Atoms, cell: np.ndarray = CELL) -> ase.Atoms:
    """A copy that is periodic in a cell.

    Args:
        atoms: one configuration.
        cell: rows are the cell vectors in Å.

    Returns:
        The copy, periodic in all three directions.
    """
    box = atoms.copy()
    box.set_cell(cell)
    box.set_pbc(True)
    return box


def supercell(potential: AbstractPotential, atoms: ase.Atoms) -> float:
    """Two cells have twice the energy, the same forces and the same stress."""
    box = boxed(atoms)
    one, two = evaluate(potential, [box, box.repeat((1, 2, 1))])
    return defect(two, Prediction(2 * one.energy, np.tile(one.forces, (2, 1)), one.stress))


def choice_of_cell(potential: AbstractPotential, atoms: ase.Atoms) -> float:
    """Other vectors of the same lattice change nothing."""
    box = boxed(atoms)
    other = boxed(atoms, np.array([[1, 1, 0], [0, 1, 0], [-1, 0, 1]]) @ CELL)
    before, after = evaluate(potential, [box, other])
    return defect(after, before)


def wrapping(potential: AbstractPotential, atoms: ase.Atoms) -> float:
    """Atoms may be moved by cell vectors."""
    box = boxed(atoms)
    images = np.random.default_rng(5).integers(-2, 3, size=(len(atoms), 3))
    before, after = evaluate(potential, [box, transformed(box, shift=images @ CELL)])
    return defect(after, before)


def box_rotation(potential: AbstractPotential, atoms: ase.Atoms) -> float:
    """When atoms and cell are rotated, energies stay, forces and stress rotate."""
    box, matrix = boxed(atoms), _random_rotation()
    turned = boxed(transformed(atoms, matrix), CELL @ matrix.T)
    before, after = evaluate(potential, [box, turned])
    tensor = voigt_6_to_full_3x3_stress(before.stress)
    stress = full_3x3_to_voigt_6_stress(matrix @ tensor @ matrix.T)
    return defect(after, Prediction(before.energy, before.forces @ matrix.T, stress))


def large_box(potential: AbstractPotential, atoms: ase.Atoms) -> float:
    """A molecule in a box much larger than itself is like the molecule alone."""
    reach = float(potential.interaction_range or 0.0)
    box = boxed(atoms, np.diag(np.ptp(atoms.positions, axis=0) + reach + 1.0))
    alone, inside = evaluate(potential, [atoms, box])
    return defect(inside, alone)


def strain_gradient(potential: AbstractPotential, atoms: ase.Atoms) -> float:
    r"""$\sigma = \frac1V\,\partial E/\partial\epsilon$, by fourth-order differences in float64."""
    wide, box = in_precision(potential, "float64"), boxed(atoms)
    frames = []
    for k in (1, -1, 2, -2):
        for voigt in np.eye(6):
            deformation = voigt_6_to_full_3x3_strain(k * _STRAIN * voigt)  # 1 + strain
            frames.append(boxed(transformed(atoms, deformation), CELL @ deformation))
    energies = np.array([found.energy for found in evaluate(wide, frames)]).reshape(4, 6)
    ahead, behind, far_ahead, far_behind = energies
    slopes = (8 * (ahead - behind) - (far_ahead - far_behind)) / (12 * _STRAIN)
    (found,) = evaluate(wide, [box])
    return defect(found, Prediction(found.energy, found.forces, slopes / box.get_volume()))


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
    has_cutoff = np.isfinite(np.inf if potential.cutoff is None else potential.cutoff)
    allowed = TOLERANCE[dtype(potential)]
    return {name: FIXED.get(name, allowed) for name in LAWS if has_cutoff or name not in LOCAL}


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
