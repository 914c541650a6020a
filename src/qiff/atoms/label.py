"""Reference data, really computed: sample geometries, label each with PySCF, keep what is done.

A new data set is one `Recipe` in `RECIPES`: a function that samples geometries and one that
labels a geometry.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import ase.units
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from jaxtyping import Float

from .._checks import (
    InputError,
    RunError,
    check_at_least,
    check_positive,
    check_seed,
    missing_extra,
)
from .._files import atomic_write
from .dataset import write
from .rigid import n_rigid

Label = tuple[float, Float[np.ndarray, "n_atoms 3"]]
"""Energy in eV and forces in eV/Å."""


@dataclass(frozen=True)
class Sampling:
    """How geometries are drawn. Zero frames means the recipe's own number."""

    n_frames: int = 0
    temperature: float = 300.0
    seed: int = 0

    def __post_init__(self):
        check_at_least("n_frames", self.n_frames, 0)
        check_seed(self.seed)
        check_positive("temperature", self.temperature)


@dataclass(frozen=True)
class Recipe:
    """A data set to compute: its level of theory, its geometries and their labels."""

    level: str
    sampling: str
    n_frames: int
    uses: tuple[str, ...]  # the fields of `Sampling` that change its geometries
    geometries: Callable[[Sampling], list[ase.Atoms]]
    label: Callable[[ase.Atoms], Label]


def make(name: str, path: Path, sampling: Sampling, track: Callable[..., Iterable]) -> None:
    """Compute the data set `name` into the extxyz file `path` and its provenance beside it.

    Finished frames are kept in `path` + ".part"; a second call goes on from there.

    Args:
        name: a key of `RECIPES`.
        path: where the frames go (extxyz, eV and Å); provenance goes to the same name in .json.
        sampling: number of frames, temperature and seed.
        track: wraps the frames still to do, to show progress.

    Raises:
        InputError: the partial file belongs to another computation.
        MissingExtraError: PySCF is not installed.
        RunError: a calculation did not converge; what is done is kept.
    """
    pyscf = _pyscf()
    recipe = RECIPES[name]
    sampling = dataclasses.replace(sampling, n_frames=sampling.n_frames or recipe.n_frames)
    provenance = {
        "data_set": name,
        "level": recipe.level,
        "sampling": recipe.sampling,
        "program": f"PySCF {pyscf.__version__}",
        "units": {"length": "Angstrom", "energy": "eV"},
        **{field: getattr(sampling, field) for field in recipe.uses},
    }
    part = path.with_name(path.name + ".part")
    if not part.exists():
        geometries = [_pack(atoms) for atoms in recipe.geometries(sampling)]
        atomic_write(part, _line({"provenance": provenance, "geometries": geometries}))
    header, *labels = _whole_lines(part)
    if header.get("provenance") != provenance:
        raise InputError(f"{part}: belongs to a computation with other settings; delete it first.")
    frames = [_unpack(packed) for packed in header["geometries"]]
    with part.open("a") as lines:
        for atoms in track(frames[len(labels) :], completed=len(labels), total=len(frames)):
            energy, forces = recipe.label(atoms)
            labels.append({"energy": energy, "forces": np.asarray(forces).tolist()})
            lines.write(_line(labels[-1]))
            lines.flush()
    for atoms, label in zip(frames, labels, strict=True):
        atoms.calc = SinglePointCalculator(atoms, **label)
    write(path, frames)
    atomic_write(
        path.with_suffix(".json"), json.dumps(provenance, indent=2, ensure_ascii=False) + "\n"
    )
    part.unlink()


def _line(record: dict) -> str:
    return json.dumps(record) + "\n"


def _whole_lines(part: Path) -> list[dict[str, Any]]:
    """Records of a partial file; a last line cut short by a kill is dropped from the file too."""
    text = part.read_text()
    whole = text[: text.rfind("\n") + 1]
    os.truncate(part, len(whole.encode()))
    try:
        return [json.loads(line) for line in whole.splitlines()] or [{}]
    except json.JSONDecodeError:
        raise InputError(f"{part}: is not a partial data set; delete it first.") from None


def _pack(atoms: ase.Atoms) -> dict[str, list]:
    return {"numbers": atoms.numbers.tolist(), "positions": atoms.positions.tolist()}


def _unpack(packed: dict[str, list]) -> ase.Atoms:
    return ase.Atoms(numbers=packed["numbers"], positions=packed["positions"])


def _pyscf() -> Any:
    try:
        import pyscf
    except ImportError:
        raise missing_extra("pyscf", "label", "Computing reference data") from None
    return pyscf


def _molecule(atoms: ase.Atoms, basis: str) -> Any:
    from pyscf import gto

    geometry = list(zip(atoms.get_chemical_symbols(), atoms.positions.tolist(), strict=True))
    return gto.M(atom=geometry, basis=basis, unit="Angstrom", verbose=0)


def _converged(mean_field: Any) -> Any:
    if not mean_field.converged:
        geometry = mean_field.mol.tostring().replace("\n", "; ")
        raise RunError(f"the mean field did not converge at {geometry}.")
    return mean_field


# --- LiH: exact diagonalisation -------------------------------------------------------------

_LIH_STEP = 1e-3  # Å, of the central difference


def _lih_geometries(sampling: Sampling) -> list[ase.Atoms]:
    return [_lih(length) for length in np.linspace(0.9, 4.5, sampling.n_frames)]


