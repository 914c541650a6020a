"""The bundled models have the errors that are published of them."""

import re
from pathlib import Path

import pytest

import qiff
from qiff.training.bundled import BUNDLED

from .conftest import reference

UNSEEN = """
C1CC2(CC2)N1 C1CC2NCN(C1)O2 C=C(C(C)=O)[N+](=O)[O-] CC(C)c1ccccc1 CC(O)C(C(=O)O)=C1C=CC1
CC1(C)COCO1 CN1C=NCCC1 CN=NC(N)c1ccccc1C CON1C(=O)C=C(C)C1=O Cc1ncn(C2C=NCC2)n1 N=O NC1=CC=CCC1
NCCCC1=CC(O)C1 O=CC1(O)C=COC1 Oc1cnoc1 c1ccc2c(c1)OCO2
"""
"""The molecules of `bundled:organic` in the test part of the model of many molecules."""
PUBLISHED = {
    "ethanol": ("rmd17:ethanol/test", {"energy_mae": 0.61, "forces_mae": 4.0}),
    "liquid-water": (
        "water64/water.xyz split=data_3/000",
        {"energy_per_atom_mae": 0.12, "forces_mae": 13.17},
    ),
    "organic": (
        f"bundled:organic smiles={','.join(UNSEEN.split())}",
        {"energy_mae": 47.45, "forces_mae": 47.98},
    ),
    "silicon": ("mlearn/Si_test.xyz", {"energy_per_atom_mae": 2.37, "forces_mae": 65.96}),
}
"""Test data, perhaps with the `key=value,value` of the frames, and errors in meV, meV/atom and
meV/Å; docs/rmd17.md, docs/matter.md, docs/organic.md."""


def test_every_bundled_model_has_published_errors():
    assert set(PUBLISHED) == set(BUNDLED)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_errors_are_those_published(name):
    data, published = PUBLISHED[name]
    if not data.startswith("bundled:"):
        reference(re.split("[:/]", data)[0])  # skips without it
    path, _, where = data.partition(" ")
    frames = qiff.read(qiff.Source(path), need_energy=True, need_forces=True)
    if where:
        key, _, value = where.partition("=")
        frames = [atoms for atoms in frames if atoms.info[key] in value.split(",")]
    found = qiff.evaluate(qiff.load(name), frames)
    assert {key: round(1000 * (found[key] or 0.0), 2) for key in published} == published


@pytest.mark.slow
def test_the_example_of_the_page_on_matter_runs(capsys):
    page = (Path(__file__).parent.parent / "docs" / "matter.md").read_text()
    code, *_ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(code, "matter.md", "exec"), {})
    printed = capsys.readouterr().out
    volume, modulus = map(float, printed.splitlines()[-2].split())
    assert volume ** (1 / 3) * 4 ** (1 / 3) == pytest.approx(5.470, abs=2e-3)  # of two atoms
    assert modulus == pytest.approx(97.2, abs=0.5)
    assert "c11=" in printed
