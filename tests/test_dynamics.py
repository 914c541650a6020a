"""The calculator and molecular dynamics: units, compilations, conservation, explosions."""

import re
from pathlib import Path

import ase
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.calculators.fd import calculate_numerical_forces
from ase.optimize import BFGS

import qiff
from qiff import Calculator, Dynamics, InputError, MDState, RunError, run_dynamics, simulate
from qiff.atoms import neighbours
from qiff.dynamics import integrator
from qiff.dynamics.statistics import read_samples, sampler, samples_csv
from qiff.dynamics.thermostats import ENSEMBLES, StatisticalEnsemble
from qiff.dynamics.trajectory import read_trajectory, record
from qiff.model.potential import ScaleShiftSettings
from qiff.model.predict import enable_x64

CONFIG = {"kind": "triatomic", "elements": ["O", "H", "H"], "n_layers": 2}


@pytest.fixture(scope="module")
def potential():
    """Bounded by its circuit, hence a stable if unphysical molecule of about 1 eV depth."""
    with enable_x64(True):
        settings = ScaleShiftSettings(scale=0.5, reference_energies={"O": -2000.0, "H": -13.0})
        return qiff.ScaleShift(qiff.build(CONFIG, jax.random.key(1)), settings)


@pytest.fixture(scope="module")
def relaxed(potential):
    atoms = ase.Atoms("OHH", [[0, 0, 0], [0.96, 0.1, 0], [-0.2, 0.94, 0]])
    atoms.calc = Calculator(potential)
    BFGS(atoms, logfile=None).run(fmax=1e-3, steps=200)
    return atoms


def test_calculator_gives_what_predict_gives(potential, relaxed):
    relaxed = relaxed.copy()
    relaxed.rattle(0.05, seed=0)
    relaxed.calc = Calculator(potential)
    found = qiff.predict(potential, relaxed)
    energy = pytest.approx(found.energy, abs=1e-10)
    assert relaxed.get_potential_energy() == energy
    assert relaxed.get_potential_energy(force_consistent=True) == energy
    np.testing.assert_allclose(relaxed.get_forces(), found.forces, atol=1e-10)
    numerical = calculate_numerical_forces(relaxed, eps=1e-4)
    np.testing.assert_allclose(relaxed.get_forces(), numerical, atol=1e-6)
    assert found.forces.dtype == np.float64  # without jax_enable_x64 set by anyone
    assert not jax.config.read("jax_enable_x64")


def test_predict_takes_one_or_many(potential, relaxed):
    many = qiff.predict(potential, [relaxed] * 3)
    assert len(many) == 3
    assert many[2].energy == pytest.approx(qiff.predict(potential, relaxed).energy, abs=1e-10)
    assert qiff.predict(potential, []) == []


def test_dynamics_compile_once(potential, relaxed, caplog):
    """One compilation of the loop in 50 steps, and none in the next 50."""

    def compilations(seed: int) -> list[str]:
        caplog.clear()
        with jax.log_compiles(), caplog.at_level("WARNING"):
            list(simulate(potential, relaxed, Dynamics(steps=50, seed=seed)))
        finished = [m for m in caplog.messages if m.startswith("Finished XLA compilation")]
        return [message for message in finished if "_run" in message]

    jax.clear_caches()
    assert len(compilations(seed=0)) == 1
    assert len(compilations(seed=1)) == 0


def test_nve_conserves_energy_and_momentum(potential, relaxed, tmp_path):
    dynamics = Dynamics(timestep=0.25, steps=2000, interval=10, temperature=300.0)
    samples, report = run_dynamics(potential, relaxed, dynamics, tmp_path / "nve.xyz")
    assert report.drift is not None
    assert report.momentum_change is not None
    assert abs(report.drift) < 0.1
    assert report.momentum_change < 1e-10
    assert report.picoseconds == 0.5
    assert samples[0].temperature == pytest.approx(300)
    frames = read_trajectory(tmp_path / "nve.xyz")
    assert len(frames) == len(samples) == 201
    last = frames[-1]
    assert last.get_potential_energy() == pytest.approx(samples[-1].potential, abs=1e-6)
    assert last.get_kinetic_energy() == pytest.approx(samples[-1].kinetic, abs=1e-6)
    header, first, *_ = samples_csv(samples).splitlines()
    assert header == "time_fs,potential_eV,kinetic_eV,total_eV,temperature_K"
    assert [float(x) for x in first.split(",")][1] == samples[0].potential


