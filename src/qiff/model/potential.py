"""Potentials: from a graph to the energy of each atom. Everything else is derived from that."""

import abc
import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from jaxtyping import Array, Float, Int

from .._checks import InputError, check_finite, check_known, check_positive
from .._types import AnyArray, Energies, Numbers
from ..atoms.graph import Graph


class AbstractPotential(eqx.Module):
    """A potential energy surface with trainable weights: all its arrays, and nothing else.

    Its structure is one frozen record, `settings`, and the potentials that it is made of.
    JAX computes it in the precision of the weights only inside the context
    `qiff.precision(potential)`; `predict`, `fit` and the calculator enter it themselves.
    """

    Settings: ClassVar[type]
    """The record of its hyper-parameters; its first field is `kind`."""
    settings: eqx.AbstractVar[Any]

    @abc.abstractmethod
    def __call__(self, graph: Graph) -> Energies:
        """Energy of each atom beyond `reference_energy`, in eV unless stated otherwise.

        If `is_local`, that of an atom must not depend on atoms beyond `interaction_range`: stacks
        of configurations are then computed as one graph.
        """

    @abc.abstractmethod
    def reference_energy(self, numbers: Numbers) -> float:
        """Energy in eV of the isolated atoms: too large a number for float32."""

    def reference_energies(self, numbers: Int[AnyArray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """`reference_energy` of every atom alone; zero where there is none."""
        elements, places = np.unique(numbers, return_inverse=True)
        alone = np.array([self.reference_energy(np.array([z])) for z in elements])
        return alone[places].reshape(np.shape(numbers))

    @property
    @abc.abstractmethod
    def cutoff(self) -> float | None:
        """Radius in Å beyond which neighbours are not seen; None for a potential of a molecule
        as a whole, infinite if all other atoms are neighbours."""

    @property
    @abc.abstractmethod
    def interaction_range(self) -> float | None:
        """How far an atom can feel another, in Å: the cutoff times the interactions. None as in
        `cutoff`."""

    @property
    def is_local(self) -> bool:
        """Whether `interaction_range` is finite."""
        reach = self.interaction_range
        return reach is not None and math.isfinite(reach)

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
    def check(self, numbers: Numbers) -> None:
        """Raise InputError unless the potential can describe these atoms."""

    def config(self) -> dict[str, Any]:
        """`kind` and arguments from which `build` makes a potential of this structure."""
        return {name: _plain(value) for name, value in asdict(self.settings).items()} | {
            name: _plain(getattr(self, name)) for name in nested(type(self))
        }

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: arrays of numpy, since JAX reads its own in single precision."""
        return vars(jax.tree.map(np.asarray, self))


def nested(kind: type[AbstractPotential]) -> tuple[str, ...]:
    """The arguments of a constructor that are other potentials."""
    return tuple(name for name in inspect.signature(kind).parameters if name not in OWN)


OWN = ("settings", "key")
"""The arguments of a constructor that are no potentials."""


def _plain(value: Any) -> Any:
    """As JSON and TOML hold it."""
    if isinstance(value, AbstractPotential):
        return value.config()
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


class AbstractSinglePotential(AbstractPotential):
    """A potential that is no mean of others."""

    @property
    def members(self) -> tuple[AbstractPotential, ...]:
        return (self,)

    @property
    def calibration(self) -> Mapping[str, float]:
        return {}


class AbstractGlobalPotential(AbstractSinglePotential):
    """A potential of a molecule as a whole: its atoms share the energy equally."""

    @abc.abstractmethod
    def total(self, graph: Graph) -> Float[Array, ""]:
        """The energy of all atoms."""

    def __call__(self, graph: Graph) -> Energies:
        n_atoms = len(graph.numbers)
        return jnp.full(n_atoms, self.total(graph) / n_atoms)

    def reference_energy(self, numbers: Numbers) -> float:
        return 0.0

    @property
    def cutoff(self) -> float | None:
        return None

    @property
    def interaction_range(self) -> float | None:
        return None


class FrozenDict(dict[str, float]):
    """Numbers by name, as a setting that can be hashed; not to be changed."""

    def __hash__(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return hash(frozenset(self.items()))


@dataclass(frozen=True, kw_only=True)
class ScaleShiftSettings:
    """Settings of `ScaleShift`.

    Args:
        scale: unit of the dimensionless potential in eV.
        reference_energies: energy in eV of an isolated atom of each element, by chemical symbol.

    Raises:
        InputError: the scale is not positive, an element is unknown, an energy not finite.
    """

    kind: str = "scale_shift"
    scale: float
    reference_energies: Mapping[str, float]

    def __post_init__(self):
        check_positive("scale", self.scale)
        energies = FrozenDict()
        for symbol, energy in self.reference_energies.items():
            check_known("Element", symbol, chemical_symbols[1:])
            check_finite(f"reference_energies.{symbol}", energy)
            energies[symbol] = float(energy)
        object.__setattr__(self, "reference_energies", energies)


class ScaleShift(AbstractSinglePotential):
    r"""$E_i = s\,u_i + e_{z_i}$: a dimensionless potential $u$, of order one, scaled and shifted.

    The scale $s$ and the reference energies $e_z$ are constants of the model, not weights.
    """

    Settings: ClassVar = ScaleShiftSettings
    potential: AbstractPotential
    settings: ScaleShiftSettings = eqx.field(static=True)

    def __init__(self, potential: AbstractPotential, settings: ScaleShiftSettings):
        """
        Args:
            potential: any potential.
            settings: the hyper-parameters.
        """
        self.potential, self.settings = potential, settings

    def __call__(self, graph: Graph) -> Energies:
        return self.settings.scale * self.potential(graph)

    def reference_energy(self, numbers: Numbers) -> float:
        energies = self.settings.reference_energies
        isolated = sum(energies[chemical_symbols[z]] for z in numbers if z)
        return isolated + self.settings.scale * self.potential.reference_energy(numbers)

    @property
    def cutoff(self) -> float | None:
        return self.potential.cutoff

    @property
    def interaction_range(self) -> float | None:
        return self.potential.interaction_range

    def check(self, numbers: Numbers) -> None:
        self.potential.check(numbers)
        known = self.settings.reference_energies
        absent = {chemical_symbols[z] for z in numbers} - known.keys()
        if absent:
            raise InputError(
                f"the model has no reference energy for {_listed(absent)}; "
                f"it knows {_listed(known)}."
            )


@dataclass(frozen=True, kw_only=True)
class SumSettings:
    """Settings of `Sum`: it has none of its own."""

    kind: str = "sum"


class Sum(AbstractSinglePotential):
    r"""$E_i = \sum_k E_{k,i}$ of several potentials."""

    Settings: ClassVar = SumSettings
    potentials: tuple[AbstractPotential, ...]
    settings: SumSettings = eqx.field(static=True)

    def __init__(
        self, potentials: Sequence[AbstractPotential], settings: SumSettings = SumSettings()
    ):
        """
        Args:
            potentials: what is added; at least one.
            settings: the hyper-parameters, of which there are none.
        """
        self.potentials, self.settings = tuple(potentials), settings

    def __call__(self, graph: Graph) -> Energies:
        first, *rest = (potential(graph) for potential in self.potentials)
        return sum(rest, start=first)

    def reference_energy(self, numbers: Numbers) -> float:
        return sum(potential.reference_energy(numbers) for potential in self.potentials)

    @property
    def cutoff(self) -> float | None:
        cutoffs = [p.cutoff for p in self.potentials if p.cutoff is not None]
        return max(cutoffs, default=None)

    @property
    def interaction_range(self) -> float | None:
        ranges = [p.interaction_range for p in self.potentials]
        return None if None in ranges else max(r for r in ranges if r is not None)

    def check(self, numbers: Numbers) -> None:
        for potential in self.potentials:
            potential.check(numbers)


def _listed(symbols: Iterable[str]) -> str:
    return ", ".join(sorted(symbols, key=atomic_numbers.__getitem__))
