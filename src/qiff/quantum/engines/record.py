"""The record of an engine: name, platforms, what it supports and how it simulates."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Array

from ..._types import Angles, Expectations
from ..program import Program
from .channels import Places, channels


class Stack(NamedTuple):
    """Matrices of one shape, one after the other in a vector from `first` on."""

    first: int
    n_matrices: int
    n_rows: int
    n_columns: int

    @property
    def end(self) -> int:
        """Where they end."""
        return self.first + math.prod(self[1:])


def _none(*_: Program) -> None:
    return None


@dataclass(frozen=True)
class Engine:
    r"""A back end: how expectation values are computed, and where and for what that works.

    Args:
        name: as in a config.
        expectations: $\langle\psi_0|M^\dagger O_k M|\psi_0\rangle$ of a program and its angles: a
            pure function of unbatched arrays that JAX can `jit`, `vmap` and differentiate.
        platforms: platforms of JAX that it runs on, such as `cpu` and `gpu`; empty for all.
        supports: why a program cannot be simulated, or None if it can.
        unavailable: why the engine cannot be used on this machine, or None if it can.
        details: what it computes with here, in a few words.
        channels: the channels of densities that turn gates, see `channels.channels`; as pure.
        moments: the multipole moments of densities, from the cutoff in Å and the number of radial
            functions, displacements, neighbours, and scalar and vector features of all atoms: see
            `qiff.model.density`, whose JAX operations take its place if it is None.
        orthogonal: what makes all matrices in a vector orthogonal, from their places and the
            coefficients of the iteration: see `qiff.training.optimisers`, whose JAX operations
            take its place if it is None.
        joins_mirror_images: whether a circuit and its mirror image are simulated fastest as one
            circuit with an ancilla, see `qiff.quantum.mirror`.
        automatic: whether `auto` may choose it; else it is used where it is named only.
    """

    name: str
    expectations: Callable[[Program, Angles], Expectations]
    platforms: tuple[str, ...] = ()
    supports: Callable[[Program], str | None] = _none
    unavailable: Callable[[], str | None] = _none
    details: Callable[[], str] = lambda: ""
    channels: Callable[[Array, Sequence[Array], Array, Places], list[Array]] = channels
    moments: Callable[[tuple[float, int], Array, Array, Array, Array], Array] | None = None
    orthogonal: Callable[[Array, Sequence[Stack], Sequence[float]], Array] | None = None
    joins_mirror_images: bool = False
    automatic: bool = True

    def describe(self) -> str:
        """Name and details in one line."""
        return f"{self.name}, {found}" if (found := self.details()) else self.name
