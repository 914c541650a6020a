"""Circuits: every ingredient respects its group, and the parts fit together."""

import math
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qiff._checks import InputError
from qiff.model.predict import enable_x64
from qiff.quantum.ansatz import ANSATZE, CommonRz, Exchange, HardwareEfficient, Sequence
from qiff.quantum.circuit import Circuit, with_engine
from qiff.quantum.encoding import Mirror, Spin
from qiff.quantum.engine import expectations
from qiff.quantum.equivariance import (
    circuit_defect,
    encoding_defect,
    layer_defect,
    observable_defect,
    state_defect,
)
from qiff.quantum.gate import Gate
from qiff.quantum.observable import PauliSum, pair_exchange
from qiff.quantum.program import Program
from qiff.quantum.state import Singlets
from qiff.quantum.symmetry import (
    Permutations,
    Product,
    Rotations,
    alike,
    cosets,
    cyclic,
    lift,
    orbits,
)

from .examples import (
    AMMONIA,
    ANSATZ_EXAMPLES,
    CHAIN,
    CYCLE,
    DIMER,
    ENCODING_EXAMPLES,
    GROUP_EXAMPLES,
    HANDS,
    MIRRORS,
    OBSERVABLE_EXAMPLES,
    ROTATIONS,
    SWAP,
    WATER,
    every,
)
from .test_engines import needs_native

SINGLETS = Singlets(4, ((0, 1), (2, 3)))
RNG = np.random.default_rng(5)
VECTORS = RNG.normal(size=(2, 3))


BOUND = {"float64": 1e-13, "float32": 1e-6}
"""Of the defect of a layer or encoding of angles of order one."""


@pytest.fixture(params=BOUND)
def precision(request):
    with enable_x64(request.param == "float64"):
        yield request.param


def named(value) -> str:
    return type(value).__name__


def of_part(example) -> str:
    return type(example.part).__name__


def ansatz_defect(ansatz, n_qubits: int, group, seed: int = 0) -> float:
    weights = jnp.asarray(RNG.normal(size=ansatz.n_weights))
    return layer_defect(ansatz.gates(), ansatz.angles(weights), n_qubits, group, seed=seed)


@pytest.mark.parametrize("group", every(GROUP_EXAMPLES), ids=named)
def test_actions_on_vectors_and_qubits_are_representations(group):
    """Acting with a product is acting twice, up to a sign; rotations are proper or mirrored."""
    rng = np.random.default_rng(0)
    for _ in range(6):
        a, b = group.sample(rng), group.sample(rng)
        vectors = rng.normal(size=(group.n_vectors, 3))
        state = rng.normal(size=2 ** (group.n_vectors + 1)) + 0j
        np.testing.assert_allclose(
            (a @ b).on_vectors(vectors), a.on_vectors(b.on_vectors(vectors)), atol=1e-13
        )
        both, twice = (a @ b).on_state(state), a.on_state(b.on_state(state))
        sign = np.sign(np.vdot(both, twice).real)
        np.testing.assert_allclose(sign * both, twice, atol=1e-13)
        np.testing.assert_allclose(np.linalg.det(a.matrix), -1 if a.mirrored else 1)


@pytest.mark.parametrize("example", every(ENCODING_EXAMPLES), ids=of_part)
def test_encoding_is_equivariant(example, precision):
    scales = jnp.asarray(RNG.normal(size=example.part.n_scales))
    for group in example.respects:
        defect = encoding_defect(example.part, scales, example.n_qubits, group)
        assert defect < BOUND[precision]


def test_control_untied_scales_break_the_exchange_of_vectors():
    untied = Spin(Product((ROTATIONS, Permutations((), 2))), 4)
    assert encoding_defect(untied, jnp.arange(4.0) + 1, 4, SWAP) > 1e-2


def test_control_spin_gates_do_not_know_the_ancilla():
    assert encoding_defect(Spin(HANDS, 4), jnp.ones(3), 4, MIRRORS) > 1e-2


@pytest.mark.parametrize("example", every(ANSATZ_EXAMPLES), ids=of_part)
@pytest.mark.parametrize("seed", range(2))
def test_layer_respects_what_it_was_made_for_and_no_more(example, seed, precision):
    for group in example.respects:
        assert ansatz_defect(example.part, example.n_qubits, group, seed) < BOUND[precision]
    for group in example.breaks:  # control
        assert ansatz_defect(example.part, example.n_qubits, group, seed) > 1e-3


@pytest.mark.parametrize("example", every(OBSERVABLE_EXAMPLES), ids=of_part)
def test_observable_respects_what_it_was_made_for_and_no_more(example):
    for group in example.respects:
        assert observable_defect(example.part, group) < 1e-13
    for group in example.breaks:  # control
        assert observable_defect(example.part, group) > 1e-2


def test_control_a_single_pauli_word_is_not_rotation_invariant():
    assert observable_defect(PauliSum(((1.0, "ZZII"),)), ROTATIONS) > 1e-2


