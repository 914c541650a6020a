"""i-PI computes with our potentials: units, signs, batches, path integrals, files, sockets."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import ase
import ase.build
import ase.io
import ase.units
import numpy as np
import pytest
from ase.constraints import FixAtoms

import qiff
from qiff import Calculator, Dynamics, InputError
from qiff.cli import main
from qiff.interfaces import ipi as interface
from qiff.interfaces.ipi import FILES, Driver, PathIntegral, write_inputs

from .hydrocarbons import START, box, hydrocarbon_potential, molecule
from .waters import water_box

pytest.importorskip("ipi", reason="needs i-PI: pip install 'qiff[ipi]'")
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def potential():
    return hydrocarbon_potential()


@pytest.fixture(scope="module")
def model(potential, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "local.qiff"
    qiff.save(potential, path)
    return path


def simulation(
    folder: Path, model: Path, atoms: ase.Atoms, monkeypatch: Any, **settings: Any
) -> Any:
    """i-PI in this process, on the files that we write."""
    from ipi.scripting import InteractiveSimulation

    fixed = [int(i) for c in atoms.constraints for i in c.get_indices()]
    write_inputs(folder, model, atoms, PathIntegral(**settings), fixed)
    monkeypatch.chdir(folder)
    return InteractiveSimulation((folder / "input.xml").read_text().replace("medium", "quiet"))


def structures(simulation: Any) -> list[Any]:
    """The beads, with momenta and the energy and forces that i-PI has."""
    found = simulation.get_structures()
    return found if isinstance(found, list) else [found]


# --- the driver -------------------------------------------------------------------------------


def in_atomic_units(atoms: ase.Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Cell and positions as i-PI gives them."""
    return atoms.cell.array.T / ase.units.Bohr, atoms.positions / ase.units.Bohr


@pytest.mark.parametrize("kind", START)
def test_energy_forces_and_virial_in_atomic_units(kind, potential, model, tmp_path):
    atoms = START[kind]()
    atoms.calc = Calculator(potential)
    ase.io.write(tmp_path / "start.xyz", atoms)
    energy, forces, virial, extra = Driver(str(model), str(tmp_path / "start.xyz"))(
        *in_atomic_units(atoms)
    )
    hartree, bohr = ase.units.Hartree, ase.units.Bohr
    assert energy * hartree == pytest.approx(atoms.get_potential_energy(), rel=1e-7)
    np.testing.assert_allclose(forces * hartree / bohr, atoms.get_forces(), rtol=1e-6, atol=1e-9)
    assert (virial.dtype, extra) == (np.float64, "")
    if kind == "cell":
        expected = -atoms.get_volume() * atoms.get_stress(voigt=False)
        np.testing.assert_allclose(virial * hartree, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", START)
def test_the_virial_is_minus_the_derivative_in_the_strain(kind, potential, model, tmp_path):
    atoms, width = START[kind](), 1e-4
    ase.io.write(tmp_path / "start.xyz", atoms)
    driver = Driver(str(model), str(tmp_path / "start.xyz"))
    cell, positions = in_atomic_units(atoms)
    found = driver(cell, positions)[2]
    for a, b in ((0, 0), (0, 1), (1, 2)):
        strain = np.zeros((3, 3))
        strain[a, b] = strain[b, a] = width / (1 if a == b else 2)
        up, down = (np.eye(3) + sign * strain for sign in (1, -1))
        rise = driver(up @ cell, positions @ up)[0] - driver(down @ cell, positions @ down)[0]
        assert -rise / (2 * width) == pytest.approx(found[a, b], rel=1e-4, abs=1e-7)


def test_beads_are_one_batch(model, tmp_path, monkeypatch):
    frames = [box() for _ in range(3)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=seed)
    ase.io.write(tmp_path / "start.xyz", frames[0])
    driver, batches = Driver(str(model), str(tmp_path / "start.xyz")), []
    one_by_one = [driver(*in_atomic_units(atoms)) for atoms in frames]

    def counted(potential, beads):
        batches.append(len(beads))
        return qiff.predict(potential, beads)

    monkeypatch.setattr(interface, "predict", counted)
    cells, positions = map(list, zip(*map(in_atomic_units, frames), strict=True))
    together = driver(cells, positions)
    assert batches == [3]
    for one, other in zip(together, one_by_one, strict=True):
        for k in range(3):
            np.testing.assert_allclose(one[k], other[k], rtol=1e-10, atol=1e-12)


def test_what_i_pi_adds_to_the_parameters_is_ignored(model, tmp_path):
    ase.io.write(tmp_path / "start.xyz", molecule())
    Driver(str(model), str(tmp_path / "start.xyz"), verbosity=3)
    with pytest.raises(InputError, match="no such file"):
        Driver(str(tmp_path / "none.qiff"), str(tmp_path / "start.xyz"))


# --- i-PI -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", START)
def test_path_integrals_have_the_energies_and_forces_of_the_calculator(
    kind, potential, model, tmp_path, monkeypatch
):
    start = START[kind]()
    run = simulation(tmp_path, model, start, monkeypatch, beads=4, steps=5)
    run.run(5)
    beads = structures(run)
    assert len(beads) == 4
    assert np.ptp([atoms.positions for atoms in beads], axis=0).max() > 1e-3  # they moved apart
    for atoms in beads:
        again = ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=start.pbc)
        expected = qiff.predict(potential, again)
        assert atoms.get_potential_energy() == pytest.approx(expected.energy, rel=1e-6)
        np.testing.assert_allclose(atoms.get_forces(), expected.forces, rtol=1e-6, atol=1e-7)