def test_simulate_yields_states_and_writes_nothing(potential, relaxed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dynamics = Dynamics(steps=25, interval=10)
    states = list(simulate(potential, relaxed, dynamics))
    assert [int(state.step) for state in states] == [0, 10, 20, 25]
    assert {type(leaf) for leaf in jax.tree.leaves(states)} == {np.ndarray}
    assert list(tmp_path.iterdir()) == []
    samples, _ = run_dynamics(potential, relaxed, dynamics, Path("a.xyz"))
    assert list(map(sampler(relaxed, dynamics), states)) == samples
    for state in states:
        found = qiff.predict(potential, ase.Atoms("OHH", state.positions))
        assert float(state.energy) == pytest.approx(found.energy, abs=1e-10)
        np.testing.assert_allclose(state.forces, found.forces, atol=1e-10)
    with pytest.raises(InputError, match="describes H2O"):
        simulate(potential, relaxed[:2], dynamics)  # at once, not at the first state


def test_samples_are_read_as_they_were_written(potential, relaxed, tmp_path):
    samples, _ = run_dynamics(potential, relaxed, Dynamics(steps=30), tmp_path / "a.xyz")
    (tmp_path / "a.csv").write_text(samples_csv(samples))
    assert read_samples(tmp_path / "a.csv") == samples
    (tmp_path / "a.csv").write_text(samples_csv(samples[1:]))
    assert read_samples(tmp_path / "a.csv") != samples  # control


def test_a_thermostat_is_a_function_and_a_line(potential, relaxed, monkeypatch):
    def stop(state, bath):
        return eqx.tree_at(lambda s: s.momenta, state, 0 * state.momenta)

    monkeypatch.setitem(ENSEMBLES, "stopped", StatisticalEnsemble(stop, isolated=False))
    kinetic = {}
    for ensemble in ("stopped", "nvt"):
        dynamics = Dynamics(ensemble, steps=20)
        *_, last = map(sampler(relaxed, dynamics), simulate(potential, relaxed, dynamics))
        kinetic[ensemble] = last.kinetic
    assert kinetic["stopped"] < 0.01 * kinetic["nvt"]


def test_any_integrator_can_advance_a_simulation(potential, relaxed, tmp_path):
    """Uniform motion, and an explosion after two frames."""

    def drift(potential, atoms, dynamics, largest_kinetic_energy, /):
        velocities, momenta = atoms.get_velocities(), atoms.get_momenta()
        for step in dynamics.recorded:
            positions, number = atoms.positions + step * velocities, np.array(step)
            yield MDState(
                positions, momenta, np.array(0.0), 0 * positions, number, np.array(step < 10)
            )

    dynamics = Dynamics(steps=20, interval=5)
    states = simulate(potential, relaxed, dynamics, drift)
    first, second = next(states), next(states)
    np.testing.assert_array_equal(first.positions, relaxed.positions)
    assert np.abs(second.positions - first.positions).max() > 1e-3
    with pytest.raises(RunError, match="exploded at 5 fs"):
        next(states)
    with pytest.raises(RunError, match=r"The frames before are in .*a\.xyz"):
        list(record(simulate(potential, relaxed, dynamics, drift), relaxed, tmp_path / "a.xyz"))
    assert len(read_trajectory(tmp_path / "a.xyz")) == 2


def test_an_atom_alone_does_not_move():
    config = {"kind": "local", "elements": ["H"], "n_layers": 1, "n_basis": 3}
    with enable_x64(True):
        potential = qiff.build(config, jax.random.key(0))
    *_, last = simulate(potential, ase.Atoms("H"), Dynamics(steps=5))
    np.testing.assert_array_equal(last.positions, np.zeros((1, 3)))
    assert last.step == 5


def test_control_a_coarse_timestep_does_not_conserve_energy(potential, relaxed, tmp_path):
    spreads = []
    for timestep in (0.25, 4.0):
        dynamics = Dynamics(timestep=timestep, steps=200, interval=1)
        _, report = run_dynamics(potential, relaxed, dynamics, tmp_path / "a.xyz")
        spreads.append(report.spread)
    assert spreads[1] > 30 * spreads[0]


def test_nvt_holds_the_temperature(potential, relaxed, tmp_path):
    dynamics = Dynamics("nvt", temperature=300.0, timestep=1.0, steps=6000, friction=0.05)
    _, report = run_dynamics(potential, relaxed, dynamics, tmp_path / "nvt.xyz")
    assert report.mean_temperature == pytest.approx(300, rel=0.15)
    assert report.drift is None
    assert (tmp_path / "nvt.xyz").exists()


@pytest.mark.parametrize("ensemble", [e for e in ENSEMBLES if not ENSEMBLES[e].constant_pressure])
def test_same_seed_same_trajectory(potential, relaxed, tmp_path, ensemble):
    texts = []
    for seed in (0, 0, 1):
        run_dynamics(
            potential, relaxed, Dynamics(ensemble, steps=20, seed=seed), tmp_path / "a.xyz"
        )
        texts.append((tmp_path / "a.xyz").read_text())
    assert texts[0] == texts[1] != texts[2]


@pytest.fixture
def steep():
    with enable_x64(True):
        settings = ScaleShiftSettings(scale=500.0, reference_energies={"O": 0.0, "H": 0.0})
        return qiff.ScaleShift(qiff.build(CONFIG, jax.random.key(1)), settings)


def test_explosion_stops_and_keeps_the_frames(steep, relaxed, tmp_path):
    start = relaxed.copy()
    start.rattle(0.3, seed=1)
    wild = Dynamics(timestep=5.0, steps=200, interval=1)
    with pytest.raises(RunError, match=r"exploded at .* smaller timestep .*a\.xyz"):
        run_dynamics(steep, start, wild, tmp_path / "a.xyz")
    assert 1 <= len(read_trajectory(tmp_path / "a.xyz")) < 200


def test_an_explosion_between_recorded_frames_is_one_too(steep, relaxed, tmp_path):
    start = relaxed.copy()
    start.rattle(0.3, seed=1)
    wild = Dynamics(timestep=5.0, steps=100, interval=100)
    with pytest.raises(RunError, match=r"exploded at .*a\.xyz") as raised:
        run_dynamics(steep, start, wild, tmp_path / "a.xyz")
    when = re.search(r"at (\S+) fs", str(raised.value))
    assert when is not None
    assert float(when[1]) < 500  # not only at the end
    assert len(read_trajectory(tmp_path / "a.xyz")) == 1


@pytest.fixture(scope="module")
def chain():
    """Hot atoms on a loose string, more than have all others listed, and what draws them."""
    config = {"kind": "local", "elements": ["C"], "n_qubits": 2, "n_layers": 1, "n_circuits": 1}
    config |= {"n_basis": 4, "entangling": False, "cutoff": 3.0}
    with enable_x64(True):
        settings = ScaleShiftSettings(scale=1.0, reference_energies={"C": 0.0})
        potential = qiff.ScaleShift(qiff.build(config, jax.random.key(0)), settings)
    k = np.arange(40)
    return potential, ase.Atoms("C40", np.stack([1.3 * k, 0.5 * (k % 2), 0.3 * (k % 3)], axis=1))


def recorded_positions(chain):
    dynamics = Dynamics("nvt", temperature=1500.0, timestep=1.0, steps=300, interval=50)
    potential, atoms = chain
    return np.array([state.positions for state in simulate(potential, atoms, dynamics)])


def test_neighbours_are_listed_anew_before_one_is_missed(chain, monkeypatch):
    found = recorded_positions(chain)
    assert len(found) == 7
    with monkeypatch.context() as patch:
        patch.setattr(neighbours, "_FEW", 40)
        np.testing.assert_allclose(recorded_positions(chain), found, atol=2e-8)
    monkeypatch.setattr(integrator, "_SKIN", 0.02)  # a single step may cross it
    np.testing.assert_allclose(recorded_positions(chain), found, atol=2e-8)
    monkeypatch.setattr(neighbours.VerletList, "is_complete", lambda *_: jnp.array(True))
    jax.clear_caches()
    never = recorded_positions(chain)  # control
    jax.clear_caches()
    np.testing.assert_allclose(never[0], found[0])
    assert np.abs(never[-1] - found[-1]).max() > 1e-3


def test_isotopes_are_kept(potential, relaxed):
    heavy = relaxed.copy()
    heavy.set_masses([16, 2, 2])
    *_, slow = simulate(potential, heavy, Dynamics(steps=20))
    *_, fast = simulate(potential, relaxed, Dynamics(steps=20))
    assert slow.energy != fast.energy


def test_a_linear_molecule_at_rest_warns_of_nothing(recwarn):
    lih = qiff.build({"kind": "diatomic", "elements": ["Li", "H"]}, jax.random.key(0))
    atoms = ase.Atoms("LiH", [[0, 0, 0], [0, 0, 1.5]])
    list(simulate(lih, atoms, Dynamics(temperature=0.0, steps=5)))
    assert not recwarn.list


def test_atoms_the_model_cannot_describe_are_refused(potential, relaxed):
    def raises(change, message):
        atoms = relaxed.copy()
        change(atoms)
        atoms.calc = Calculator(potential)
        with pytest.raises(InputError, match=message):
            atoms.get_potential_energy()
        with pytest.raises(InputError, match=message):
            qiff.predict(potential, atoms)

    raises(lambda a: a.symbols.__setitem__(0, "S"), "describes H2O .* structure is H2S")
    raises(lambda a: a.__delitem__(2), r"\(3 atoms\), but the structure is HO \(2 atoms\)")
    raises(lambda a: a.positions.__setitem__((0, 0), np.nan), "must be finite")
    raises(lambda a: a.set_pbc(True), "is periodic")
    with pytest.raises(InputError, match="frame 1: "):
        qiff.predict(potential, [relaxed, relaxed[:2]])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ensemble": "nvp"}, "Statistical ensemble `nvp`"),
        ({"pressure": float("inf")}, "`pressure` must be finite"),
        ({"barostat_time": 0.0}, "`barostat_time` must be positive"),
        ({"compressibility": -1.0}, "`compressibility` must be positive"),
        ({"coupling": "isotrop"}, "Coupling `isotrop` is not known; did you mean `isotropic`"),
        ({"velocities": "fil"}, "Source of velocities `fil` is not known"),
        ({"temperature": -1.0}, "`temperature` must be at least 0"),
        ({"timestep": 0.0}, "`timestep` must be positive"),
        ({"steps": 0}, "`steps` must be at least 1"),
        ({"interval": 0}, "`interval` must be at least 1"),
        ({"friction": -0.1}, "`friction` must be positive"),
        ({"seed": -1}, "`seed` must be at least 0"),
        ({"timestep": float("nan")}, "`timestep` must be positive"),
    ],
)
def test_wrong_dynamics_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        Dynamics(**wrong)
