"""Geometries to label: conformers, displacements along normal modes, relaxed structures."""

import io
from functools import partial
from typing import Any

import ase
import ase.units
import numpy as np
from jaxtyping import Float

from .._checks import InputError, RunError, check_seed
from .._workers import Map
from ..atoms.data.smiles import embedded, import_rdkit, molecule_of
from ..atoms.rigid import n_rigid
from .level import Labeller, label_one

_STEP = 0.005  # Å, of the central differences of forces
_LEAST_CURVATURE = 2.0  # eV/Å², of an estimate with which a relaxation begins
_SAME = 0.1  # Å; conformers whose sorted distances all agree within it are one


def conformers(structure: str | ase.Atoms, n: int, seed: int) -> list[ase.Atoms]:
    """Different conformers of a molecule, relaxed with a force field, lowest energy first.

    They are placed by distance geometry (ETKDG); mirror images count as one. Bonds are those of
    the SMILES or are perceived from the positions.

    Args:
        structure: a SMILES, or a molecule, whose atoms keep their order.
        n: how many are placed; fewer are returned where some are the same.
        seed: of the distance geometry.

    Returns:
        The conformers; a copy of the structure alone where no bonds are perceived, and of one that
        is periodic or several molecules.

    Raises:
        InputError: the SMILES is not understood, or RDKit finds no structure for it.
        MissingExtraError: RDKit is not installed.
    """
    check_seed(seed)
    if isinstance(structure, str):
        atoms, molecule = molecule_of(structure)
    else:
        atoms, molecule = structure.copy(), _with_bonds(structure)
        if molecule is None:
            return [atoms]
    rdkit_seed = int(np.random.default_rng(seed).integers(1, 2**20))
    found = sorted(embedded(molecule, n, rdkit_seed), key=lambda each: each.energy)
    if not found and isinstance(structure, str):
        raise InputError(f"{structure}: RDKit finds no structure; give a file with positions.")
    different: list[ase.Atoms] = []
    for positions, _ in found:
        conformer = atoms.copy()
        conformer.positions = positions
        if not any(_is_same(conformer, other) for other in different):
            different.append(conformer)
    return different or [atoms]


def _with_bonds(atoms: ase.Atoms) -> Any:
    """The molecule of RDKit with bonds perceived from positions; None if that is not possible."""
    from ase.io.xyz import write_xyz

    rdkit = import_rdkit()
    if atoms.pbc.any() or len(atoms) < 2:
        return None
    xyz = io.StringIO()
    write_xyz(xyz, [atoms])
    try:
        with rdkit.rdBase.BlockLogs():
            molecule = rdkit.Chem.MolFromXYZBlock(xyz.getvalue())
            charge = int(atoms.info.get("charge", 0))
            rdkit.Chem.rdDetermineBonds.DetermineBonds(molecule, charge=charge)
    except (RuntimeError, ValueError):
        return None
    return molecule if len(rdkit.Chem.GetMolFrags(molecule)) == 1 else None


def _is_same(one: ase.Atoms, other: ase.Atoms) -> bool:
    """Whether the distances of all pairs of elements, in order of length, agree within 0.1 Å."""

    def distances(atoms: ase.Atoms) -> np.ndarray:
        first, second = np.triu_indices(len(atoms), 1)
        pairs = np.sort([atoms.numbers[first], atoms.numbers[second]], axis=0)
        lengths = atoms.get_all_distances()[first, second]
        return lengths[np.lexsort((lengths, *pairs))]

    return bool(np.all(np.abs(distances(one) - distances(other)) < _SAME))


