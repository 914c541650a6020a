"""Elements and the order of atoms: a model has its own order, whatever that of the file."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from ase.symbols import Symbols

from .._checks import InputError, check_known
from .._types import Numbers, Positions
from ..atoms.graph import Graph


def sorted_positions(graph: Graph, elements: Sequence[str]) -> Positions:
    """Positions sorted by element, alike atoms in the order of the graph.

    As products and sums, without sort and gather, which would cost more than the circuit.

    Args:
        graph: one configuration.
        elements: chemical symbols of its atoms, alike ones side by side.
    """
    rank = np.zeros(len(chemical_symbols), np.int32)
    for place, symbol in reversed(list(enumerate(elements))):
        rank[atomic_numbers[symbol]] = len(elements) * place
    atoms = np.arange(len(elements))
    key = jnp.asarray(rank)[jnp.asarray(graph.numbers)] + atoms
    place = (key < key[:, None]).sum(1)
    return (
        jnp.where(place == atoms[:, None], 1, 0)[:, :, None] * jnp.asarray(graph.positions)
    ).sum(1)


def check_elements(numbers: Numbers, elements: Sequence[str]) -> None:
    """Raise InputError unless the atoms are these elements, in any order."""
    expected = [atomic_numbers[symbol] for symbol in elements]
    if sorted(numbers) != sorted(expected):
        raise InputError(
            f"the model describes {_formula(expected)} ({len(expected)} atoms), "
            f"but the structure is {_formula(numbers)} ({len(numbers)} atoms): "
            "use a model trained for it."
        )


def check_listed(numbers: Numbers, elements: Sequence[str]) -> None:
    """Raise InputError unless every atom is of one of these elements."""
    absent = {chemical_symbols[z] for z in numbers} - set(elements)
    if absent:
        raise InputError(
            f"the model describes {', '.join(elements)}, "
            f"but the structure has {', '.join(sorted(absent))}: use a model trained for it."
        )


def check_distinct(elements: Sequence[str]) -> None:
    """Raise InputError unless these are one or more chemical symbols, all different."""
    check_symbols(elements)
    if len(set(elements)) < len(elements) or not elements:
        raise InputError(f"`elements` must be different, but are {list(elements)}.")


def check_symbols(elements: Sequence[str], n_atoms: int | None = None) -> None:
    """Raise InputError unless these are chemical symbols, and `n_atoms` of them if given."""
    known = chemical_symbols[1:]
    if n_atoms is None and len(elements) > len(known):
        raise InputError(
            f"`elements` must be at most {len(known)} symbols, but are {len(elements)}."
        )
    if n_atoms is not None and len(elements) != n_atoms:
        raise InputError(f"`elements` must be {n_atoms} symbols, but are {list(elements)[:20]}.")
    for symbol in elements:
        check_known("Element", symbol, known)


def once_first(elements: Sequence[str]) -> tuple[str, ...]:
    """The elements, the first that occurs once in front.

    Raises:
        InputError: a symbol is unknown, or every one occurs more than once.
    """
    check_symbols(elements)
    once = [symbol for symbol in elements if list(elements).count(symbol) == 1]
    if not once:
        raise InputError(
            f"`elements` must have one that occurs once, the origin, but are {list(elements)}."
        )
    rest = list(elements)
    rest.remove(once[0])
    return (once[0], *rest)


def _formula(numbers: Sequence[int] | Numbers) -> str:
    return Symbols(numbers).get_chemical_formula()
