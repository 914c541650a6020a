"""Circuits whose angles depend on the results of others: sent stage by stage."""

import re

import ase.build
import ase.io
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qiff
from qiff.cli import main
from qiff.hardware import Exact, Protocol, Shots, circuits, estimate, resources
from qiff.hardware.delivery import Cached
from qiff.hardware.estimate import Geometry, measured_stages
from qiff.hardware.measure import Laboratory
from qiff.model.plan import plan
from qiff.model.potential import AbstractPotential, SumSettings
from qiff.model.predict import precision, predict

from .laws.examples import POTENTIAL_EXAMPLES, every

EXAMPLES = {example.name: example for example in every(POTENTIAL_EXAMPLES)}
WATER = EXAMPLES["water"].molecule
SMALL = {"kind": "local", "elements": ["H", "C", "O"], "n_qubits": 2, "n_layers": 1}
SMALL |= {"n_circuits": 1, "n_basis": 2, "n_messages": 1, "n_interactions": 2}
ATOMS = ase.Atoms("HOC", [[0.1, 0, 0], [0.3, 0.4, 1.0], [-0.9, 0.6, 0.2]])


def built(**changes) -> AbstractPotential:
    """A model with random weights, in double precision."""
    potential = qiff.build(SMALL | changes, jax.random.key(0))
    return jax.tree.map(lambda leaf: np.asarray(leaf, "float64"), potential)


class Fed(qiff.Sum):
    """The second circuit sees positions that are scaled by the result of the first."""

    def __call__(self, graph):
        first, second = self.potentials
        return second(graph.at(graph.positions * (1 + 0.1 * first(graph).sum())))


@pytest.fixture(scope="module")
def fed():
    water = EXAMPLES["water"].random()
    return Fed(potentials=(water, water), settings=SumSettings())


@pytest.fixture(scope="module")
def small():
    return built()


class Counting(Shots):
    """Counts the circuits that it carries out, a few in a job."""

    batch = 20
    n_done = 0

    def sample(self, job):
        object.__setattr__(self, "n_done", self.n_done + len(job))
        return super().sample(job)


def agrees(potential, atoms):
    """Whether the exact executor gives energy and forces of automatic differentiation."""
    wanted, found = predict(potential, atoms), estimate(potential, atoms, Exact())
    assert abs(found.energy - wanted.energy) < 1e-9
    np.testing.assert_allclose(found.forces, wanted.forces, rtol=0, atol=1e-9)
    return wanted


def test_forces_go_through_all_stages(fed):
    wanted = agrees(fed, WATER)
    with precision(fed):
        geometry = Geometry(fed, WATER)
        assert geometry.plan.stages == ((0,), (1,))
        (measured,) = measured_stages(Laboratory(Exact(), Protocol()), [geometry], 2)
        first, second = geometry._known(measured)
        assert first is not None
        frozen = [first._replace(slopes=jnp.zeros_like(first.slopes)), second]
        forces = geometry.plan.answer(*geometry.given, frozen).result[1:]
    off = np.asarray(forces).reshape(-1, 3) - wanted.forces
    assert np.abs(off).max() > 1e-3  # control: the first stage moves the second


def test_a_measurement_that_was_killed_in_a_later_stage_pays_for_nothing_twice(fed, tmp_path):
    protocol = Protocol(10**6)
    first_stage = sum(len(c.all_angles) for c in circuits(fed, WATER) if c.stage == 0)

    def stop(n_circuits):
        if n_circuits > first_stage:
            raise KeyboardInterrupt

    whole, first, second, other = (Counting(seed) for seed in (1, 1, 1, 2))
    wanted = estimate(fed, WATER, whole, protocol)
    with pytest.raises(KeyboardInterrupt):
        estimate(fed, WATER, Cached(first, tmp_path), protocol, stop)
    assert first_stage < first.n_done
    found = estimate(fed, WATER, Cached(second, tmp_path), protocol)
    assert found.energy == wanted.energy
    np.testing.assert_array_equal(found.forces, wanted.forces)
    np.testing.assert_array_equal(found.covariance, wanted.covariance)
    assert first.n_done + second.n_done == wanted.n_circuits == whole.n_done
    assert estimate(fed, WATER, other, protocol).energy != wanted.energy  # control
    taken = resources(fed, WATER, Shots(), protocol)
    assert taken["stages"] == 2
    assert taken["circuits"] == wanted.n_circuits
    assert taken["shots"] == pytest.approx(wanted.n_shots, rel=0.01)