def displaced(atoms: ase.Atoms) -> list[ase.Atoms]:
    """The structures that `hessian_by_differences` labels: each coordinate moved both ways."""
    moved = [atoms.copy() for _ in range(6 * len(atoms))]
    for index, copy in enumerate(moved):
        copy.positions.flat[index // 2] += _STEP if index % 2 else -_STEP
    return moved


def hessian_by_differences(
    atoms: ase.Atoms, label: Labeller, map: Map = map
) -> Float[np.ndarray, "n_coordinates n_coordinates"]:
    """Second derivatives of the energy in eV/Å², by central differences of forces.

    Args:
        atoms: the structure, for normal modes a relaxed one.
        label: the level of theory; labels six structures for each atom.
        map: applies a function to these, see `Map`.

    Raises:
        LabelError: a structure could not be labelled.
    """
    n = 3 * len(atoms)
    forces = np.zeros((n, 2, n))
    for index, found in map(partial(label_one, label), enumerate(displaced(atoms))):
        forces[index // 2, index % 2] = found.get_forces(apply_constraint=False).ravel()
    hessian = (forces[:, 0] - forces[:, 1]) / (2 * _STEP)
    return (hessian + hessian.T) / 2


def normal_mode_displacements(
    atoms: ase.Atoms,
    hessian: np.ndarray,
    temperature: float,
    n: int,
    rng: np.random.Generator,
    *,
    quantum: bool = True,
    softest: float = 50.0,
) -> Float[np.ndarray, "n n_atoms 3"]:
    r"""Displacements of harmonic modes in thermal equilibrium.

    Each mass-weighted normal coordinate is normal with variance
    $\frac{\hbar}{2\omega}\coth\frac{\hbar\omega}{2k_BT}$ (Wigner, zero-point motion included) or
    $k_BT/\omega^2$ (classical); translations and rotations are left out.

    Args:
        atoms: a relaxed structure.
        hessian: second derivatives of its energy in eV/Å².
        temperature: in K.
        n: how many.
        rng: of the normal coordinates.
        quantum: the distribution of Wigner rather than the classical one.
        softest: wavenumber in 1/cm at which softer modes, and unstable ones, are taken to be;
            displacements along them would be too large to be along a line.
    """
    root_mass = np.sqrt(atoms.get_masses()).repeat(3)
    squares, modes = np.linalg.eigh(hessian / np.outer(root_mass, root_mass))
    kept = np.sort(np.argsort(np.abs(squares))[n_rigid(atoms) :])
    hbar = ase.units._hbar * ase.units.J * ase.units.s  # ASE units: time with eV, Å, amu
    omega = np.sqrt(np.maximum(squares[kept], (softest * ase.units.invcm / hbar) ** 2))
    thermal = ase.units.kB * temperature
    if quantum:
        variance = hbar / (2 * omega * np.tanh(hbar * omega / (2 * thermal)))
    else:
        variance = thermal / omega**2
    normal = rng.normal(size=(n, len(omega))) * np.sqrt(variance)
    return (normal @ modes[:, kept].T / root_mass).reshape(n, -1, 3)


def turned(atoms: ase.Atoms, rng: np.random.Generator) -> ase.Atoms:
    """A copy in a random orientation."""
    moved = atoms.copy()
    phi, theta, psi = (
        rng.uniform(0, 360),
        np.degrees(np.arccos(rng.uniform(-1, 1))),
        rng.uniform(0, 360),
    )
    moved.euler_rotate(phi, theta, psi, center="COM")  # pyright: ignore[reportArgumentType]
    return moved


def relax(
    atoms: ase.Atoms,
    label: Labeller,
    largest_force: float = 1e-4,
    hessian: np.ndarray | None = None,
) -> ase.Atoms:
    """A relaxed copy of a structure, in its cell if it has one.

    Args:
        atoms: the structure to start from.
        label: the level of theory.
        largest_force: component of a force in eV/Å that is aimed at; ten times as much is
            accepted, where noise in the energies ends the search.
        hessian: an estimate of the second derivatives in eV/Å², such as those of a force field,
            with which a fifth of the labels can be enough.

    Raises:
        RunError: the structure does not relax.
        LabelError: a structure could not be labelled.
    """
    from scipy.optimize import minimize

    relaxed = atoms.copy()

    def energy_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        relaxed.positions = flat.reshape(-1, 3)
        found = label(relaxed)
        return found["energy"], -found["forces"].ravel()

    start, options = atoms.positions.ravel(), dict[str, Any](gtol=largest_force)
    if hessian is not None:
        curvatures, modes = np.linalg.eigh(hessian)
        inverse = (modes / np.maximum(np.abs(curvatures), _LEAST_CURVATURE)) @ modes.T
        options["hess_inv0"] = (inverse + inverse.T) / 2
    found = minimize(energy_and_gradient, start, jac=True, options=options)
    if (left := np.abs(found.jac).max()) > 10 * largest_force:
        raise RunError(
            f"the structure does not relax: the largest force is {left:.3g} eV/Å; start closer "
            "to a minimum."
        )
    relaxed.positions = found.x.reshape(-1, 3)
    return relaxed
