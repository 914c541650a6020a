"""An engine that measures: potentials are trained on the results of an executor."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from .._checks import InputError
from .._types import Angles, Expectations
from ..quantum.engine import Engine
from ..quantum.program import Program
from ..quantum.shift import shifts
from .executor import AbstractExecutor
from .measure import Laboratory, Protocol


@dataclass(frozen=True, eq=False)
class Measuring(Engine):
    """An engine whose values and first derivatives are measured.

    Derivatives are by shift rules, two circuits for each angle, so that `fit`, `predict` and
    everything else works unchanged on `with_engine(potential, Measuring(...))`. Second derivatives,
    which a loss on forces needs, are refused: train on energies, or with `gradient = "spsa"`.
    Before a potential is saved it needs another engine: `with_engine(potential, "auto")`.

    Args:
        executor: carries out circuits.
        protocol: how to measure; its shots are of each circuit.
    """

    laboratory: Laboratory = field(init=False)

    def __init__(self, executor: AbstractExecutor, protocol: Protocol):
        super().__init__("measuring", partial(_values, self))
        object.__setattr__(self, "laboratory", Laboratory(executor, protocol))

    @property
    def n_shots(self) -> int:
        """Shots so far."""
        return self.laboratory.n_shots

    @property
    def n_circuits(self) -> int:
        """Circuits so far."""
        return self.laboratory.n_circuits

    def values(
        self, program: Program, at: Float[np.ndarray, "n_circuits n_slots"]
    ) -> Float[np.ndarray, "n_circuits n_observables 1"]:
        """Expectation values."""
        return self._measure(program, at)[:, :, None]

    def slopes(
        self, program: Program, at: Float[np.ndarray, "n_circuits n_slots"]
    ) -> Float[np.ndarray, "n_circuits n_observables n_columns"]:
        """Expectation values and, after them, their derivatives."""
        shifted = shifts(program, at)
        rows = np.concatenate([at[:, None], shifted.angles], axis=1)
        found = self._measure(program, rows.reshape(-1, program.n_slots))
        found = found.reshape(*rows.shape[:2], -1)
        slopes = np.einsum("bro,bsr->bos", found[:, 1:], shifted.weights, optimize=True)
        return np.concatenate([found[:, 0, :, None], slopes], axis=-1)

    def _measure(self, program: Program, rows: np.ndarray) -> np.ndarray:
        shots = np.full(len(rows), self.laboratory.protocol.shots)
        shared = self.laboratory.shared(program, shots)
        everything = tuple(range(program.n_slots))
        return self.laboratory.measure(program, rows, shared, everything).values


Host = Callable[[Program, np.ndarray], np.ndarray]


def _on_host(measure: Host, program: Program, n_columns: int, angles: Angles) -> Array:
    """The result of `measure` for these angles, shape (n_observables, n_columns).

    Numbers go to the host and back as bits: in the threads of callbacks JAX has single precision.
    """
    shape, dtype = (len(program.observables), n_columns), angles.dtype
    n_words = dtype.itemsize // 4

    def on_bits(bits: Any) -> np.ndarray:
        at = np.ascontiguousarray(bits).view(dtype)
        found = measure(program, at.reshape(-1, program.n_slots).astype("float64"))
        return found.astype(dtype).reshape(*at.shape[:-1], -1).view("uint32")

    bits = jax.lax.bitcast_convert_type(angles, "uint32").reshape(-1)
    result = jax.ShapeDtypeStruct((shape[0] * shape[1] * n_words,), "uint32")
    found = jax.pure_callback(on_bits, result, bits, vmap_method="broadcast_all")
    words = found.reshape(*shape, n_words) if n_words > 1 else found.reshape(shape)
    return jax.lax.bitcast_convert_type(words, dtype)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _values(engine: Measuring, program: Program, angles: Angles) -> Expectations:
    return _on_host(engine.values, program, 1, angles)[:, 0]


@_values.defjvp
def _values_slope(engine: Measuring, program: Program, primals: Any, tangents: Any) -> Any:
    both = _slopes(engine, program, *primals)
    return both[:, 0], both[:, 1:] @ tangents[0]


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _slopes(engine: Measuring, program: Program, angles: Angles) -> Array:
    return _on_host(engine.slopes, program, 1 + program.n_slots, angles)


@_slopes.defjvp
def _no_second_derivatives(*arguments: Any) -> Any:
    raise InputError(
        "Second derivatives are not measured: train on energies alone (forces_weight = 0), or "
        'with gradient = "spsa".'
    )
