"""Potentials as functions of StableHLO: run by a process that does not import qiff."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import ase
import ase.build
import ase.io
import jax
import jax.export
import numpy as np
import pytest
from ase.stress import voigt_6_to_full_3x3_stress

import qiff
from qiff import InputError
from qiff.atoms.graph import cell_of
from qiff.atoms.neighbours import neighbour_table
from qiff.cli import main
from qiff.interfaces import stablehlo
from qiff.interfaces.stablehlo import exported, stablehlo_files
from qiff.model.build import skeleton
from qiff.model.potential import ScaleShiftSettings
from qiff.model.predict import dtype
from qiff.quantum.engine import choose

pytest.importorskip("flatbuffers", reason="needs flatbuffers: pip install 'qiff[stablehlo]'")

LOCAL = {"kind": "local", "elements": ["C", "H"], "n_qubits": 2, "n_layers": 1, "n_circuits": 1}
LOCAL |= {"n_basis": 2, "cutoff": 3.0}
CLASSICAL = {"kind": "classical", "elements": ["C", "H"], "n_basis": 2, "cutoff": 3.0}
CLASSICAL |= {"n_channels": 2, "n_hidden": 0}
WATER = {"kind": "triatomic", "elements": ["O", "H", "H"], "n_layers": 1}

OTHER_PROCESS = """
import json, sys
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
model, inputs, outputs = sys.argv[1:]
function = jax.export.deserialize(bytearray(open(model + ".jax", "rb").read()))
arguments = np.load(inputs)
names = [argument["name"] for argument in json.load(open(model + ".json"))["arguments"]]
energy, forces, virial = jax.jit(function.call)(*(arguments[name] for name in names))
np.savez(outputs, energy=energy, forces=forces, virial=virial)
assert not any(name.partition(".")[0] == "qiff" for name in sys.modules)
"""


def potential_of(config: dict[str, Any], seed: int = 0) -> qiff.ScaleShift:
    """A potential with random weights in double precision."""
    rng = np.random.default_rng(seed)
    draw = lambda shape: 0.3 * rng.normal(size=shape.shape)
    core = jax.tree.map(draw, skeleton(config))
    settings = ScaleShiftSettings(scale=0.5, reference_energies={"C": -9.0, "H": -1.0, "O": -3.0})
    return qiff.ScaleShift(core, settings)


def crystal() -> ase.Atoms:
    """Atoms in a triclinic cell whose height is less than twice the cutoff."""
    cell = np.array([[5.0, 0, 0], [0.4, 5.5, 0], [-0.3, 0.6, 4.8]])
    atoms = ase.Atoms("CHCHCH", cell=cell, pbc=True)
    sites = np.stack(np.meshgrid(*3 * [[0.1, 0.6]], indexing="ij"), -1).reshape(-1, 3)
    atoms.set_scaled_positions(sites[:6])
    atoms.rattle(0.2, seed=1)
    return atoms


def write(files: dict[str, bytes | str], path: Path) -> None:
    for suffix, content in files.items():
        content = content.encode() if isinstance(content, str) else content
        path.with_suffix(suffix).write_bytes(content)


def arguments(record: Any, atoms: ase.Atoms, real: str) -> dict[str, np.ndarray]:
    """What another program gives: arrays of the sizes of the record, the rest of them zero."""
    arrays = {a["name"]: np.zeros(a["shape"], a["dtype"]) for a in record["arguments"]}
    cell = cell_of(atoms)
    table = neighbour_table(atoms.positions, record["cutoff"], cell, atoms.pbc)
    given = {"positions": atoms.positions, "numbers": atoms.numbers, **table._asdict()}
    given["cell"] = np.eye(3) if cell is None else cell
    for name, values in given.items():
        if values is not None:
            arrays[name][tuple(map(slice, values.shape))] = values
    assert arrays["positions"].dtype == real
    return arrays


def run_elsewhere(path: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The results of a process that knows the files alone."""
    np.savez(path.with_name("in.npz"), **inputs)  # pyright: ignore[reportArgumentType]
    names = [str(path.with_name(name)) for name in ("in.npz", "out.npz")]
    command = [sys.executable, "-c", OTHER_PROCESS, str(path), *names]
    subprocess.run(command, check=True, cwd=path.parent)
    return dict(np.load(path.with_name("out.npz")))


