"""Units of data files: those that can be named, and those that a file declares in its own words."""

import re
from functools import cache

import ase.units

from ..._checks import InputError

ENERGY_UNITS: dict[str, float] = {
    "eV": 1.0,
    "meV": 1e-3,
    "Hartree": ase.units.Hartree,
    "Rydberg": ase.units.Rydberg,
    "kcal/mol": ase.units.kcal / ase.units.mol,
    "kJ/mol": ase.units.kJ / ase.units.mol,
}
LENGTH_UNITS: dict[str, float] = {
    "Angstrom": 1.0,
    "Ang": 1.0,
    "Bohr": ase.units.Bohr,
    "nm": ase.units.nm,
}
PRESSURE_UNITS: dict[str, float] = {
    "GPa": ase.units.GPa,
    "kbar": 1e8 * ase.units.Pascal,
    "bar": ase.units.bar,
}
"""Of stresses, beside energies over volumes."""

_SPELLINGS = {
    "Hartree": ("ha", "eh", "hartrees", "au", "a.u."),
    "Rydberg": ("ry",),
    "Angstrom": ("a", "å", "angstroms"),
    "Bohr": ("a0", "bohrs", "au", "a.u."),
}
"""Other spellings in files, in lower case."""


def _lower(units: dict[str, float]) -> dict[str, float]:
    """Units by every spelling, in lower case."""
    others = {word: units[name] for name in units for word in _SPELLINGS.get(name, ())}
    return {name.lower(): size for name, size in units.items()} | others


@cache
def size_of(unit: str, length_power: int, place: str) -> float:
    """A unit in eV times Å to a power, or in Å for the power of 1.

    Args:
        unit: as a file or an option has it, such as `hartree/bohr`, `eV/Å^3` or `GPa`.
        length_power: 1 for lengths; of labels see `Property.length_power`.
        place: begins the message of an error.

    Raises:
        InputError: it is not known.
    """
    text = re.sub(r"[\s()*]", "", unit.lower()).replace("³", "^3").replace("ang^", "angstrom^")
    energies, lengths = _lower(ENERGY_UNITS), _lower(LENGTH_UNITS)
    if length_power == 1:
        known, found = LENGTH_UNITS, lengths.get(text)
    elif length_power == 0:
        known, found = ENERGY_UNITS, energies.get(text)
    else:
        power = f"^{-length_power}" if length_power < -1 else ""
        known = {f"{e}/{name}{power}": 0.0 for e in ENERGY_UNITS for name in ("Angstrom", "Bohr")}
        known |= PRESSURE_UNITS if length_power == -3 else {}
        energy, _, length = text.rpartition("/")
        length = re.sub(r"\^?3$", "", length) if power else length
        found = _lower(PRESSURE_UNITS).get(text) if length_power == -3 else None
        if energy in energies and length in lengths:
            found = energies[energy] * lengths[length] ** length_power
    if found is None:
        raise InputError(f"{place} `{unit}` is not known; known: {', '.join(known)}.")
    return found


DECLARED = {
    "energy": r"(ref_)?(total_)?energ(y|ies)",
    "forces": r"(ref_)?forces?",
    "stress": r"(ref_)?stress",
    "virial": r"(ref_)?virials?",
    "length": r"lengths?|positions?|pos|coords?|coordinates?|cell|lattice",
}
"""What the name of a unit in a file is of, such as `energy-unit` or `forces_units`: a pattern."""


def declared(name: str) -> str:
    """The key of `DECLARED` of the unit that a file declares under this name; empty for others."""
    match = re.fullmatch(r"(.+?)[-_ ]?units?", name.lower())
    found = (key for key, words in DECLARED.items() if match and re.fullmatch(words, match[1]))
    return next(found, "")
