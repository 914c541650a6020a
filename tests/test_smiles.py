"""Structures from SMILES, wherever a structure is asked for."""

import os
import re
import sys
from pathlib import Path
from typing import Any

import ase.build
import ase.io
import numpy as np
import pytest

import qiff
from qiff import InputError
from qiff.atoms.data.dataset import file_hash
from qiff.cli import main

pytest.importorskip("rdkit", reason="needs RDKit: pip install 'qiff[smiles]'")


@pytest.mark.parametrize(
    ("smiles", "formula"),
    [
        ("CCO", "C2H6O"),
        ("[NH4+]", "H4N"),
        ("C#N", "CHN"),
        ("c1ccccc1O", "C6H6O"),
        ("[H][H]", "H2"),
        ("C[C@H](O)N", "C2H7NO"),
    ],
)
def test_the_structure_is_that_of_the_formula(smiles, formula):
    (found,) = qiff.read(qiff.Source(f"smiles:{smiles}"))
    assert found.get_chemical_formula() == formula
    apart = found.get_all_distances()[np.triu_indices(len(found), 1)]
    assert 0.6 < apart.min() < 1.2
    (again,) = qiff.read(qiff.Source(f"smiles:{smiles}"))
    assert np.array_equal(found.positions, again.positions)


def test_bond_lengths_are_those_of_a_force_field():
    (found,) = qiff.read(qiff.Source("smiles:O"))
    known = ase.build.molecule("H2O")
    assert found.get_distance(0, 1) == pytest.approx(known.get_distance(0, 1), abs=0.02)
    assert found.get_angle(1, 0, 2) == pytest.approx(known.get_angle(1, 0, 2), abs=2)


@pytest.mark.parametrize(
    ("smiles", "message"),
    [
        ("CCX", "is not a SMILES that RDKit understands"),
        ("C(C", "is not a SMILES that RDKit understands"),
        ("", "is not a SMILES that RDKit understands"),
        ("O.CCO", "is of several molecules"),
    ],
)
def test_bad_smiles_are_one_line(smiles, message, capfd):
    with pytest.raises(InputError, match=message) as error:
        qiff.read(qiff.Source(f"smiles:{smiles}"))
    assert str(error.value).startswith(f"smiles:{smiles}: ")
    assert capfd.readouterr() == ("", "")


def test_hashes_are_of_the_smiles():
    assert file_hash("smiles:CCO") != file_hash("smiles:CCC")


def test_commands_take_smiles(capsys):
    assert main(["data", "info", "smiles:CCO"]) == 0
    assert "C2H6O" in capsys.readouterr().out


@pytest.mark.slow
def test_the_box_of_molecules_on_the_page_is_a_liquid(tmp_path, monkeypatch):
    pytest.importorskip("packmol", reason="needs Packmol: pip install 'qiff[boxes]'")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    page = (Path(__file__).parent.parent / "docs" / "matter.md").read_text()
    code = next(c for c in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "packmol" in c)
    names: dict[str, Any] = {}
    exec(compile(code, "matter.md", "exec"), names)
    box = names["box"]
    assert box.get_chemical_formula() == "H128O64"
    largest = lambda atoms: np.linalg.norm(atoms.get_forces(), axis=1).max()
    assert largest(box) < 0.5  # eV/Å, as the page asks for; control: of the packed box
    packed: Any = ase.io.read(tmp_path / "box.xyz")
    packed.cell, packed.pbc, packed.calc = box.cell, True, box.calc
    assert largest(packed) > 0.5
