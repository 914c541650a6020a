"""Frames of many molecules: relaxed conformers, displaced along modes of a force field.

RDKit places the conformers, and its MMFF94 gives the modes; energies and forces are those of the
level of theory. What has other bonds than its molecule is left out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import ase
import ase.units
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols, covalent_radii

from .._checks import InputError, RunError
from .._workers import Map
from ..atoms.data.smiles import import_rdkit, molecule_of
from .journal import Outcome
from .level import LabelError, Labeller, Results
from .samplers import AbstractSampler, Sampling
from .sampling import conformers, hessian_by_differences, normal_mode_displacements, relax

_DECIMALS = 4  # of positions in Å, so that files can be short
_RELAXED = 0.05  # eV/Å, of the largest force component
_SOFTEST = 150.0  # 1/cm; displacements along softer modes would stretch bonds
_LONGEST_BOND, _CLOSEST = 1.45, 1.15  # of pairs that are bonded and that are not, in radii
_LARGEST_FORCE = 25.0  # eV/Å


@dataclass(frozen=True)
class Molecules(AbstractSampler):
    """Relaxed conformers of each molecule, and displacements of them along normal modes.

    Conformers are taken in turn, lowest energy by MMFF94 first: each as it is relaxed at the level
    of theory, then displaced along the modes of MMFF94 in classical equilibrium, at a temperature
    drawn evenly between that of the sampling and twice that. A molecule whose bonds change as it
    relaxes is left out, and so is a frame with other bonds than its molecule or with a very large
    force. Random numbers depend on seed and molecule alone.

    Args:
        molecules: what `frames` are drawn of, without positions; `smiles` in `info`. The number of
            frames is divided evenly among them, unless `n_each` is given.
        n_of_conformer: frames that a further conformer of a molecule is worth.
    """

    molecules: Callable[[Sampling], list[ase.Atoms]]
    n_of_conformer: int

    def start(self, sampling: Sampling, label: Labeller) -> list[ase.Atoms]:
        return self.molecules(sampling)

    def frames(
        self,
        sampling: Sampling,
        label: Labeller,
        start: Sequence[ase.Atoms],
        done: Mapping[int, Outcome],
        map: Map,
    ) -> Iterator[tuple[int, Outcome]]:
        n_each = sampling.n_each or -(-sampling.n_frames // len(start))
        missing = (index for index in range(sampling.n_frames) if index not in done)
        tasks = (
            (molecule, start[molecule], [index % n_each for index in indices])
            for molecule, indices in groupby(missing, lambda index: index // n_each)
        )
        outcomes = partial(self._outcomes, sampling, n_each, label)
        for molecule, found in map(outcomes, tasks):
            for frame, outcome in found:
                yield molecule * n_each + frame, outcome

    def _outcomes(
        self,
        sampling: Sampling,
        n_each: int,
        label: Labeller,
        task: tuple[int, ase.Atoms, list[int]],
    ) -> tuple[int, list[tuple[int, Outcome]]]:
        """The frames of a molecule that are asked for, or why they are left out."""
        number, molecule, frames = task
        rng = np.random.default_rng([sampling.seed, number])
        try:
            drawn = self._drawn(molecule, n_each, label, sampling.temperature, rng)
        except (InputError, RunError) as error:
            reason = f"molecule: {_reason(error)}"
            return number, [(frame, reason) for frame in frames]
        bonds = bonded(molecule.info["smiles"])
        outcomes: list[tuple[int, Outcome]] = []
        for frame in frames:
            try:
                outcomes.append((frame, _labelled(drawn[frame], bonds, label)))
            except RunError as error:
                outcomes.append((frame, _reason(error)))
        return number, outcomes

    def _drawn(
        self,
        molecule: ase.Atoms,
        n: int,
        label: Labeller,
        temperature: float,
        rng: np.random.Generator,
    ) -> list[ase.Atoms]:
        """Geometries of a molecule.

        Raises:
            InputError: RDKit finds no structure.
            RunError: a conformer does not relax, or to one with other bonds.
        """
        smiles = molecule.info["smiles"]
        field, bonds = ForceField(smiles), bonded(smiles)
        drawn = [molecule.copy() for _ in range(n)]
        n_conformers = max(1, n // self.n_of_conformer)
        found = conformers(smiles, n_conformers, int(rng.integers(2**31)))
        for first, conformer in enumerate(found):
            hessian = hessian_by_differences(conformer, field)
            relaxed = relax(conformer, label, _RELAXED, hessian)
            _check_bonds(relaxed, bonds)
            mine = drawn[first :: len(found)]
            hotter = rng.uniform(1, 2, (len(mine), 1, 1))
            hotter[0] = 0
            steps = normal_mode_displacements(
                relaxed, hessian, temperature, len(mine), rng, quantum=False, softest=_SOFTEST
            )
            for atoms, step in zip(mine, relaxed.positions + np.sqrt(hotter) * steps, strict=True):
                atoms.positions = np.round(step, _DECIMALS)
        return drawn


class ForceField:
    """Energy and forces of a molecule by MMFF94, of RDKit."""

    def __init__(self, smiles: str):
        """
        Args:
            smiles: of the molecule; hydrogens follow the other atoms.
        """
        self._molecule, chemistry = molecule_of(smiles)[1], import_rdkit().Chem.AllChem
        self._molecule.AddConformer(chemistry.Conformer(self._molecule.GetNumAtoms()))
        parameters = chemistry.MMFFGetMoleculeProperties(self._molecule)
        self._field = chemistry.MMFFGetMoleculeForceField(self._molecule, parameters)

    def __call__(self, atoms: ase.Atoms) -> Results:
        flat, unit = atoms.positions.ravel().tolist(), ase.units.kcal / ase.units.mol
        return {
            "energy": self._field.CalcEnergy(flat) * unit,
            "forces": -np.reshape(self._field.CalcGrad(flat), (-1, 3)) * unit,
        }


def bonded(smiles: str) -> np.ndarray:
    """Whether two atoms of a molecule are bonded, for all pairs."""
    return import_rdkit().Chem.GetAdjacencyMatrix(molecule_of(smiles)[1]).astype(bool)


def other_bonds(atoms: ase.Atoms, bonds: np.ndarray) -> str:
    """Which bond of a structure is broken or new; empty if there is none.

    A bond is broken beyond 1.45 times the sum of the covalent radii; atoms that are not bonded
    have formed a bond within 1.15 times that sum.

    Args:
        atoms: the structure.
        bonds: whether two atoms of it should be bonded, for all pairs.
    """
    radii = covalent_radii[atoms.numbers]
    ratio = atoms.get_all_distances() / (radii[:, None] + radii)
    np.fill_diagonal(ratio, np.inf)
    for kind, wrong in {
        "broken": bonds & (ratio > _LONGEST_BOND),
        "formed": ~bonds & (ratio < _CLOSEST),
    }.items():
        if wrong.any():
            one, other = sorted(chemical_symbols[atoms.numbers[k]] for k in np.argwhere(wrong)[0])
            return f"a bond {one}-{other} is {kind}"
    return ""


def _check_bonds(atoms: ase.Atoms, bonds: np.ndarray) -> None:
    if wrong := other_bonds(atoms, bonds):
        raise RunError(wrong)


def _labelled(atoms: ase.Atoms, bonds: np.ndarray, label: Labeller) -> ase.Atoms:
    """With its results.

    Raises:
        RunError: it has none or other bonds, or a force is too large.
    """
    _check_bonds(atoms, bonds)
    results: Any = label(atoms)
    if np.linalg.norm(results["forces"], axis=1).max() > _LARGEST_FORCE:
        raise RunError(f"a force is above {_LARGEST_FORCE:g} eV/Å")
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _reason(error: Exception) -> str:
    """Why a frame is left out, in words that do not depend on it."""
    if isinstance(error, InputError):
        return "RDKit finds no structure"
    return "no labels" if isinstance(error, LabelError) else str(error).partition(":")[0]
