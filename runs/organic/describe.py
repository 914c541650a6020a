"""What is in a data set of many molecules: a Markdown table, and a figure of examples.

    python runs/organic/describe.py organic.xyz [FIGURE.png]

Needs RDKit; the frames have `smiles` and `scaffold` in `info`.
"""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
from rdkit import Chem
from rdkit.Chem import Draw

import qiff
from qiff._files import read_record

GROUPS = {
    "aromatic ring": "a",
    "ring that is not aromatic": "[R;!a]",
    "C=C": "[CX3]=[CX3]",
    "C≡C": "C#C",
    "alcohol": "[CX4][OX2H]",
    "ether": "[#6;!$(C=O)][OX2][#6;!$(C=O)]",
    "amine": "[NX3;!$(N-C=[O,N]);!$(N~[N,O])]",
    "aldehyde or ketone": "[CX3;$(C([#6,#1])[#6,#1]),$([CH2])]=O",
    "amide": "[NX3]C=O",
    "ester": "[#6]C(=O)O[#6]",
    "carboxylic acid": "C(=O)[OX2H]",
    "nitrile": "C#N",
    "imine or oxime": "[CX3;!$(C[N,O])]=[NX2;!a]",
    "nitro": "[N+](=O)[O-]",
    "N-N or N-O single bond": "[NX3]-[NX3,OX2]",
}


def table(frames: list, left_out: dict[str, int]) -> dict[str, str]:
    """Numbers, sizes, groups, energies and forces."""
    names = list(dict.fromkeys(atoms.info["smiles"] for atoms in frames))
    molecules = [Chem.MolFromSmiles(name) for name in names]
    heavy = Counter(molecule.GetNumAtoms() for molecule in molecules)
    elements = Counter(symbol for atoms in frames for symbol in atoms.symbols)
    n_atoms = sum(elements.values())
    scaffolds = Counter({a.info["smiles"]: a.info["scaffold"] for a in frames}.values())
    lowest = dict.fromkeys(names, np.inf)
    for atoms in frames:
        name = atoms.info["smiles"]
        lowest[name] = min(lowest[name], atoms.get_potential_energy())
    above = [(a.get_potential_energy() - lowest[a.info["smiles"]]) / len(a) for a in frames]
    forces = np.concatenate([atoms.get_forces().ravel() for atoms in frames])
    largest = [np.linalg.norm(atoms.get_forces(), axis=1).max() for atoms in frames]
    frequent = ", ".join(f"`{name}` × {n}" for name, n in scaffolds.most_common(3))
    return {
        "frames": f"{len(frames)}, {n_atoms / len(frames):.1f} atoms on average",
        "molecules": f"{len(names)}, {len({Chem.CanonSmiles(name) for name in names})} different",
        "scaffolds": f"{len(scaffolds)}; {frequent}",
        "left out": ", ".join(f"{reason}: {n}" for reason, n in left_out.items()) or "none",
        "heavy atoms: molecules": ", ".join(f"{size}: {heavy[size]}" for size in sorted(heavy)),
        "elements": ", ".join(f"{e} {100 * n / n_atoms:.0f} %" for e, n in elements.most_common()),
        **{name: f"{_share(molecules, smarts):.0f} %" for name, smarts in GROUPS.items()},
        "energy above the lowest frame": f"{1000 * np.mean(above):.0f} meV/atom, "
        f"{1000 * np.quantile(above, 0.99):.0f} in 99 % of the frames",
        "forces": f"{np.sqrt(np.mean(forces**2)):.2f} eV/Å root mean square; the largest of a "
        f"frame {np.median(largest):.1f} in the median, {np.max(largest):.1f} at most",
    }


def _share(molecules: list, smarts: str) -> float:
    """Percentage of the molecules that contain a group."""
    pattern = Chem.MolFromSmarts(smarts)
    return 100 * float(np.mean([molecule.HasSubstructMatch(pattern) for molecule in molecules]))


def draw(names: list[str], path: Path) -> None:
    """A grid of forty molecules, drawn at random."""
    chosen = np.random.default_rng(0).choice(names, 40, replace=False)
    molecules = [Chem.MolFromSmiles(name) for name in chosen]
    Draw.MolsToGridImage(molecules, molsPerRow=8, subImgSize=(180, 130)).save(path)


if __name__ == "__main__":
    path, *figure = sys.argv[1:]
    frames = qiff.read(qiff.Source(path))
    left_out = read_record(Path(path).with_suffix(".json")).get("left_out", {})
    print("| | |\n|---|---|")
    for name, text in table(frames, left_out).items():
        print(f"| {name} | {text} |")
    for target in figure:
        draw(list(dict.fromkeys(atoms.info["smiles"] for atoms in frames)), Path(target))