@pytest.mark.slow
def test_stages_are_those_of_the_trace(small):
    three = built(n_interactions=3)
    with precision(three):
        assert plan(three, ATOMS.numbers).stages == ((0,), (1,), (2,))
        both = qiff.Sum([small, three])
        assert plan(both, ATOMS.numbers).stages == ((0, 2), (1, 3), (4,))


# --- ethanol ----------------------------------------------------------------------------------

ETHANOL = {"n_layers": 1, "n_basis": 8, "n_messages": 4}


def shaken(seed):
    atoms = ase.build.molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=seed)
    return atoms


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"n_hidden": 8}, {"n_qubits": 4}], ids=str)
def test_ethanol_in_two_interactions_agrees_with_differentiation(changes):
    potential = built(**ETHANOL, **changes)
    wanted = agrees(potential, shaken(0))
    assert np.abs(wanted.forces).max() > 0.1  # control


@pytest.mark.slow
@pytest.mark.parametrize(("n_hidden", "pilot"), [(0, 0.0), (8, 0.0), (0, 0.1)])
def test_errors_of_ethanol_in_two_interactions_are_right(n_hidden, pilot):
    potential, off, of_energy = built(**ETHANOL, n_hidden=n_hidden), [], []
    protocol = Protocol(10**8, pilot=pilot)
    for geometry in range(4):
        wanted = predict(potential, shaken(geometry))
        for seed in range(5):
            found = estimate(potential, shaken(geometry), Shots(seed), protocol)
            off.append(((found.forces - wanted.forces) / found.forces_error).ravel())
            of_energy.append((found.energy - wanted.energy) / found.energy_error)
    inside = lambda z, limit: np.mean(np.abs(z) < limit)
    z = np.append(np.ravel(off), of_energy)
    assert inside(z, 3) >= 0.99
    assert 0.85 < np.sqrt(np.mean(np.square(off))) < 1.15
    assert inside(z, 1.5) < 0.95  # control: half as large errors would be wrong


@pytest.mark.slow
def test_commands_send_stage_by_stage(small, tmp_path, capsys):
    model, atoms, out = (str(tmp_path / name) for name in ("m.qiff", "in.xyz", "out.xyz"))
    qiff.save(small, model)
    ase.io.write(atoms, ATOMS)
    n_circuits = estimate(small, ATOMS, Shots(), Protocol()).n_circuits
    shots = ["--executor", "shots", "--shots", "100000000"]
    assert main(["resources", model, "--geometry", atoms, "--shots", "100000000"]) == 0
    assert main(["predict", model, atoms, out, *shots, "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert len(re.findall(rf"circuits +{n_circuits}\n", text)) == 2
    assert len(re.findall(r"stages +2\n", text)) == 2
    assert main(["predict", model, atoms, out, *shots]) == 0
    (found,) = qiff.read(qiff.Source(out))
    off = found.get_forces() - predict(small, ATOMS).forces
    assert np.abs(off / found.arrays["forces_error"]).max() < 5
    md = ["md", model, atoms, "--out", str(tmp_path / "md.xyz"), *shots, "--ensemble", "nvt"]
    assert main([*md, "--steps", "2", "--interval", "1", "--friction", "0.1"]) == 0
    assert len(ase.io.read(tmp_path / "md.xyz", ":")) == 3
    assert main(["export", model, "--geometry", atoms, "--to", "qasm3"]) == 2
    assert "depend on the results of others, which no file can hold" in capsys.readouterr().err
