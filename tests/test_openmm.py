"""OpenMM computes with our potentials: units, cells, a molecule in a classical system, restarts."""

import pickle
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import ase
import ase.build
import ase.units
import numpy as np
import pytest

import qiff
from qiff import Calculator, Dynamics, InputError
from qiff.interfaces.openmm import KJ_PER_MOL, Forces, whole
from qiff_openmm import Factory

from .hydrocarbons import START, box, hydrocarbon_potential, molecule

openmm = pytest.importorskip("openmm", reason="needs OpenMM: pip install 'qiff[openmm]'")
openmmml = pytest.importorskip("openmmml", reason="needs openmmml: pip install 'qiff[openmm]'")
app: Any = pytest.importorskip("openmm.app", reason="needs OpenMM")
REFERENCE = openmm.Platform.getPlatform("Reference")
PER_NM = 10 / KJ_PER_MOL  # kJ/mol/nm in 1 eV/Å


@pytest.fixture(scope="module")
def potential():
    return hydrocarbon_potential()


@pytest.fixture(scope="module")
def model(potential, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "hydrocarbon.qiff"
    qiff.save(potential, path)
    return path


@pytest.fixture(scope="module", autouse=True)
def registered():
    """Also where the entry points of an older installation do not have it."""
    openmmml.MLPotential.registerImplFactory("qiff", Factory())


def topology_of(atoms: ase.Atoms) -> Any:
    topology = app.Topology()
    residue = topology.addResidue("X", topology.addChain())
    for k, number in enumerate(atoms.numbers):
        topology.addAtom(f"X{k}", app.Element.getByAtomicNumber(int(number)), residue)
    if atoms.pbc.all():
        topology.setPeriodicBoxVectors([openmm.Vec3(*row) for row in atoms.cell.array / 10])
    return topology


def system_of(model: Path, atoms: ase.Atoms, **options: Any) -> Any:
    potential = openmmml.MLPotential("qiff", modelPath=str(model))
    return potential.createSystem(topology_of(atoms), removeCMMotion=False, **options)


def context_of(system: Any, atoms: ase.Atoms, platform: Any = REFERENCE) -> Any:
    context = openmm.Context(system, verlet(), platform)
    context.setPositions(atoms.positions / 10)
    return context


def verlet(timestep: float = 0.5) -> Any:
    """Velocity Verlet with velocities at full steps, in fs."""
    integrator = openmm.CustomIntegrator(1e-3 * timestep)
    integrator.addPerDofVariable("before", 0)
    integrator.addUpdateContextState()
    integrator.addComputePerDof("v", "v + 0.5*dt*f/m")
    integrator.addComputePerDof("x", "x + dt*v")
    integrator.addComputePerDof("v", "v + 0.5*dt*f/m")
    return integrator


def of(context: Any) -> tuple[float, np.ndarray]:
    """Energy in eV and forces in eV/Å."""
    state = context.getState(energy=True, forces=True)
    forces = state.getForces(asNumpy=True)._value / PER_NM
    return state.getPotentialEnergy()._value * KJ_PER_MOL, forces


def positions_of(context: Any) -> np.ndarray:
    """In Å."""
    return 10 * context.getState(positions=True).getPositions(asNumpy=True)._value


# --- whole systems ----------------------------------------------------------------------------


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
@pytest.mark.parametrize("kind", START)
def test_energy_and_forces_are_those_of_the_calculator(kind, platform, potential, model):
    atoms = START[kind]()
    atoms.calc = Calculator(potential)
    platform = openmm.Platform.getPlatform(platform)
    energy, forces = of(context_of(system_of(model, atoms), atoms, platform))
    assert energy == pytest.approx(atoms.get_potential_energy(), rel=1e-7)
    np.testing.assert_allclose(forces, atoms.get_forces(), rtol=1e-6, atol=1e-7)


def test_the_energy_changes_with_the_box_as_the_stress_says(potential, model):
    atoms, width = box(), 1e-4
    stress = qiff.predict(potential, atoms).stress
    assert stress is not None
    context = context_of(system_of(model, atoms), atoms)
    for (a, b), of_strain in {(0, 0): 0, (2, 2): 2, (2, 1): 3, (1, 0): 5}.items():
        strain = np.zeros((3, 3))
        strain[a, b] = width  # a rotation is added: OpenMM wants a lower triangular box
        energies = []
        for sign in (1, -1):
            grown = np.eye(3) + sign * strain
            rows = atoms.cell.array @ grown / 10
            context.setPeriodicBoxVectors(*(openmm.Vec3(*row) for row in rows))
            context.setPositions(atoms.positions @ grown / 10)
            energies.append(of(context)[0])
        slope = (energies[0] - energies[1]) / (2 * width)
        expected = atoms.get_volume() * stress[of_strain]
        assert slope == pytest.approx(expected, rel=1e-4, abs=1e-6), (a, b)


def test_a_barostat_changes_the_box(model):
    system = system_of(model, box())
    system.addForce(openmm.MonteCarloBarostat(1.0, 300, 1))
    context = context_of(system, box())
    context.setVelocitiesToTemperature(300, 1)
    context.getIntegrator().step(20)
    state = context.getState(energy=True)
    volume = 1000 * state.getPeriodicBoxVolume()._value
    assert abs(volume / box().get_volume() - 1) > 1e-4
    assert np.isfinite(state.getPotentialEnergy()._value)


@pytest.mark.parametrize("kind", START)
def test_dynamics_are_ours(kind, potential, model):
    """The same steps of velocity Verlet, so energy is conserved as well as in our loop."""
    dynamics = Dynamics("nve", timestep=0.5, steps=40, interval=40, velocities="file")
    start = START[kind]()
    rng = np.random.default_rng(0)
    momenta = (
        rng.normal(size=(len(start), 3)) * np.sqrt(300 * ase.units.kB * start.get_masses())[:, None]
    )
    start.set_momenta(momenta)
    _, ours = qiff.simulate(potential, start, dynamics)
    system = system_of(model, start)
    context = context_of(system, start)
    for index, mass in enumerate(start.get_masses()):
        system.setParticleMass(index, mass)
    context.reinitialize(preserveState=True)
    context.setVelocities(start.get_velocities() * (1000 * ase.units.fs / 10))
    context.getIntegrator().step(40)
    np.testing.assert_allclose(positions_of(context), ours.positions, atol=1e-6)
    assert np.abs(positions_of(context) - start.positions).max() > 1e-2


def test_a_system_is_serialised_and_a_simulation_continued(model, tmp_path):
    atoms = molecule()
    system = system_of(model, atoms)
    context = context_of(system, atoms)
    context.setVelocitiesToTemperature(300, 1)
    context.getIntegrator().step(5)
    (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
    state = context.getState(positions=True, velocities=True)
    (tmp_path / "state.xml").write_text(openmm.XmlSerializer.serialize(state))
    context.getIntegrator().step(5)
    read = [
        openmm.XmlSerializer.deserialize((tmp_path / name).read_text())
        for name in ("system.xml", "state.xml")
    ]
    again = context_of(read[0], atoms)
    again.setState(read[1])
    again.getIntegrator().step(5)
    np.testing.assert_allclose(positions_of(again), positions_of(context), atol=1e-9)
    assert (tmp_path / "system.xml").stat().st_size < 20_000  # the model is named, not contained


# --- mixed systems ----------------------------------------------------------------------------


def mixed(model: Path, shift: float = 0.0, **options: Any) -> tuple[Any, Any, np.ndarray]:
    """Ethane among argon atoms in a box, as a classical and a mixed system; positions in nm.

    Args:
        model: of the molecule.
        shift: of the molecule along x in nm, after which its atoms are wrapped into the box.
        options: of `createMixedSystem`.
    """
    length, guest = 2.0, molecule()
    grid = np.stack(np.meshgrid(*3 * [[0.3, 1.0, 1.7]], indexing="ij"), -1).reshape(-1, 3)
    argon = np.delete(grid, 13, axis=0)  # the molecule is in the middle
    inside = guest.positions / 10 - guest.positions.mean(0) / 10 + 1.0
    inside[:, 0] += shift
    topology = topology_of(guest)
    chain = topology.addChain()
    for k in range(len(argon)):
        topology.addAtom(f"A{k}", app.Element.getBySymbol("Ar"), topology.addResidue("AR", chain))
    rows = [openmm.Vec3(*row) for row in length * np.eye(3)]
    topology.setPeriodicBoxVectors(rows)
    system, force = openmm.System(), openmm.NonbondedForce()
    system.setDefaultPeriodicBoxVectors(*rows)
    force.setNonbondedMethod(openmm.NonbondedForce.PME)
    force.setCutoffDistance(0.9)
    for atom in topology.atoms():
        system.addParticle(atom.element.mass)
        charge = {"C": -0.18, "H": 0.06}.get(atom.element.symbol, 0.0)
        force.addParticle(charge, 0.3, 0.5)
    system.addForce(force)
    potential = openmmml.MLPotential("qiff", modelPath=str(model))
    chosen = list(range(len(guest)))
    found = potential.createMixedSystem(topology, system, chosen, **options)
    return system, found, np.concatenate([inside % length, argon + np.array([shift, 0, 0])])


def energy_at(system: Any, positions: np.ndarray, **parameters: float) -> float:
    context = openmm.Context(system, verlet(), REFERENCE)
    for name, value in parameters.items():
        context.setParameter(name, value)
    context.setPositions(positions)
    return of(context)[0]


def test_the_molecule_of_a_mixed_system_has_the_energy_of_the_isolated_one(potential, model):
    """Beyond what the classical system has with no interactions inside of the molecule."""
    _, system, positions = mixed(model)
    force = next(f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    without = openmm.System()
    without.setDefaultPeriodicBoxVectors(*system.getDefaultPeriodicBoxVectors())
    for index in range(system.getNumParticles()):
        without.addParticle(system.getParticleMass(index))
    without.addForce(openmm.XmlSerializer.clone(force))
    inside = energy_at(system, positions) - energy_at(without, positions)
    assert inside == pytest.approx(qiff.predict(potential, molecule()).energy, abs=1e-5)


def test_a_molecule_across_the_faces_of_the_box_is_made_whole(model):
    _, system, positions = mixed(model)
    _, _, moved = mixed(model, shift=1.0)
    guest = moved[: len(molecule())]
    assert np.ptp(guest[:, 0]) > 1.5  # its atoms are on both sides
    assert energy_at(system, moved) == pytest.approx(energy_at(system, positions), abs=1e-5)


def test_interpolation_leads_from_the_classical_to_the_mixed_system(model):
    classical, system, positions = mixed(model, interpolate=True)
    _, plain, _ = mixed(model)
    at = lambda value: energy_at(system, positions, lambda_interpolate=value)
    assert at(0.0) == pytest.approx(energy_at(classical, positions), abs=1e-5)
    assert at(1.0) == pytest.approx(energy_at(plain, positions), abs=1e-5)


def test_whole_molecules_longer_than_half_of_the_box():
    length = np.array([6.0, 5.0, 5.0])
    line = np.array([[1.4 * k, 0.3 * (k % 2), 0.0] for k in range(4)])
    cell = np.diag(length)
    cell[1, 0], cell[2, 1] = 1.0, -0.5
    rng, moved = np.random.default_rng(0), line
    for _ in range(5):
        moved = line + rng.integers(-2, 3, line.shape) @ cell
        found = whole(moved, cell)
        np.testing.assert_allclose(found - found[0], line - line[0], atol=1e-12)
    first = moved - moved[0]
    nearest = first - np.round(first @ np.linalg.inv(cell)) @ cell
    assert np.abs(nearest - (line - line[0])).max() > 1  # control: nearest to the first atom


def test_whole_molecules_of_one_atom():
    one = np.array([[7.0, 0.0, 0.0]])
    assert whole(one, np.diag([5.0, 5.0, 5.0])).tolist() == one.tolist()


# --- the entry point and errors ---------------------------------------------------------------


def test_the_entry_point_imports_nothing_of_qiff():
    code = (
        "import qiff_openmm, sys; print([m for m in ('qiff', 'jax', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_control_the_potential_imports_qiff():
    code = "import qiff_openmm as o, sys; o.Factory().createImpl('qiff', 'ethanol')"
    code += "; print('qiff' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_openmmml_finds_the_entry_point():
    (found,) = entry_points(group="openmmml.potentials", name="qiff")
    assert found.load() is Factory


def test_errors_name_what_is_wrong(model):
    with pytest.raises(InputError, match="nosuch: no such file"):
        openmmml.MLPotential("qiff", modelPath="nosuch")
    with pytest.raises(InputError, match="Option `isolate` is not known; did you mean `isolated`"):
        system_of(model, molecule(), isolate=True)
    with pytest.raises(InputError, match=r"atoms of OpenMM .*: the model describes C, H, but"):
        system_of(model, ase.Atoms("CO", [[0, 0, 0], [0, 0, 1.2]]))
    topology = topology_of(molecule())
    topology.addAtom("M", None, next(topology.residues()))
    with pytest.raises(InputError, match=re.escape("atom 8 (`M`) has no element")):
        openmmml.MLPotential("qiff", modelPath=str(model)).createSystem(topology)


def test_forces_are_pickled_by_the_name_of_a_bundled_model():
    potential = Factory().createImpl("qiff", "ethanol")
    assert potential.model == "ethanol"
    forces = Forces("ethanol", [6, 1, 1, 8, 1, 1], False, True)
    again = pickle.loads(pickle.dumps(forces))
    assert again.__reduce__() == forces.__reduce__()
    assert len(pickle.dumps(forces)) < 500


# --- the page ---------------------------------------------------------------------------------

BONDS = [(0, 1), (1, 2), (2, 3), (1, 4), (1, 5), (0, 6), (0, 7), (0, 8)]
"""Of ethanol as ASE orders its atoms: C, C, O, H of O, H of the second C, H of the first."""
OPLS = {  # charge in e, sigma in nm, epsilon in kJ/mol
    "C1": (-0.18, 0.35, 0.276),
    "C2": (0.145, 0.35, 0.276),
    "O3": (-0.683, 0.312, 0.711),
    "H4": (0.418, 0.1, 0.0),
    **{f"H{k}": (0.06, 0.25, 0.126) for k in range(5, 10)},
}


def write_ethanol(folder: Path) -> None:
    """`ethanol.pdb`, and `ethanol.xml` with parameters of OPLS-AA but no bonded terms."""
    atoms = ase.build.molecule("CH3CH2OH")
    topology = app.Topology()
    residue = topology.addResidue("ETH", topology.addChain())
    names = [f"{symbol}{k + 1}" for k, symbol in enumerate(atoms.symbols)]
    added = [
        topology.addAtom(name, app.Element.getBySymbol(symbol), residue)
        for name, symbol in zip(names, atoms.symbols, strict=True)
    ]
    for a, b in BONDS:
        topology.addBond(added[a], added[b])
    with (folder / "ethanol.pdb").open("w") as file:
        app.PDBFile.writeFile(topology, atoms.positions, file)
    types = "".join(
        f"<Type name='{name}' class='{name}' element='{a.symbol}' mass='{a.mass}'/>"
        for name, a in zip(names, atoms, strict=True)
    )
    inside = "".join(f"<Atom name='{n}' type='{n}' charge='{OPLS[n][0]}'/>" for n in names)
    inside += "".join(f"<Bond atomName1='{names[a]}' atomName2='{names[b]}'/>" for a, b in BONDS)
    pairs = "".join(
        f"<Atom type='{n}' sigma='{s}' epsilon='{e}'/>" for n, (_, s, e) in OPLS.items()
    )
    (folder / "ethanol.xml").write_text(
        f"<ForceField><AtomTypes>{types}</AtomTypes>"
        f"<Residues><Residue name='ETH'>{inside}</Residue></Residues>"
        "<NonbondedForce coulomb14scale='0.8333333333333334' lj14scale='0.5'>"
        f"<UseAttributeFromResidue name='charge'/>{pairs}</NonbondedForce></ForceField>"
    )


@pytest.mark.slow
def test_the_example_of_the_page_runs(tmp_path, monkeypatch):
    page = (Path(__file__).parent.parent / "docs" / "openmm.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    write_ethanol(tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code, "openmm.md", "exec"), names)
    positions = positions_of(names["simulation"].context)[names["chosen"]]
    lengths = [np.linalg.norm(positions[a] - positions[b]) for a, b in BONDS]
    atoms = ase.build.molecule("CH3CH2OH")
    assert np.abs(np.array(lengths) - [atoms.get_distance(a, b) for a, b in BONDS]).max() < 0.3
    assert names["solution"].topology.getNumResidues() > 300
    # alone, it has the energy and forces of the calculator
    atoms.positions = names["molecule"].getPositions(asNumpy=True)._value * 10
    atoms.calc = Calculator(qiff.load("ethanol"))
    energy, forces = of(context_of(names["system"], atoms))
    assert energy == pytest.approx(atoms.get_potential_energy(), rel=1e-6)
    np.testing.assert_allclose(forces, atoms.get_forces(), rtol=1e-6, atol=1e-6)
