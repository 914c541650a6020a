"""Potentials: from a graph to the energy of each atom. Everything else is derived from that."""

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from jaxtyping import Array, Float

from .._checks import InputError, check_finite, check_known, check_positive, typed
from .._types import Energies
from ..atoms.graph import Graph


class AbstractPotential(eqx.Module):
    """A potential energy surface with trainable weights: all its arrays, and nothing else.

    JAX computes it in the precision of the weights only inside the context
    `qiff.precision(potential)`; `predict`, `fit` and the calculator enter it themselves.
    """

    @abc.abstractmethod
    def __call__(self, graph: Graph) -> Energies:
        """Energy of each atom of a configuration beyond `offset`, in eV unless stated otherwise."""

    @abc.abstractmethod
    def reference_energy(self, numbers: np.ndarray) -> float:
        """Energy in eV of the atoms before they interact: too large a number for float32."""

    @property
    @abc.abstractmethod
    def cutoff(self) -> float:
        """Distance in Å up to which an atom sees neighbours; 0 if the molecule is one whole."""

    @property
    @abc.abstractmethod
    def members(self) -> "tuple[AbstractPotential, ...]":
        """Potentials trained independently, whose mean this is; itself alone if it is no mean."""

    @property
    @abc.abstractmethod
    def calibration(self) -> Mapping[str, float]:
        """By property, the factor from the spread of the members to a standard deviation; empty
        if there is no spread, and so no `uncertainty`."""

    @abc.abstractmethod
    def config(self) -> dict[str, Any]:
        """`kind` and arguments from which `build` makes a potential of this structure."""

    @abc.abstractmethod
    def check(self, numbers: np.ndarray) -> None:
        """Raise InputError unless the potential can describe these atoms."""


class AbstractSinglePotential(AbstractPotential):
    """A potential that is no mean of others."""

    @property
    def members(self) -> tuple[AbstractPotential, ...]:
        return (self,)

    @property
    def calibration(self) -> Mapping[str, float]:
        return {}


class AbstractGlobalPotential(AbstractSinglePotential):
    """A potential of a molecule as one whole: its atoms share the energy equally."""

    @abc.abstractmethod
    def total(self, graph: Graph) -> Float[Array, ""]:
        """The energy of all atoms."""

    def __call__(self, graph: Graph) -> Energies:
        n_atoms = len(graph.numbers)
        return jnp.full(n_atoms, self.total(graph) / n_atoms)

    def reference_energy(self, numbers: np.ndarray) -> float:
        return 0.0

    @property
    def cutoff(self) -> float:
        return 0.0


class ScaleShift(AbstractSinglePotential):
    r"""$E_i = s\,u_i + e_{z_i}$: a dimensionless potential $u$ in units of `scale` on references.

    Scale and references (eV, by atomic number) are constants of the model, not weights.
    """

    potential: AbstractPotential
    scale: float = eqx.field(static=True)
    references: tuple[tuple[int, float], ...] = eqx.field(static=True)

    def __init__(self, potential: AbstractPotential, scale: float, references: Mapping[str, float]):
        """
        Args:
            potential: dimensionless potential, of order one.
            scale: its unit in eV.
            references: energy in eV of an atom of each element, by chemical symbol.

        Raises:
            InputError: the scale is not positive, an element is unknown, an energy not finite.
        """
        check_positive("scale", scale)
        for symbol, energy in references.items():
            check_known("Element", symbol, chemical_symbols[1:])
            check_finite(f"references.{symbol}", typed(f"references.{symbol}", energy, float))
        self.potential, self.scale = potential, float(scale)
        self.references = tuple((atomic_numbers[s], float(e)) for s, e in references.items())

    def __call__(self, graph: Graph) -> Energies:
        return self.scale * self.potential(graph)

    def reference_energy(self, numbers: np.ndarray) -> float:
        references = dict(self.references)
        alone = sum(references[int(z)] for z in numbers if z)
        return alone + self.scale * self.potential.reference_energy(numbers)

    @property
    def cutoff(self) -> float:
        return self.potential.cutoff

    def config(self) -> dict[str, Any]:
        references = {chemical_symbols[z]: energy for z, energy in self.references}
        return {
            "kind": "scale_shift",
            "potential": self.potential.config(),
            "scale": self.scale,
            "references": references,
        }

    def check(self, numbers: np.ndarray) -> None:
        self.potential.check(numbers)
        absent = {int(z) for z in numbers} - {z for z, _ in self.references}
        if absent:
            raise InputError(
                f"the model has no reference energy for {_symbols(absent)}; "
                f"it knows {_symbols(z for z, _ in self.references)}."
            )


class Sum(AbstractSinglePotential):
    """The sum of several potentials."""

    potentials: tuple[AbstractPotential, ...]

    def __init__(self, potentials: Sequence[AbstractPotential]):
        self.potentials = tuple(potentials)

    def __call__(self, graph: Graph) -> Energies:
        first, *rest = (potential(graph) for potential in self.potentials)
        return sum(rest, start=first)

    def reference_energy(self, numbers: np.ndarray) -> float:
        return sum(potential.reference_energy(numbers) for potential in self.potentials)

    @property
    def cutoff(self) -> float:
        return max(potential.cutoff for potential in self.potentials)

    def config(self) -> dict[str, Any]:
        return {"kind": "sum", "potentials": [p.config() for p in self.potentials]}

    def check(self, numbers: np.ndarray) -> None:
        for potential in self.potentials:
            potential.check(numbers)


def _symbols(numbers) -> str:
    return ", ".join(chemical_symbols[z] for z in sorted(numbers))
