"""Structures from SMILES, by RDKit: `smiles:CCO` is one conformer of ethanol.

Atoms are placed by distance geometry (ETKDG) and relaxed with the force field MMFF94, or UFF where
MMFF94 has no parameters. The same SMILES gives the same structure with the same version of RDKit.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ase
import ase.units
import numpy as np

from ..._checks import InputError, missing_extra
from .source import SMILES, RawFrames, Source

_SEED = 0
_STEPS = 2000  # of the relaxation; a molecule of twenty atoms takes some hundred


def read_smiles(path: Path, source: Source) -> RawFrames:
    """One frame, without labels.

    Raises:
        InputError: RDKit does not understand the SMILES, it is of several molecules, or it finds
            no structure.
        MissingExtraError: RDKit is not installed.
    """
    del path
    atoms, molecule = molecule_of(source.path)
    found = embedded(molecule, 1, _SEED)
    if not found:
        raise InputError(f"{source.path}: RDKit finds no structure; give a file with positions.")
    atoms.positions = found[0].positions
    return RawFrames([atoms], "eV", "Angstrom")


def molecule_of(smiles: str) -> tuple[ase.Atoms, Any]:
    """The atoms of a SMILES, without positions, and its molecule of RDKit.

    A charge and a multiplicity other than 0 and the lowest are kept in `info`.

    Raises:
        InputError: RDKit does not understand it, or it is of several molecules.
        MissingExtraError: RDKit is not installed.
    """
    smiles = smiles.removeprefix(SMILES)
    rdkit = import_rdkit()
    with rdkit.rdBase.BlockLogs():
        molecule = rdkit.Chem.AllChem.MolFromSmiles(smiles)
    if molecule is None or not molecule.GetNumAtoms():
        raise InputError(f"{SMILES}{smiles}: is not a SMILES that RDKit understands; check it.")
    if "." in smiles:
        raise InputError(f"{SMILES}{smiles}: is of several molecules; give one.")
    molecule = rdkit.Chem.AllChem.AddHs(molecule)
    info: dict[str, Any] = {"smiles": smiles}
    if charge := rdkit.Chem.GetFormalCharge(molecule):
        info["charge"] = charge
    if (unpaired := sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())) > 1:
        info["multiplicity"] = 1 + unpaired
    return ase.Atoms([atom.GetSymbol() for atom in molecule.GetAtoms()], info=info), molecule


class Embedding(NamedTuple):
    """Positions of a molecule, and its energy in eV by the force field that relaxed it."""

    positions: np.ndarray
    energy: float


def embedded(molecule: Any, n: int, seed: int) -> Sequence[Embedding]:
    """Relaxed positions of a molecule of RDKit by distance geometry; fewer than `n` if some fail.

    With the seed 0 all are the same.
    """
    chemistry = import_rdkit().Chem.AllChem
    if not len(chemistry.EmbedMultipleConfs(molecule, n, randomSeed=seed)):
        return []
    if chemistry.MMFFHasAllMoleculeParams(molecule):
        found = chemistry.MMFFOptimizeMoleculeConfs(molecule, maxIters=_STEPS)
    else:
        found = chemistry.UFFOptimizeMoleculeConfs(molecule, maxIters=_STEPS)
    energies = [energy * ase.units.kcal / ase.units.mol for _, energy in found]
    positions = [conformer.GetPositions() for conformer in molecule.GetConformers()]
    return [Embedding(*each) for each in zip(positions, energies, strict=True)]


def import_rdkit() -> Any:
    """RDKit with what is used of it.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import rdkit
        import rdkit.Chem.AllChem
        import rdkit.Chem.rdDetermineBonds
    except ImportError:
        raise missing_extra("rdkit", "smiles", "A structure from SMILES") from None
    return rdkit
