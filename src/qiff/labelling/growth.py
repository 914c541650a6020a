"""Random molecules of H, C, N and O, grown by RDKit from rings and groups by the rules of valence.

A molecule grows from a ring or an atom: fragments are attached by single bonds to atoms with
hydrogens until it has its number of heavy atoms. Some edits follow: a ring is closed, the order of
a bond raised, an atom replaced. What is not neutral, has unpaired electrons or is of a kind that
hardly exists is discarded, and so is a molecule that was grown before.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from .._checks import InputError
from ..atoms.data.smiles import import_rdkit

_RINGS = (
    *("c1ccccc1",) * 8,  # more frequent than the others
    *("C1CCCCC1", "C1CCCC1", "C1=CCCCC1", "C1CC1", "c1ccncc1") * 2,
    *("c1ccncc1", "c1cncnc1", "c1cnccn1", "c1ccnnc1", "c1ncncn1", "[nH]1cccc1"),
    *("[nH]1ccnc1", "[nH]1cccn1", "[nH]1cnnc1", "[nH]1cncn1", "[nH]1cnnn1", "o1cccc1", "o1ccnc1"),
    *("o1cccn1", "o1cnnc1", "o1cncn1", "n1oncc1", "C1CC1", "C1CCC1", "C1CCCC1", "C1CCCCC1"),
    *("C1CCCCCC1", "C1=CCCC1", "C1=CCCCC1", "C1=CCC=CC1", "C1C=CC=C1", "O1CC1", "N1CC1", "O1CCC1"),
    *("N1CCC1", "O1CCCC1", "N1CCCC1", "O1CCCCC1", "N1CCCCC1", "N1CCOCC1", "N1CCNCC1", "O1COCC1"),
    *("O1CCOCC1", "N1CCCN1", "N1C(=O)CCC1", "O1C(=O)CCC1", "O=C1CCCCC1", "O=C1CCCC1"),
    *("O=C1CCC1", "O=C1C=CCCC1", "N1C(=O)CC1", "O=C1NC(=O)CC1", "O=C1NC(=O)C=C1", "O=C1NCCN1"),
    *("O=C1NCCO1", "O=C1OCCO1", "O=C1NC(=O)CN1", "O=c1cc[nH]cc1", "O=c1cccc[nH]1", "O=c1ccocc1"),
    *("O=c1cc[nH]c(=O)[nH]1", "Nc1cc[nH]c(=O)n1", "C1CC2CCC1C2", "C1CC2CCC1CC2", "C1CC2CCC1N2"),
    *("C1CC2CCC1O2", "C1CCC2CCCC2C1", "C1CCC2CCCC12", "C1CCC2CC12", "C1CC12CCC2", "C1CCC2(C1)CC2"),
    *("C12CC(C1)C2", "N12CCC(CC1)CC2", "c1ccc2[nH]ccc2c1", "c1ccc2occc2c1", "c1ccc2[nH]cnc2c1"),
    *("c1ccc2ccccc2c1", "c1ccc2ncccc2c1", "c1ccc2cnccc2c1", "c1nc2[nH]cnc2cn1", "c1ccc2CCCc2c1"),
    *("c1ccc2OCOc2c1", "c1ccn2ccnc2c1", "c1ccc2cccc2cc1"),
)
# fmt: off
_GROUPS = {
    "C": 16, "CC": 8, "CCC": 4, "C(C)C": 4, "C(C)(C)C": 1, "C=C": 3, "C(=C)C": 2, "C=CC": 2,
    "C#C": 2, "C#CC": 1, "C=C=C": 0.3, "O": 5, "OC": 3, "OCC": 1, "CO": 2, "CCO": 1, "COC": 1,
    "C=O": 2, "CC=O": 1, "C(C)=O": 2, "CC(C)=O": 1, "C(=O)O": 2, "C(=O)OC": 2, "OC(C)=O": 1,
    "OC=O": 1, "CC(=O)O": 1, "OC(=O)OC": 0.5, "N": 4, "NC": 2, "N(C)C": 2, "CN": 2, "CCN": 1,
    "CNC": 1, "C(=O)N": 2, "C(=O)NC": 1, "NC(C)=O": 1, "NC=O": 1, "NC(N)=O": 1, "NC(=O)OC": 0.5,
    "OC(N)=O": 0.5, "C#N": 3, "CC#N": 1, "C=N": 0.5, "C=NO": 1, "C=NC": 0.5, "N=C": 0.5,
    "C(=N)N": 0.7, "NC(=N)N": 0.5, "[N+](=O)[O-]": 1.5, "C[N+](=O)[O-]": 0.5, "N=O": 0.3,
    "N=[N+]=[N-]": 0.7, "[N+]#[C-]": 0.5, "N=C=O": 0.5, "OC#N": 0.2, "NO": 0.5, "NN": 0.5,
    "ON": 0.3, "ONC": 0.2, "N=NC": 0.4, "C=C=O": 0.2, "CCCC": 1, "CCOC": 0.7, "C(N)C(=O)O": 0.5,
}
# fmt: on
_STARTS = {"C": 6, "CC": 2, "N": 2, "O": 2, "C=C": 1, "C=O": 2, "C#C": 1, "NC=O": 1, "C=N": 1}
_MOST_IN_VAIN = 3000  # molecules in a row that are known or unstable
_RING_SHARE = 0.6  # of molecules that start from a ring; a quarter as much of what is attached
_SHUNNED = (
    "[#8]~[#8]",
    "[#7,#8;!a;+0]~[#7;!a;+0]~[#7,#8;!a;+0]",  # chains of three
    "[#7,#8;!a]-[#8;!a]-[#7,#8;!a]",
    "[#7;a]-[#7,#8]-[#7,#8;+0]",
    "[n;r6]:[n;r6]:[n;r6]",
    "[CX4]([OX2H])[OX2H]",
    "[CX4]([#7,#8;!a])([#7,#8;!a])[#7,#8;!a]",
    "[OX2H,NX3H,NX3H2]-[CX3]=[CX3]-[OX2H]",
    "[OX2H,OX2]-[CX2]#[CX2]",
    "[NX3]-[CX2]#[CX2]",
    "*=*=*=*",
    "*=@*=@*",  # in a ring
    "*#@*",
    "[r3]=@[r3]",
    "[r4]=@[r4]~@[r4]=@[r4]",
    "[R2;r3,r4;!$([x4])]",  # small rings that share a bond
    "[R3]",
    "C=C(-[OX2H])-[OX2H]",
)


def grown(n: int, seed: int, most: int = 12) -> list[str]:
    """Different molecules as canonical SMILES without stereochemistry, the same for a seed.

    Args:
        n: how many.
        seed: of all choices.
        most: heavy atoms, at most; their number has a triangular distribution with its mode at
            three quarters of that.

    Raises:
        InputError: there are hardly so many of this size.
        MissingExtraError: RDKit is not installed.
    """
    rng, chemistry = np.random.default_rng(seed), import_rdkit().Chem
    found: dict[str, None] = {}
    n_in_vain = 0
    while len(found) < n:
        if n_in_vain == _MOST_IN_VAIN:
            raise InputError(
                f"there are hardly more than {len(found)} molecules of up to {most} heavy atoms, "
                f"but {n} are asked for: ask for fewer frames, more of each molecule, or larger "
                "molecules."
            )
        n_in_vain += 1
        size = int(rng.triangular(1, max(1, 0.75 * most), most + 1))
        molecule = _grown(size, rng)
        smiles = chemistry.MolToSmiles(molecule, isomericSmiles=False)
        if smiles not in found and _is_stable(_parsed(smiles), most):
            found[smiles] = None
            n_in_vain = 0
    return list(found)


def scaffold(smiles: str) -> str:
    """What molecules of one kind have in common, as a SMILES.

    The scaffold of Bemis and Murcko: the rings and what connects them. A molecule without rings
    has its skeleton: its heavy atoms as carbon, connected by single bonds.

    Reference: Bemis, Murcko, J. Med. Chem. 39, 2887 (1996).
    """
    molecule, chemistry = _parsed(smiles), import_rdkit().Chem
    from rdkit.Chem.Scaffolds.MurckoScaffold import GetScaffoldForMol, MakeScaffoldGeneric

    found = GetScaffoldForMol(molecule)
    if not found.GetNumAtoms():
        found = MakeScaffoldGeneric(molecule)
    return chemistry.MolToSmiles(found, isomericSmiles=False)


def _grown(size: int, rng: np.random.Generator) -> Any:
    """A molecule of so many heavy atoms, if what is attached last fits."""
    chemistry = import_rdkit().Chem
    start = _choice(_RINGS, rng) if rng.random() < _RING_SHARE else _weighted(_STARTS, rng)
    molecule = _parsed(start)
    while (room := size - molecule.GetNumAtoms()) > 0:
        ring = rng.random() < _RING_SHARE / 4
        fragment = _parsed(_choice(_RINGS, rng) if ring else _weighted(_GROUPS, rng))
        if fragment.GetNumAtoms() > room:
            continue
        sites = _with_hydrogen(molecule)
        if not sites:
            break
        where = _choice(_with_hydrogen(fragment), rng) if ring else 0
        first = molecule.GetNumAtoms()
        edited = chemistry.RWMol(chemistry.CombineMols(molecule, fragment))
        molecule = _joined(edited, _choice(sites, rng), first + where, 1) or molecule
    for _ in range(rng.integers(0, 4)):
        edit = _choice((_closed, _raised, _replaced), rng)
        molecule = edit(molecule, rng) or molecule
    return molecule


def _closed(molecule: Any, rng: np.random.Generator) -> Any:
    """With a ring of five to seven atoms closed; None if that is not possible."""
    chemistry = import_rdkit().Chem
    apart = chemistry.GetDistanceMatrix(molecule)
    free = _with_hydrogen(molecule)
    pairs = [(a, b) for a in free for b in free if a < b and 4 <= apart[a, b] <= 6]
    if not pairs:
        return None
    one, other = _choice(pairs, rng)
    return _joined(chemistry.RWMol(molecule), one, other, 1)


def _raised(molecule: Any, rng: np.random.Generator) -> Any:
    """With a bond of one order more; None if that is not possible."""
    free = set(_with_hydrogen(molecule))
    bonds = [
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), int(bond.GetBondTypeAsDouble()) + 1)
        for bond in molecule.GetBonds()
        if not bond.GetIsAromatic() and {bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()} <= free
    ]
    return _joined(import_rdkit().Chem.RWMol(molecule), *_choice(bonds, rng)) if bonds else None


def _replaced(molecule: Any, rng: np.random.Generator) -> Any:
    """With a carbon atom replaced by nitrogen or oxygen; None if that is not possible."""
    edited = import_rdkit().Chem.RWMol(molecule)
    atoms = [atom for atom in edited.GetAtoms() if atom.GetAtomicNum() == 6]
    if not atoms:
        return None
    _choice(atoms, rng).SetAtomicNum(int(rng.choice([7, 8])))
    return _sanitised(edited)


def _joined(edited: Any, one: int, other: int, order: int) -> Any:
    """With a bond of this order between two atoms; None if valences do not admit it."""
    kinds = import_rdkit().Chem.BondType
    kind = (kinds.SINGLE, kinds.DOUBLE, kinds.TRIPLE)[min(order, 3) - 1]
    if bond := edited.GetBondBetweenAtoms(one, other):
        bond.SetBondType(kind)
    else:
        edited.AddBond(one, other, kind)
    for atom in map(edited.GetAtomWithIdx, (one, other)):
        atom.SetNumExplicitHs(max(0, atom.GetNumExplicitHs() - 1))
    return _sanitised(edited)


def _sanitised(edited: Any) -> Any:
    """A molecule of its own; None if it is not valid."""
    rdkit = import_rdkit()
    smiles = rdkit.Chem.MolToSmiles(edited)
    with rdkit.rdBase.BlockLogs():
        return rdkit.Chem.MolFromSmiles(smiles)


def _is_stable(molecule: Any, most: int) -> bool:
    """Whether a molecule is neutral, has no unpaired electron and nothing that is shunned."""
    rdkit = import_rdkit()
    atoms = list(molecule.GetAtoms())
    bridged = rdkit.Chem.rdMolDescriptors.CalcNumBridgeheadAtoms(molecule)
    return (
        len(atoms) <= most
        and any(atom.GetTotalNumHs() for atom in atoms)
        and not rdkit.Chem.GetFormalCharge(molecule)
        and not any(atom.GetNumRadicalElectrons() for atom in atoms)
        and not any(map(molecule.HasSubstructMatch, _shunned()))
        and not (bridged and molecule.HasSubstructMatch(rdkit.Chem.MolFromSmarts("[x3]=,:*")))
        and rdkit.Chem.AllChem.MMFFHasAllMoleculeParams(rdkit.Chem.AddHs(molecule))
    )


@lru_cache
def _shunned() -> tuple[Any, ...]:
    return tuple(map(import_rdkit().Chem.MolFromSmarts, _SHUNNED))


def _parsed(smiles: str) -> Any:
    return import_rdkit().Chem.MolFromSmiles(smiles)


def _with_hydrogen(molecule: Any) -> list[int]:
    return [atom.GetIdx() for atom in molecule.GetAtoms() if atom.GetTotalNumHs()]


def _choice(options: Any, rng: np.random.Generator) -> Any:
    return options[rng.integers(len(options))]


def _weighted(options: Mapping[str, float], rng: np.random.Generator) -> str:
    weights = np.array(list(options.values()))
    return str(rng.choice(list(options), p=weights / weights.sum()))