def kinetic(atoms: ase.Atoms, momenta: Any) -> float:
    return float((np.asarray(momenta) ** 2 / (2 * atoms.get_masses()[:, None])).sum())


@pytest.mark.parametrize("kind", START)
def test_one_bead_follows_our_own_dynamics(kind, potential, model, tmp_path, monkeypatch):
    """The same steps of velocity Verlet, so energy is conserved as well as in our loop."""
    settings: Any = {"ensemble": "nve", "timestep": 0.5, "steps": 40}
    run = simulation(tmp_path, model, START[kind](), monkeypatch, beads=1, **settings)
    (start,) = structures(run)
    start.pbc = START[kind]().pbc
    total = [float(run.properties("conserved"))]
    run.run(40)
    total.append(float(run.properties("conserved")))
    dynamics = Dynamics(**settings, interval=40, velocities="file")
    first, last = qiff.simulate(potential, start, dynamics)
    (end,) = structures(run)
    np.testing.assert_allclose(end.positions, last.positions, atol=1e-6)
    ours = [kinetic(start, state.momenta) + float(state.energy) for state in (first, last)]
    assert np.ptp(total) == pytest.approx(np.ptp(ours), abs=1e-6)
    assert np.abs(end.positions - start.positions).max() > 1e-2


def test_the_pressure_is_ours(potential, model, tmp_path, monkeypatch):
    run = simulation(tmp_path, model, box(), monkeypatch, ensemble="nve", beads=1)
    (atoms,) = structures(run)
    atoms.pbc = True
    atoms.calc = Calculator(potential)
    (ours,) = qiff.pressure([atoms])
    theirs = float(run.properties("pressure_md")) / ase.units.GPa
    assert theirs == pytest.approx(ours, rel=1e-6)
    at_rest = qiff.pressure([atoms], temperature=0.0)[0]
    assert abs(theirs - at_rest) > 1e-3 * abs(ours)  # control: without the kinetic part


def test_constant_pressure_changes_the_cell(model, tmp_path, monkeypatch):
    settings: Any = {"ensemble": "npt", "pressure": 2.0, "barostat_time": 20.0, "beads": 2}
    run = simulation(tmp_path, model, box(), monkeypatch, **settings)
    before = float(run.properties("volume"))
    conserved = [float(run.properties("conserved"))]
    run.run(20)
    conserved.append(float(run.properties("conserved")))
    assert abs(float(run.properties("volume")) / before - 1) > 1e-4
    assert np.ptp(conserved) < 5e-3


