"""The examples of docs/extending.md run as they stand, and obey the laws."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qiff
from qiff._checks import InputError
from qiff.atoms.data.formats import FORMATS
from qiff.model.build import POTENTIALS
from qiff.quantum.engine import choose
from qiff.quantum.gate import GATES, GateKind
from qiff.testing import check_gate

PAGE = (Path(__file__).parent.parent / "docs" / "extending.md").read_text()
REGISTRIES: tuple[dict[str, Any], ...] = (GATES, FORMATS, POTENTIALS)


@pytest.fixture
def page(tmp_path, monkeypatch, capsys):
    """The names that the blocks of the page define; registries are as before afterwards."""
    before = [dict(registry) for registry in REGISTRIES]
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "extending"}
    try:
        for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
            exec(compile(block, "docs/extending.md", "exec", dont_inherit=True), names)
        yield names | {"output": capsys.readouterr().out}
    finally:
        for registry, entries in zip(REGISTRIES, before, strict=True):
            registry.clear()
            registry.update(entries)


def test_the_examples_run_and_obey_the_laws(page, tmp_path):
    assert page["output"].splitlines()[0] == "xla"
    with pytest.raises(InputError, match="no kernel for gate `zz`"):
        choose("native", page["program"])
    np.testing.assert_allclose(page["frame"].get_potential_energy(), -1.17 * 27.211386, rtol=1e-6)
    qiff.save(page["morse"], tmp_path / "morse.qiff")
    again = qiff.load(tmp_path / "morse.qiff")
    found, expected = (qiff.predict(p, page["water"]) for p in (again, page["morse"]))
    assert found.energy == expected.energy


def test_a_second_run_finds_the_registries_as_they_were():
    assert not {"zz", "jsonl", "morse"} & {*GATES, *FORMATS, *POTENTIALS}


def test_control_a_wrong_gate_is_seen(monkeypatch):
    exchange = GATES["exchange"]
    wrong = GateKind(2, 1, lambda a: exchange.matrix(2 * a), generators=exchange.generators)
    monkeypatch.setitem(GATES, "wrong", wrong)
    check_gate("exchange")
    with pytest.raises(AssertionError, match="`wrong`: the matrix is not"):
        check_gate("wrong")