def check(
    found: dict[str, np.ndarray], record: Any, potential: Any, atoms: ase.Atoms, tol: float
) -> None:
    """The results are those of `predict`."""
    expected = qiff.predict(potential, atoms)
    reference = sum(record["reference_energies"][symbol] for symbol in atoms.symbols)
    assert found["energy"] + reference == pytest.approx(expected.energy, rel=tol, abs=tol)
    scale, forces = np.abs(expected.forces).max(), found["forces"]
    np.testing.assert_allclose(forces[: len(atoms)], expected.forces, atol=tol * scale)
    assert not forces[len(atoms) :].any()
    if expected.stress is None:
        virial = atoms.positions.T @ expected.forces
    else:
        virial = -atoms.get_volume() * voigt_6_to_full_3x3_stress(expected.stress)
    np.testing.assert_allclose(found["virial"], virial, atol=10 * tol * scale)


def agrees(
    potential: qiff.AbstractPotential, sizes: ase.Atoms, atoms: ase.Atoms, folder: Path
) -> None:
    """The function of the sizes of `sizes` gives for `atoms` what `predict` does."""
    files = stablehlo_files(potential, sizes)
    write(files, folder / "model")
    record = json.loads(files[".json"])
    found = run_elsewhere(folder / "model", arguments(record, atoms, dtype(potential)))
    check(found, record, potential, atoms, 1e-9)


def test_periodic_cell_in_another_process(tmp_path):
    potential, atoms = potential_of(CLASSICAL), crystal()
    agrees(potential, crystal() * (2, 1, 1), atoms, tmp_path)  # padded with atoms


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "name"), [(WATER, "H2O"), ({**LOCAL, "n_interactions": 2}, "CH4")]
)
def test_circuits_in_another_process(config, name, tmp_path):
    molecule = ase.build.molecule(name)
    molecule.rattle(0.1, seed=0)
    agrees(potential_of(config), molecule, molecule, tmp_path)


@pytest.mark.slow
def test_bundled_model_by_the_script_of_the_documents(tmp_path):
    atoms = ase.build.bulk("Si", cubic=True) * (2, 2, 2)
    atoms.rattle(0.1, seed=0)
    ase.io.write(tmp_path / "si.xyz", atoms)
    command = ["export", "silicon", "--to", "stablehlo"]
    paths = ["--geometry", str(tmp_path / "si.xyz"), "--out", str(tmp_path / "si")]
    assert main([*command, *paths]) == 0
    page = (Path(__file__).parent.parent / "docs" / "lammps.md").read_text()
    script = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[1]
    script += "import sys\nassert 'qiff' not in sys.modules\n"
    script += "np.savez('out.npz', energy=energy, forces=forces, virial=virial)\n"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
    record = json.loads((tmp_path / "si.json").read_text())
    check(dict(np.load(tmp_path / "out.npz")), record, qiff.load("silicon"), atoms, 1e-5)


def test_only_operations_of_stablehlo(monkeypatch):
    potential = potential_of(LOCAL)
    function = exported(potential, crystal())
    assert "custom_call" not in function.mlir_module()
    assert function.platforms == ("cpu",)
    assert b".py" not in function.mlir_module_serialized  # no paths of this machine
    if choose().name == "native":  # control
        monkeypatch.setattr(stablehlo, "with_engine", lambda potential, engine: potential)
        with pytest.raises(ValueError, match="custom_call @qiff"):
            exported(potential, crystal())


def test_command_line(tmp_path, capsys, monkeypatch):
    ase.io.write(tmp_path / "water.xyz", ase.build.molecule("H2O"))
    ase.io.write(tmp_path / "methane.xyz", ase.build.molecule("CH4"))
    qiff.save(potential_of(CLASSICAL), tmp_path / "model.qiff")
    command = ["export", str(tmp_path / "model.qiff"), "--out", str(tmp_path / "w")]
    command += ["--to", "stablehlo", "--geometry"]
    assert main([*command, str(tmp_path / "methane.xyz")]) == 0
    assert {p.suffix for p in tmp_path.glob("w.*")} == {".stablehlo", ".jax", ".json"}
    assert str(tmp_path / "w.stablehlo") in capsys.readouterr().out
    assert main([*command, str(tmp_path / "methane.xyz")]) == 2
    assert "replace it (--overwrite)" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "water.xyz")]) == 2
    assert capsys.readouterr().err.startswith("qiff: geometry: ")
    monkeypatch.setattr(stablehlo.export.Exported, "serialize", _absent)
    assert main([*command, str(tmp_path / "methane.xyz"), "--overwrite"]) == 2
    assert "pip install 'qiff[stablehlo]'" in capsys.readouterr().err


def _absent(*_: Any) -> Any:
    raise ImportError


def test_potential_without_a_cutoff():
    water = ase.build.molecule("H2O")
    assert json.loads(stablehlo_files(potential_of(WATER), water)[".json"])["cutoff"] is None
    water.set_cell(3 * [10.0])
    water.pbc = True
    with pytest.raises(InputError, match=r"geometry: is periodic .* isolated molecule"):
        exported(potential_of(WATER), water)