def test_fixed_atoms_do_not_move(model, tmp_path, monkeypatch):
    atoms = molecule()
    atoms.set_constraint(FixAtoms([1, 4]))
    run = simulation(tmp_path, model, atoms, monkeypatch, beads=2)
    run.run(5)
    for bead in structures(run):
        moved = np.abs(bead.positions - atoms.positions).max(axis=1)
        assert moved[[1, 4]].max() < 1e-6  # the digits of start.xyz
        assert moved[[0, 2, 3, 5, 6, 7]].min() > 1e-4


def test_masses_are_those_of_the_isotopes(model, tmp_path, monkeypatch):
    atoms = molecule()
    masses: Any = atoms.get_masses()
    masses[2] = 2.014
    atoms.set_masses(masses)
    run = simulation(tmp_path, model, atoms, monkeypatch, beads=1)
    np.testing.assert_allclose(run.syslist[0].beads.m / 1822.888486, masses, rtol=1e-6)


@pytest.mark.parametrize("turn", ["as it is", "rotated", "left-handed", "two periodic vectors"])
def test_any_cell_keeps_its_energy(turn, potential, model, tmp_path, monkeypatch):
    atoms = box()
    if turn == "rotated":
        atoms.rotate(50, (1, 2, 3), rotate_cell=True)
    if turn == "left-handed":
        atoms.set_cell(atoms.cell.array[[1, 0, 2]])
    if turn == "two periodic vectors":
        atoms.pbc = [True, True, False]
        atoms.set_cell([*atoms.cell.array[:2], [0, 0, 0]])
    run = simulation(tmp_path, model, atoms, monkeypatch, beads=1)
    found = float(run.properties("potential"))
    assert found == pytest.approx(qiff.predict(potential, atoms).energy, abs=1e-6)
    assert float(run.properties("volume")) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ethanol", "silicon"])
def test_bundled_models_have_quantum_nuclei(name, tmp_path, monkeypatch):
    """More kinetic energy than classical ones, and the forces of the calculator, in float32."""
    crystal = ase.build.bulk("Si", "diamond", 5.43, cubic=True)
    start = {"ethanol": ase.build.molecule("CH3CH2OH"), "silicon": crystal}[name]
    run = simulation(tmp_path, Path(name), start, monkeypatch, beads=8, steps=200)
    run.run(200)
    classical = 3 / 2 * len(start) * ase.units.kB * 300
    assert float(run.properties("kinetic_cv")) > 1.05 * classical
    calculator = Calculator(qiff.load(name))
    for atoms in structures(run):
        again = ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=start.pbc)
        again.calc = calculator
        assert atoms.get_potential_energy() == pytest.approx(again.get_potential_energy(), rel=1e-7)
        np.testing.assert_allclose(atoms.get_forces(), again.get_forces(), rtol=1e-6, atol=1e-4)


@pytest.mark.slow
def test_path_integrals_of_liquid_water_have_our_virial(tmp_path, monkeypatch):
    """Energies, forces and virials of every bead of a periodic box."""
    start, potential = water_box(2), qiff.load("liquid-water")
    settings: Any = {"beads": 4, "timestep": 0.2, "steps": 50, "ensemble": "nvt"}
    run = simulation(tmp_path, Path("liquid-water"), start, monkeypatch, **settings)
    run.run(50)
    virials = []
    for atoms in structures(run):
        again = ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
        expected = qiff.predict(potential, again)
        assert atoms.get_potential_energy() == pytest.approx(expected.energy, rel=1e-7)
        np.testing.assert_allclose(atoms.get_forces(), expected.forces, rtol=1e-6, atol=1e-4)
        virials.append(expected.virial(again))
    xx, yy, zz, xy, xz, yz = run.properties("virial_cv") * start.get_volume()
    found = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    np.testing.assert_allclose(found, np.mean(virials, 0), atol=1e-4 * np.abs(virials).max())
    assert np.abs(np.ptp(virials, axis=0)).max() > 1e-2 * np.abs(virials).max()  # beads differ


