"""The gate list, run by PennyLane with gates it made itself, gives the same numbers."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.scipy.linalg import expm

from qiff.atoms.frames import Frames
from qiff.atoms.graph import graph
from qiff.model.derivatives import energy_and_forces
from qiff.quantum import engine
from qiff.quantum.gate import PAULIS
from qiff.quantum.program import Program
from qiff.training.loss import Loss

from .examples import POTENTIAL_EXAMPLES, every
from .test_engines import QUICKLY, all_orders, every_gate, orders, programs, random_angles

qml = pytest.importorskip("pennylane")

OPERATIONS = {
    "spin": lambda a, w: qml.QubitUnitary(
        expm(-0.5j * jnp.einsum("a,aij->ij", a, jnp.asarray(PAULIS))), wires=w
    ),
    "exchange": lambda a, w: [
        gate(2 * a[0], wires=w) for gate in (qml.IsingXX, qml.IsingYY, qml.IsingZZ)
    ],
    "rx": lambda a, w: qml.RX(a[0], wires=w),
    "ry": lambda a, w: qml.RY(a[0], wires=w),
    "rz": lambda a, w: qml.RZ(a[0], wires=w),
    "cz": lambda a, w: qml.CZ(wires=w),
    "cnot": lambda a, w: qml.CNOT(wires=w),
    "mirror": lambda a, w: qml.QubitUnitary(
        expm(-0.5j * jnp.kron(jnp.einsum("a,aij->ij", a, jnp.asarray(PAULIS)), PAULIS[0])), wires=w
    ),
    "quadrupole": lambda a, w: qml.QubitUnitary(
        expm(-1j * jnp.tensordot(a, jnp.asarray(COUPLINGS), 1)), wires=w
    ),
}
COUPLINGS = np.stack(
    [
        sum(np.kron(PAULIS[i], PAULIS[j]) for i, j in {(a, b), (b, a)})
        for a, b in zip(*np.triu_indices(3), strict=True)
    ]
)
SMALL = {"n_layers": 2, "n_repeats": 1}  # PennyLane's graph grows with every gate
CIRCUITS = [
    replace(example, config=example.config | SMALL)
    for example in every(POTENTIAL_EXAMPLES)
    if example.name == "broken water"  # every gate of a molecule
]


def pennylane_engine(program, angles):
    """Expectation values by PennyLane, differentiable by back-propagation."""
    device = qml.device("default.qubit", wires=program.n_qubits)

    @qml.qnode(device, interface="jax", diff_method="backprop")
    def circuit(angles):
        for a, b in program.state.pairs:
            qml.X(a), qml.X(b), qml.H(a), qml.CNOT([a, b])
        for gate in program.gates():
            at, wires = angles[np.array(gate.slots, int)], list(gate.qubits)
            if gate.name in OPERATIONS:
                OPERATIONS[gate.name](at, wires)
            else:
                qml.QubitUnitary(gate.kind.matrix(at), wires=wires)
        return [
            qml.expval(sum(c * qml.pauli.string_to_pauli_word(word) for c, word in o.terms))
            for o in program.observables
        ]

    return jnp.stack(circuit(angles))


@pytest.fixture(autouse=True, scope="module")
def registered():
    engine.ENGINES["pennylane"] = engine.Engine("pennylane", pennylane_engine)
    yield
    del engine.ENGINES["pennylane"]


def on_pennylane(potential):
    return eqx.tree_at(
        lambda p: p.circuit,
        potential,
        replace_fn=lambda c: type(c)(
            c.scales, c.weights, c.state, c.encoding, c.ansatz, c.observables, engine="pennylane"
        ),
    )


@pytest.mark.slow
@pytest.mark.parametrize("example", CIRCUITS, ids=lambda e: e.name)
def test_energy_forces_and_loss_gradient_agree(example):
    rng = np.random.default_rng(1)
    frames = [example.molecule.copy() for _ in range(2)]
    for atoms in frames:
        atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
    stacked = graph(frames, "float64")
    labels = Frames(
        stacked,
        {"energy": rng.normal(size=2), "forces": rng.normal(size=stacked.positions.shape)},
    )

    def loss(potential):
        energies, forces = jax.vmap(energy_and_forces, (None, 0))(potential, stacked)
        error = jnp.mean((energies - labels.labels["energy"]) ** 2)
        return error + 0.7 * jnp.mean((forces - labels.labels["forces"]) ** 2), (energies, forces)

    everything = eqx.filter_jit(jax.value_and_grad(loss, has_aux=True))
    ours, theirs = example.random(), on_pennylane(example.random())
    (mine, my_values), my_gradient = everything(ours)
    (other, other_values), other_gradient = everything(theirs)
    np.testing.assert_allclose(
        mine, eqx.filter_jit(Loss({"energy": 1.0, "forces": 0.7}))(ours, labels)
    )
    np.testing.assert_allclose(mine, other, rtol=1e-12)
    for a, b in zip(my_values, other_values, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)
    for a, b in zip(*map(jax.tree.leaves, (my_gradient, other_gradient)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)

    shifted = eqx.tree_at(lambda p: p.circuit.weights, ours, ours.circuit.weights + 1e-3)
    assert np.abs(everything(shifted)[0][1][1] - other_values[1]).max() > 1e-6  # control


def check_random_circuit(program: Program, seed: int):
    """Values, gradient and second derivatives by the engine in use and by back-propagation."""
    at = jnp.asarray(random_angles(program, 1, seed, (0.0, 0.3, 2.1))[0])
    quick = lambda function: jax.jit(function, compiler_options=QUICKLY)
    others = quick(all_orders(program, "pennylane", seed))(at)
    for mine, other in zip(orders(program, "auto", seed, quick), others, strict=True):
        np.testing.assert_allclose(mine(at), other, atol=1e-9)


@pytest.mark.slow
@settings(max_examples=2, deadline=None, derandomize=True)
@given(programs(max_qubits=3), st.integers(0, 2**32 - 1))
def test_random_circuits_agree(program, seed):
    check_random_circuit(program, seed)


def test_control_a_difference_of_the_angles_is_seen():
    program = every_gate(2, ["spin", "exchange"])
    at = random_angles(program, 1, 0, (0.3,))[0]
    theirs = pennylane_engine(program, jnp.asarray(at))
    found, other = (engine.expectations(program, jnp.asarray(a)) for a in (at, at + 1e-3))
    np.testing.assert_allclose(found, theirs, atol=1e-9)
    assert np.abs(other - theirs).max() > 1e-6


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(programs(max_qubits=5), st.integers(0, 2**32 - 1))
def test_many_random_circuits_agree(program, seed):
    check_random_circuit(program, seed)
