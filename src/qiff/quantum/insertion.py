r"""Shift rules in JAX: a gate with an operator in its middle is three gates.

With $U = e^{-iH}$, $\partial_k U = e^{-iH/2}\,(-i \sum_j c_{kj} B_j)\,e^{-iH/2}$ and $B_j^2 = 1$,
as in `quantum.shift`. There the shifted circuit is the same gate list at other angles; here it is
$U(a/2)\,U(\pm d_j)\,U(a/2)$, so that its values can be differentiated in the angles.
"""

from collections.abc import Collection
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .gate import GATES, Gate
from .program import Program
from .shift import rule_of


class OpenGates(NamedTuple):
    """Gates of one kind whose angles are differentiated in.

    Args:
        name: of the kind.
        slots: of their angles in the program.
        middles: of the angles of the inserted gates in `Insertion.program`.
    """

    name: str
    slots: Int[np.ndarray, "n_gates n_angles"]
    middles: Int[np.ndarray, "n_gates n_angles"]


class Insertion(NamedTuple):
    """A program in which gates have a middle.

    Args:
        program: with three gates in place of each that is open and has several angles.
        source: of each of its angles the slot that it is made from.
        factor: what that is multiplied by: 1, or ½ for a half of a gate, or 0 for a middle.
        gates: the open gates, by kind.
    """

    program: Program
    source: Int[np.ndarray, " n_inserted"]
    factor: Float[np.ndarray, " n_inserted"]
    gates: tuple[OpenGates, ...]

    def angles(self, angles: Float[Array, " n_slots"]) -> Float[Array, " n_inserted"]:
        """Angles of the program with nothing in the middles."""
        return angles[self.source] * jnp.asarray(self.factor, angles.dtype)


@cache
def insertion(program: Program, slots: tuple[int, ...]) -> Insertion:
    """The program that shifted circuits are simulated with.

    Args:
        program: any.
        slots: of the angles that are differentiated in.
    """
    wanted, n_first, n_layer = set(slots), program.n_first_slots, program.n_layer_slots
    in_layer = {(s - n_first) % n_layer for s in wanted if s >= n_first} if n_layer else set()
    parts = _split(program.first, wanted), _split(program.layer, in_layer)
    first, layer = (tuple(gate for gate, _, _ in part) for part in parts)
    made = replace(program, first=first, layer=layer)
    source = np.zeros(made.n_slots, int)
    factor = np.zeros(made.n_slots)
    found: dict[str, list[tuple[range, range]]] = {}
    begins = [(0, 0, parts[0])] + [
        (n_first + n * n_layer, made.n_first_slots + n * made.n_layer_slots, parts[1])
        for n in range(program.n_layers)
    ]
    for old, new, part in begins:
        for gate, origin, share in part:
            own, here = origin.shifted(old).slots, gate.shifted(new).slots
            source[list(here)], factor[list(here)] = own, share
            if (share == 0 or len(own) == 1) and wanted.intersection(own):
                found.setdefault(gate.name, []).append((own, here))
    gates = tuple(OpenGates(name, *np.moveaxis(np.array(of), 1, 0)) for name, of in found.items())
    return Insertion(made, source, factor, gates)


def _split(gates: tuple[Gate, ...], wanted: Collection[int]) -> list[tuple[Gate, Gate, float]]:
    """Gates with new slots, the gate that each was, and the factor of its angles."""
    found, slot = [], 0
    for gate in gates:
        is_split = gate.kind.n_angles > 1 and any(s in wanted for s in gate.slots)
        for share in (0.5, 0.0, 0.5) if is_split else (1.0,):
            found.append((replace(gate, slot=slot), gate, share))
            slot += gate.kind.n_angles
    return found


def inserted(name: str, angles: Float[Array, " n_angles"]) -> Float[Array, "n_angles n_angles"]:
    r"""$c_{kj}$ of a kind of gate at these angles, see `ShiftRule.coefficients`."""
    rule, kind = rule_of(name), GATES[name]
    if kind.n_angles == 1:
        return jnp.asarray(rule.coefficients(np.zeros(1)), angles.dtype)
    operators = np.tensordot(rule.directions, rule.generators, 1) * 4 / np.pi
    dim = operators.shape[-1]
    operators = operators - np.einsum("jaa,bc->jbc", operators, np.eye(dim)) / dim
    dual = jnp.asarray(np.linalg.pinv(operators.reshape(len(operators), -1)))
    back = kind.matrix(angles / 2).conj().T
    slopes = jnp.moveaxis(jax.jacfwd(kind.matrix)(angles), -1, 0)
    middle = 1j * back @ slopes @ back
    return (middle.reshape(len(angles), -1) @ dual.astype(middle.dtype)).real