def i_pi(folder: Path, file: str, *more: str) -> str:
    done = subprocess.run(
        [BIN / "i-pi", file, *more], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_a_stopped_run_is_continued(model, tmp_path):
    settings: Any = {"beads": 2, "interval": 1, "ensemble": "nvt", "timestep": 0.5}
    for name, steps in (("whole", 10), ("parts", 5)):
        write_inputs(tmp_path / name, model, box(), PathIntegral(steps=steps, **settings))
        i_pi(tmp_path / name, "input.xml")
    restart = tmp_path / "parts" / "RESTART"
    text = restart.read_text()
    restart.write_text(text.replace("<total_steps>5</", "<total_steps>10</"))
    i_pi(tmp_path / "parts", "RESTART")
    whole, parts = (np.loadtxt(tmp_path / name / "ipi.out") for name in ("whole", "parts"))
    assert whole[:, 0].tolist() == list(range(11))
    np.testing.assert_allclose(parts[-1], whole[-1], rtol=1e-8)


@pytest.mark.slow
def test_a_client_behind_a_socket_gives_the_same(model, tmp_path):
    socket = f"qiff_test_{tmp_path.stat().st_ino}"
    settings: Any = {"beads": 3, "interval": 1, "steps": 4}
    write_inputs(tmp_path / "direct", model, box(), PathIntegral(**settings))
    i_pi(tmp_path / "direct", "input.xml")
    folder = tmp_path / "socket"
    command = write_inputs(folder, model, box(), PathIntegral(**settings), socket=socket)
    server = subprocess.Popen([BIN / "i-pi", "input.xml"], cwd=folder, stdout=subprocess.DEVNULL)
    try:
        while not Path(f"/tmp/ipi_{socket}").exists() and server.poll() is None:
            time.sleep(0.1)
        client = [BIN / "i-pi-py_driver", *command.split()[1:]]
        subprocess.run(client, cwd=folder, check=True, timeout=300, stdout=subprocess.DEVNULL)
        assert server.wait(60) == 0
    finally:
        server.kill()
    direct, behind = (np.loadtxt(tmp_path / name / "ipi.out") for name in ("direct", "socket"))
    np.testing.assert_allclose(behind, direct, rtol=1e-8)


# --- the files --------------------------------------------------------------------------------


def test_the_command_writes_the_files(model, tmp_path, capsys):
    ase.io.write(tmp_path / "start.xyz", molecule())
    out = tmp_path / "a run"
    arguments = ["ipi", str(model), str(tmp_path / "start.xyz"), "--beads", "16"]
    assert main([*arguments, "--temperature", "120", "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    text = (out / "input.xml").read_text()
    assert "<initialize nbeads='16'>" in text
    assert "<temperature units='kelvin'>120.0</temperature>" in text
    assert "$" not in text
    assert (out / "model.qiff").read_bytes() == model.read_bytes()
    assert f"cd '{out}' && i-pi input.xml" in capsys.readouterr().out
    assert main([*arguments, "--out", str(out)]) == 2
    assert "exists" in capsys.readouterr().err
    assert main([*arguments, "--out", str(out), "--overwrite", "--socket", "localhost:3141"]) == 0
    assert "i-pi-py_driver -a localhost -p 3141 " in capsys.readouterr().out
    assert "<ffsocket name='qiff' mode='inet'>" in (out / "input.xml").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ensemble", "npt"], "`ensemble` npt needs atoms that are periodic along three cell"),
        (["--ensemble", "nph"], "Statistical ensemble `nph` is not known"),
        (["--beads", "0"], "`--beads` must be at least 1, but is 0"),
        (["--temperature", "0"], "`--temperature` must be positive"),
        (["--socket", "host:port"], "`socket` must be a name or HOST:PORT, but is `host:port`"),
    ],
)
def test_bad_settings_are_one_line_and_nothing_is_written(
    options, message, model, tmp_path, capsys
):
    ase.io.write(tmp_path / "start.xyz", molecule())
    arguments = ["ipi", str(model), str(tmp_path / "start.xyz"), "--out", str(tmp_path / "run")]
    assert main([*arguments, *options]) == 2
    error = capsys.readouterr().err
    assert message in error.replace("`--socket`", "`socket`")
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
