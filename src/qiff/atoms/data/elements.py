"""Names of atoms in files: symbols, atomic numbers and isotopes."""

import re
from typing import NamedTuple

import numpy as np
from ase.data import atomic_masses, atomic_numbers, chemical_symbols

ISOTOPES: dict[str, tuple[str, float]] = {
    "D": ("H", 2.01410177811),
    "2H": ("H", 2.01410177811),
    "T": ("H", 3.01604927790),
    "3H": ("H", 3.01604927790),
    "6Li": ("Li", 6.01512288742),
    "10B": ("B", 10.012936862),
    "13C": ("C", 13.00335483534),
    "14C": ("C", 14.00324198842),
    "15N": ("N", 15.00010889894),
    "17O": ("O", 16.99913175651),
    "18O": ("O", 17.99915961287),
}
"""Element and mass in u of isotopes by the names that files have (AME2016, IUPAC)."""


class Element(NamedTuple):
    """What a name in a file stands for; the mass in u is NaN unless it is an isotope."""

    symbol: str
    mass: float = np.nan

    @property
    def number(self) -> int:
        return atomic_numbers[self.symbol]


def element(name: str) -> Element | None:
    """The element of a symbol in any case, an isotope or an atomic number; None if it is none."""
    if name.isdigit():
        known = 0 < int(name) < len(chemical_symbols)
        return Element(chemical_symbols[int(name)]) if known else None
    cased = re.sub(r"[A-Za-z]+", lambda letters: letters[0].capitalize(), name)
    if cased in ISOTOPES:
        return Element(*ISOTOPES[cased])
    return Element(cased) if cased in chemical_symbols[1:] else None


def masses(elements: list[Element]) -> np.ndarray | None:
    """Masses in u of atoms; None unless one is an isotope."""
    found = np.array([one.mass for one in elements])
    common = atomic_masses[[one.number for one in elements]]
    return None if np.isnan(found).all() else np.where(np.isnan(found), common, found)
