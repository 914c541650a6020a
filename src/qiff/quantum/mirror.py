r"""Circuits together with their mirror images, in which all vectors are reversed.

$$ \tfrac12\big(\langle O\rangle_v + p_O\,\langle O\rangle_{-v}\big) $$

with $p_O = 1$ if the words of $O$ have an even number of letters, as $\sigma_a\cdot\sigma_b$, and
$-1$ if they have an odd number, as $\sigma_a$, whose value then changes its sign with $v$.
"""

from dataclasses import replace

import jax
import numpy as np

from .._checks import InputError
from .._types import Angles, Expectations
from .engine import AUTO, Engine, choose, expectations
from .gate import Gate
from .observable import PauliSum
from .program import Program
from .state import Singlets


def with_mirror_image(
    program: Program, angles: Angles, *, engine: str | Engine = AUTO
) -> Expectations:
    """Expectation values of a circuit together with its mirror image: every `spin` is reversed.

    Args:
        program: gate list and observables.
        angles: of every gate in radians, shape (n_slots,).
        engine: see `qiff.quantum.engine.choose`.

    Raises:
        InputError: an observable has words with even and with odd numbers of letters.
    """
    if choose(engine, program).joins_mirror_images:
        return expectations(joined(program), angles, engine=engine)
    signs = np.ones((2, program.n_slots), angles.dtype)
    for gate in program.gates():
        if gate.name == "spin":
            signs[1, gate.slots] = -1
    one, other = jax.vmap(lambda own: expectations(program, own, engine=engine))(signs * angles)
    parities = np.array([-1 if _is_odd(o) else 1 for o in program.observables], angles.dtype)
    return (one + parities * other) / 2


def joined(program: Program) -> Program:
    """Both as one circuit: each `spin` is a `mirror` whose direction an ancilla, the last qubit,
    decides; on it, odd observables have an $X$."""
    ancilla = program.n_qubits

    def with_ancilla(gate: Gate) -> Gate:
        if gate.name != "spin":
            return gate
        return replace(gate, name="mirror", qubits=(*gate.qubits, ancilla))

    def measured(observable: PauliSum) -> PauliSum:
        letter = "X" if _is_odd(observable) else "I"
        return PauliSum(tuple((factor, word + letter) for factor, word in observable.terms))

    return Program(
        Singlets(ancilla + 1, program.state.pairs),
        tuple(map(with_ancilla, program.first)),
        tuple(map(with_ancilla, program.layer)),
        program.n_layers,
        tuple(map(measured, program.observables)),
    )


def _is_odd(observable: PauliSum) -> bool:
    parities = {sum(letter != "I" for letter in word) % 2 for _, word in observable.terms}
    if len(parities) > 1:
        raise InputError(
            f"Words of an observable must all have an even or all an odd number of letters, but "
            f"are {[word for _, word in observable.terms]}."
        )
    return parities == {1}