def test_pair_exchange_has_the_spectrum_of_singlet_and_triplets():
    spectrum = np.linalg.eigvalsh(pair_exchange((0, 1), 2).matrix())
    np.testing.assert_allclose(spectrum, [-3, 1, 1, 1], atol=1e-14)


def test_singlets_are_invariant_up_to_a_sign():
    assert state_defect(SINGLETS, WATER) < 1e-14
    assert state_defect(Singlets(7, ((0, 1), (2, 3), (4, 5))), DIMER) < 1e-14
    assert state_defect(Singlets(6, ((0, 3), (1, 4), (2, 5))), AMMONIA) < 1e-14
    assert state_defect(Singlets(4, ((0, 1),)), ROTATIONS) > 1e-2  # control
    assert state_defect(Singlets(6, ((0, 1), (2, 3), (4, 5))), AMMONIA) > 1e-2  # control


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
    assert ansatz_defect(tied, 4, SWAP) < 1e-13
    assert ansatz_defect(untied, 4, SWAP) > 1e-2


def test_cosets_cover_a_group_once():
    for n, wanted in ((2, 1), (3, 2), (4, 6)):
        found = cosets(alike("H" * n), cyclic(n))
        assert len(found) == wanted
        members = {tuple(a[i] for i in b) for a in found for b in cyclic(n).elements()}
        assert len(members) == len(alike("H" * n).elements()) == math.factorial(n)
    assert len(Permutations(((1, 0, 3, 2), (2, 3, 0, 1)), 4).elements()) == 4


# --- the circuit ------------------------------------------------------------------------------


@pytest.fixture
def circuit() -> Circuit:
    ansatz = Sequence((Exchange(WATER, 4, CHAIN), CommonRz((0, 1, 2, 3))))
    encoding = Spin(WATER, 4)
    return Circuit(
        scales=jnp.asarray(RNG.normal(size=(4, encoding.n_scales))),
        weights=jnp.asarray(RNG.normal(size=(3, ansatz.n_weights))),
        state=SINGLETS,
        encoding=encoding,
        ansatz=ansatz,
        observables=(pair_exchange((0, 1), 4), pair_exchange((2, 3), 4)),
    )


def test_gate_list_is_what_is_simulated(precision, circuit):
    """Gate by gate with dense matrices, without scan."""
    program, angles = circuit.program, circuit.angles(jnp.asarray(VECTORS))
    assert angles.dtype == precision
    state = program.state.vector()
    for gate in program.gates():
        matrix = np.asarray(gate.kind.matrix(angles[np.array(gate.slots)]))
        tensor = matrix.reshape((2,) * 2 * len(gate.qubits))
        k = len(gate.qubits)
        moved = np.tensordot(tensor, state.reshape((2,) * 4), (range(k, 2 * k), gate.qubits))
        state = np.moveaxis(moved, range(k), gate.qubits).reshape(-1)
    wanted = [np.vdot(state, o.matrix() @ state).real for o in program.observables]
    np.testing.assert_allclose(circuit(jnp.asarray(VECTORS)), wanted, atol=BOUND[precision])


@pytest.mark.parametrize("engine", [pytest.param("native", marks=needs_native), "xla"])
def test_circuit_is_invariant(precision, circuit, engine):
    """With exchange gates it is; with a rotation of all data qubits about z, the control, not."""
    invariant = replace(circuit, ansatz=Exchange(WATER, 4, CHAIN), weights=circuit.weights[:, :3])
    assert (
        circuit_defect(eqx.filter_jit(with_engine(invariant, engine)), WATER) < 4 * BOUND[precision]
    )
    assert circuit_defect(eqx.filter_jit(with_engine(circuit, engine)), WATER) > 1e-2  # control


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
    with pytest.raises(InputError, match="at least 2, one per vector"):
        lift((1, 0), 1)
    with pytest.raises(InputError, match="must permute 2 vectors"):
        Permutations(((0, 0),), 2)
    with pytest.raises(InputError, match="one ancilla more"):
        Mirror(WATER, 4)
    with pytest.raises(InputError, match="`n_qubits` must be at least 2"):
        HardwareEfficient(1)
    with pytest.raises(InputError, match="same number of vectors"):
        Product((Rotations(2), alike(("H",))))


def test_ansatz_registry_counts_its_weights():
    for ansatz in (example.part for example in every(ANSATZ_EXAMPLES)):
        used = {weight for *_, weight in ansatz.tied_gates()} - {None}
        assert used == set(range(ansatz.n_weights))
    assert set(ANSATZE) == set(ANSATZ_EXAMPLES)


def test_float32_stays_float32(circuit):
    single = jax.tree.map(lambda leaf: leaf.astype("float32"), circuit)
    value = eqx.filter_jit(single)(jnp.asarray(VECTORS, "float32"))
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, circuit(jnp.asarray(VECTORS)), atol=1e-5)