def _lih(length: float) -> ase.Atoms:
    return ase.Atoms("LiH", positions=[[0, 0, 0], [0, 0, length]])


def _lih_energy(length: float) -> float:
    from pyscf import fci, scf

    mean_field = _converged(scf.RHF(_molecule(_lih(length), "sto-3g")).run(conv_tol=1e-12))
    energy, _ = fci.FCI(mean_field).kernel(tol=1e-14)
    return float(energy) * ase.units.Hartree


def _lih_label(atoms: ase.Atoms) -> Label:
    r"""FCI energy and $-dE/dr$ by central differences, along the bond."""
    length = atoms.get_distance(0, 1)
    ahead, behind = _lih_energy(length + _LIH_STEP), _lih_energy(length - _LIH_STEP)
    pull = (ahead - behind) / (2 * _LIH_STEP)
    return _lih_energy(length), np.array([[0, 0, pull], [0, 0, -pull]])


# --- water: density functional theory -------------------------------------------------------


def _water_mean_field(atoms: ase.Atoms) -> Any:
    from pyscf import dft

    return _converged(dft.RKS(_molecule(atoms, "def2-tzvp"), xc="pbe0").run(conv_tol=1e-11))


def _water_label(atoms: ase.Atoms) -> Label:
    """PBE0 energy and analytic forces, with the response of the integration grid."""
    mean_field = _water_mean_field(atoms)
    gradient = mean_field.nuc_grad_method().set(grid_response=True).kernel()
    energy = float(mean_field.e_tot) * ase.units.Hartree
    return energy, -gradient * (ase.units.Hartree / ase.units.Bohr)


def _water_geometries(sampling: Sampling) -> list[ase.Atoms]:
    """The relaxed molecule, then Wigner samples of its normal modes in random orientation."""
    from ase.build import molecule

    relaxed = _relax(molecule("H2O"), _water_label)
    hessian = _water_mean_field(relaxed).Hessian().kernel()  # (atom, atom, 3, 3), Hartree/Bohr²
    hessian = hessian.swapaxes(1, 2).reshape(9, 9) * ase.units.Hartree / ase.units.Bohr**2
    rng = np.random.default_rng(sampling.seed)
    drawn = [
        _displaced(relaxed, step, rng)
        for step in _wigner(relaxed, hessian, sampling.temperature, sampling.n_frames - 1, rng)
    ]
    return [relaxed, *drawn]


def _wigner(
    atoms: ase.Atoms,
    hessian: np.ndarray,
    temperature: float,
    n_frames: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "n_frames n_atoms 3"]:
    r"""Displacements of harmonic modes in thermal equilibrium, zero-point motion included.

    Each mass-weighted normal coordinate is normal with variance
    $\frac{\hbar}{2\omega}\coth\frac{\hbar\omega}{2k_BT}$; translations and rotations are left out.
    """
    root_mass = np.sqrt(atoms.get_masses()).repeat(3)
    squares, modes = np.linalg.eigh(hessian / np.outer(root_mass, root_mass))
    rigid = n_rigid(atoms)
    omega, modes = np.sqrt(squares[rigid:]), modes[:, rigid:]  # ASE units: 1/time with eV, Å, amu
    quantum = ase.units._hbar * ase.units.J * ase.units.s * omega  # ħω in eV
    variance = 1 / np.tanh(quantum / (2 * ase.units.kB * temperature)) / (2 * omega**2) * quantum
    normal = rng.normal(size=(n_frames, len(omega))) * np.sqrt(variance)
    return (normal @ modes.T / root_mass).reshape(n_frames, -1, 3)


def _displaced(atoms: ase.Atoms, step: np.ndarray, rng: np.random.Generator) -> ase.Atoms:
    moved = atoms.copy()
    moved.positions += step
    phi, theta, psi = (
        rng.uniform(0, 360),
        np.degrees(np.arccos(rng.uniform(-1, 1))),
        rng.uniform(0, 360),
    )
    moved.euler_rotate(phi, theta, psi, center="COM")  # pyright: ignore[reportArgumentType]
    return moved


def _relax(atoms: ase.Atoms, label: Callable[[ase.Atoms], Label]) -> ase.Atoms:
    """Minimise the energy of `label` to forces below 1e-4 eV/Å."""
    from scipy.optimize import minimize

    def energy_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        moved = ase.Atoms(numbers=atoms.numbers, positions=flat.reshape(-1, 3))
        energy, forces = label(moved)
        return energy, -forces.ravel()

    found = minimize(energy_and_gradient, atoms.positions.ravel(), jac=True, options={"gtol": 1e-4})
    return ase.Atoms(numbers=atoms.numbers, positions=found.x.reshape(-1, 3))


RECIPES: dict[str, Recipe] = {
    "lih": Recipe(
        level="FCI/STO-3G; forces by central differences of the curve, step 0.001 Å",
        sampling="bond lengths on an even grid from 0.9 to 4.5 Å",
        n_frames=181,
        uses=("n_frames",),
        geometries=_lih_geometries,
        label=_lih_label,
    ),
    "water": Recipe(
        level="PBE0/def2-TZVP (RKS); analytic forces with grid response",
        sampling="frame 0 the relaxed molecule; then harmonic Wigner samples (zero-point motion "
        "included) of its normal modes at `temperature` K, each in a random orientation",
        n_frames=1001,
        uses=("n_frames", "temperature", "seed"),
        geometries=_water_geometries,
        label=_water_label,
    ),
}
