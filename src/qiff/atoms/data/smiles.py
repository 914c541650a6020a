"""Structures from SMILES, by RDKit: `smiles:CCO` is one conformer of ethanol.

Atoms are placed by distance geometry (ETKDG) and relaxed with the force field MMFF94, or UFF where
MMFF94 has no parameters. The same SMILES gives the same structure with the same version of RDKit.
"""

from pathlib import Path
from typing import Any

import ase

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
    rdkit, smiles = _import_rdkit(), source.path.removeprefix(SMILES)
    chemistry = rdkit.Chem.AllChem
    with rdkit.rdBase.BlockLogs():
        molecule = chemistry.MolFromSmiles(smiles)
    if molecule is None or not molecule.GetNumAtoms():
        raise InputError(f"{source.path}: is not a SMILES that RDKit understands; check it.")
    if "." in smiles:
        raise InputError(f"{source.path}: is of several molecules; give one.")
    molecule = chemistry.AddHs(molecule)
    if chemistry.EmbedMolecule(molecule, randomSeed=_SEED):
        raise InputError(f"{source.path}: RDKit finds no structure; give a file with positions.")
    if chemistry.MMFFHasAllMoleculeParams(molecule):
        chemistry.MMFFOptimizeMolecule(molecule, maxIters=_STEPS)
    else:
        chemistry.UFFOptimizeMolecule(molecule, maxIters=_STEPS)
    symbols = [atom.GetSymbol() for atom in molecule.GetAtoms()]
    positions = molecule.GetConformer().GetPositions()
    return RawFrames([ase.Atoms(symbols, positions, info={"smiles": smiles})], "eV", "Angstrom")


def _import_rdkit() -> Any:
    try:
        import rdkit
        import rdkit.Chem.AllChem
    except ImportError:
        raise missing_extra("rdkit", "smiles", "A structure from SMILES") from None
    return rdkit
