"""Circuits: every ingredient respects its group, and the parts fit together."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qiff._checks import InputError
from qiff.quantum.ansatz import ANSATZE, CommonRz, Exchange, Sequence
from qiff.quantum.circuit import Circuit
from qiff.quantum.encoding import Spin
from qiff.quantum.engine import expectations
from qiff.quantum.engines.xla import run
from qiff.quantum.gate import Gate
from qiff.quantum.observable import PauliSum, pair_exchange
from qiff.quantum.program import Program
from qiff.quantum.state import Singlets
from qiff.quantum.symmetry import Permutations, Product, Rotations, lift, orbits

from .examples import (
    ANSATZ_EXAMPLES,
    CHAIN,
    CYCLE,
    ENCODING_EXAMPLES,
    GROUP_EXAMPLES,
    OBSERVABLE_EXAMPLES,
    ROTATIONS,
    SWAP,
    WATER,
    every,
)

ON_WATER = [ROTATIONS, SWAP, WATER]
SINGLETS = Singlets(4, ((0, 1), (2, 3)))
RNG = np.random.default_rng(5)
STATE = (lambda v: v / np.linalg.norm(v))(RNG.normal(size=16) + 1j * RNG.normal(size=16))
VECTORS = RNG.normal(size=(2, 3))


def named(value) -> str:
    return type(value).__name__


def dense(observable: PauliSum) -> np.ndarray:
    index = np.arange(2**observable.n_qubits)
    matrix = np.zeros((len(index), len(index)), complex)
    for mask, factors in observable.diagonals().items():
        matrix[index, index ^ mask] += factors
    return matrix


def layer_defect(ansatz, group, seed: int) -> float:
    """How far U g and g U are apart on a random state."""
    weights = jnp.asarray(RNG.normal(size=ansatz.n_weights))
    element = group.sample(np.random.default_rng(seed))
    apply = lambda state: np.asarray(
        run(ansatz.gates(), ansatz.angles(weights), jnp.asarray(state))
    )
    return np.abs(apply(element.on_state(STATE)) - element.on_state(apply(STATE))).max()


@pytest.mark.parametrize("group", every(GROUP_EXAMPLES), ids=named)
def test_actions_on_vectors_and_qubits_are_representations(group):
    """Acting with a product is acting twice; the two actions agree through the encoding."""
    rng = np.random.default_rng(0)
    a, b = group.sample(rng), group.sample(rng)
    vectors = rng.normal(size=(group.n_vectors, 3))
    state = rng.normal(size=2 ** (2 * group.n_vectors)) + 0j
    np.testing.assert_allclose((a @ b).on_vectors(vectors), a.on_vectors(b.on_vectors(vectors)))
    np.testing.assert_allclose((a @ b).on_state(state), a.on_state(b.on_state(state)), atol=1e-13)
    np.testing.assert_allclose(np.linalg.det(a.rotation), 1)


@pytest.mark.parametrize("group", ON_WATER, ids=named)
@pytest.mark.parametrize("encoding", every(ENCODING_EXAMPLES), ids=named)
@pytest.mark.parametrize("seed", range(3))
def test_encoding_is_equivariant(encoding, group, seed):
    element = group.sample(np.random.default_rng(seed))
    scales = jnp.asarray(RNG.normal(size=encoding.n_scales))
    encode = lambda vectors, state: np.asarray(
        run(encoding.gates(), encoding.angles(scales, jnp.asarray(vectors)), jnp.asarray(state))
    )
    before = encode(element.on_vectors(VECTORS), element.on_state(STATE))
    np.testing.assert_allclose(before, element.on_state(encode(VECTORS, STATE)), atol=1e-13)


@pytest.mark.parametrize("group", ON_WATER, ids=named)
@pytest.mark.parametrize("ansatz", every(ANSATZ_EXAMPLES), ids=named)
@pytest.mark.parametrize("seed", range(3))
def test_layer_is_equivariant_under_the_groups_it_was_made_for(ansatz, group, seed):
    breaks_rotation = isinstance(ansatz, CommonRz) and group is not SWAP
    knows_no_swaps = getattr(ansatz, "group", WATER) is ROTATIONS and group is not ROTATIONS
    if breaks_rotation or knows_no_swaps:
        assert max(layer_defect(ansatz, group, s) for s in range(5)) > 1e-3  # control
    else:
        assert layer_defect(ansatz, group, seed) < 1e-13


@pytest.mark.parametrize("group", ON_WATER, ids=named)
@pytest.mark.parametrize("observable", every(OBSERVABLE_EXAMPLES), ids=lambda o: o.terms[0][1])
def test_observable_is_invariant(observable, group):
    matrix = dense(observable)
    element = group.sample(np.random.default_rng(2))
    moved = np.array([element.on_state(column) for column in np.eye(16, dtype=complex)]).T
    np.testing.assert_allclose(moved @ matrix, matrix @ moved, atol=1e-13)
    np.testing.assert_allclose(matrix, matrix.conj().T)


def test_control_a_single_pauli_word_is_not_rotation_invariant():
    matrix = dense(PauliSum(((1.0, "ZZII"),)))
    element = ROTATIONS.sample(np.random.default_rng(2))
    moved = np.array([element.on_state(column) for column in np.eye(16, dtype=complex)]).T
    assert np.abs(moved @ matrix - matrix @ moved).max() > 1e-2


def test_pair_exchange_has_the_spectrum_of_singlet_and_triplets():
    spectrum = np.linalg.eigvalsh(dense(pair_exchange((0, 1), 2)))
    np.testing.assert_allclose(spectrum, [-3, 1, 1, 1], atol=1e-14)


@pytest.mark.parametrize("group", ON_WATER, ids=named)
def test_singlets_are_invariant_up_to_a_sign(group):
    state = SINGLETS.vector()
    moved = group.sample(np.random.default_rng(4)).on_state(state)
    np.testing.assert_allclose(abs(np.vdot(state, moved)), 1, atol=1e-14)


def test_unpaired_qubits_start_in_zero():
    state = Singlets(3, ((2, 0),)).vector().reshape(2, 2, 2)
    np.testing.assert_allclose(np.abs(state[:, 1]), 0)
    np.testing.assert_allclose(state[:, 0].T, np.array([[0, 1], [-1, 0]]) / np.sqrt(2))


# --- orbits -----------------------------------------------------------------------------------


def test_chain_closes_to_the_water_ring_with_three_weights():
    """The odd bonds of the ring share one weight because the group says so."""
    assert Exchange(WATER, 4, CHAIN).orbits == (((0, 1),), ((2, 3),), ((1, 2), (0, 3)))
    assert Exchange(ROTATIONS, 4, CHAIN).orbits == (((0, 1),), ((2, 3),), ((1, 2),))
    assert Spin(WATER, 4).orbit_of_qubit == (0, 0, 1, 1)
    assert Spin(ROTATIONS, 4).orbit_of_qubit == (0, 1, 2, 3)


def test_orbits_under_a_three_cycle():
    assert orbits(((0, 1),), CYCLE, 3) == (((0, 1), (0, 2), (1, 2)),)


def test_orbits_whose_pairs_share_a_qubit_are_refused():
    with pytest.raises(InputError, match="must not share qubits"):
        Exchange(CYCLE, 3, ((0, 1),))


def test_control_untied_odd_bonds_break_the_exchange_of_hydrogens():
    tied = Exchange(WATER, 4, CHAIN)
    untied = Exchange(ROTATIONS, 4, (*CHAIN, (0, 3)))
    assert layer_defect(tied, SWAP, 0) < 1e-13
    assert max(layer_defect(untied, SWAP, seed) for seed in range(5)) > 1e-2


# --- the circuit ------------------------------------------------------------------------------


@pytest.fixture
def circuit() -> Circuit:
    ansatz = Sequence((Exchange(WATER, 4, CHAIN), CommonRz(4)))
    encoding = Spin(WATER, 4)
    return Circuit(
        scales=jnp.asarray(RNG.normal(size=(4, encoding.n_scales))),
        weights=jnp.asarray(RNG.normal(size=(3, ansatz.n_weights))),
        state=SINGLETS,
        encoding=encoding,
        ansatz=ansatz,
        observables=(pair_exchange((0, 1), 4), pair_exchange((2, 3), 4)),
    )


def test_gate_list_is_what_is_simulated(circuit):
    """Gate by gate with dense matrices, without scan."""
    program, angles = circuit.program, circuit.angles(jnp.asarray(VECTORS))
    state = program.state.vector()
    for gate in program.gates():
        matrix = np.asarray(gate.kind.matrix(angles[np.array(gate.slots)]))
        tensor = matrix.reshape((2,) * 2 * len(gate.qubits))
        k = len(gate.qubits)
        moved = np.tensordot(tensor, state.reshape((2,) * 4), (range(k, 2 * k), gate.qubits))
        state = np.moveaxis(moved, range(k), gate.qubits).reshape(-1)
    wanted = [np.vdot(state, dense(o) @ state).real for o in program.observables]
    np.testing.assert_allclose(circuit(jnp.asarray(VECTORS)), wanted, atol=1e-13)


def test_every_slot_is_read_once_and_every_layer_has_its_own_weights(circuit):
    """Regression: the public demo reads the last layer's weights twice and never the first's."""
    slots = [slot for gate in circuit.program.gates() for slot in gate.slots]
    assert sorted(slots) == list(range(circuit.program.n_slots))
    read = jax.jacobian(lambda c: c.angles(jnp.asarray(VECTORS)))(circuit)
    for name in ("weights", "scales"):
        jacobian = np.abs(getattr(read, name)).sum(0)
        assert np.all(jacobian > 0), f"a {name} entry is dead"
    by_layer = np.abs(read.weights).sum(-1) > 0  # (slot, layer)
    assert by_layer.sum(1).max() == 1


def test_wrong_parts_are_refused(circuit):
    with pytest.raises(InputError, match="must have shape"):
        expectations(circuit.program, jnp.zeros(3))
    with pytest.raises(InputError, match="Engine `xlaa`"):
        expectations(circuit.program, jnp.zeros(circuit.program.n_slots), engine="xlaa")
    with pytest.raises(InputError, match="qubits below"):
        Program(SINGLETS, (Gate("rz", (4,), 0),), (), 1, ())
    with pytest.raises(InputError, match="words of `n_qubits`"):
        Program(SINGLETS, (), (), 1, (pair_exchange((0, 1), 2),))
    with pytest.raises(InputError, match="disjoint pairs"):
        Singlets(4, ((0, 1), (1, 2)))
    with pytest.raises(InputError, match="words over I, X, Y, Z"):
        PauliSum(((1.0, "XQ"),))
    with pytest.raises(InputError, match="multiple of 2 vectors"):
        lift((1, 0), 3)
    with pytest.raises(InputError, match="same number of vectors"):
        Product((Rotations(2), Permutations(("H",))))


def test_ansatz_registry_counts_its_weights():
    for ansatz in every(ANSATZ_EXAMPLES):
        assert {weight for *_, weight in ansatz.tied_gates()} == set(range(ansatz.n_weights))
    assert set(ANSATZE) == set(ANSATZ_EXAMPLES)


def test_float32_stays_float32(circuit):
    single = jax.tree.map(lambda leaf: leaf.astype("float32"), circuit)
    value = eqx.filter_jit(single)(jnp.asarray(VECTORS, "float32"))
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, circuit(jnp.asarray(VECTORS)), atol=1e-5)
