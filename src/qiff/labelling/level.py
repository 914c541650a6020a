"""A level of theory: from a structure to its energy, forces and stress, or the reason why not."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from .._checks import InputError, RunError

Results = Mapping[str, Any]
"""Results of a calculation under the names, units and signs of ASE, such as `energy` in eV."""

Labeller = Callable[[ase.Atoms], Results]
"""Computes the results of one structure."""


class LabelError(RunError):
    """A structure without labels, for instance because its mean field did not converge."""


def _nothing(atoms: ase.Atoms) -> None:
    """Any structure will do."""


@dataclass(frozen=True)
class Level:
    """A level of theory; can be sent to other processes.

    Args:
        description: method, basis set and how the forces are computed; part of the provenance.
        label: computes the results of one structure; a function of a module or an instance of a
            dataclass, so that it can be pickled. Raises `LabelError` if the calculation fails.
        program: name and version of the program that computes them.
        settings: what else was given; part of the provenance.
        check: raises `InputError` for a structure that the level cannot describe.
    """

    description: str
    label: Labeller
    program: Callable[[], str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    check: Callable[[ase.Atoms], None] = _nothing

    def provenance(self) -> dict[str, Any]:
        """Level of theory, program with its version, settings."""
        settings = {"settings": dict(self.settings)} if self.settings else {}
        return {"level": self.description, "program": self.program(), **settings}


def given(record: Any, *names: str) -> dict[str, Any]:
    """The settings of a dataclass that are not None, without those of some names."""
    found = asdict(record)
    return {k: v for k, v in found.items() if v is not None and k not in names}


def label_one(label: Labeller, item: tuple[Any, ase.Atoms]) -> tuple[Any, ase.Atoms]:
    """A key and its structure with results; runs where `Map` sends it."""
    index, atoms = item
    found = atoms.copy()
    found.calc = SinglePointCalculator(found, **label(atoms))
    return index, found


def results_of(program: str, compute: Labeller, atoms: ase.Atoms) -> Results:
    """The results of a program for a structure.

    Raises:
        LabelError: the program failed, with its reason, or a number is not finite.
    """
    if not np.all(np.isfinite(atoms.positions)):
        raise LabelError("the positions are not finite.")
    try:
        results = compute(atoms)
    except (LabelError, InputError):
        raise
    except Exception as error:
        raise LabelError(f"{program}: {type(error).__name__}: {error}") from error
    for name, values in results.items():
        if not np.all(np.isfinite(values)):
            raise LabelError(f"{program}: `{name}` is not finite.")
    return results


def electrons(
    atoms: ase.Atoms, charge: int | None = None, multiplicity: int | None = None
) -> tuple[int, int]:
    """Charge in e and number of unpaired electrons of a structure.

    Args:
        atoms: may have `charge` and `multiplicity` in `info`.
        charge: in e; if not given that of the structure, else 0.
        multiplicity: 2S + 1; if not given that of the structure, else the lowest.

    Raises:
        InputError: they do not fit the number of electrons.
    """
    if charge is None:
        charge = _whole(atoms, "charge", 0)
    count = int(atoms.numbers.sum()) - charge
    if count < 1:
        raise InputError(f"`charge` {charge} leaves {count} electrons; correct it.")
    if multiplicity is None:
        multiplicity = _whole(atoms, "multiplicity", 1 + count % 2)
    unpaired = multiplicity - 1
    if not 0 <= unpaired <= count or (count - unpaired) % 2:
        possible = ", ".join(str(1 + n) for n in range(count % 2, min(count, 5) + 1, 2))
        raise InputError(
            f"`multiplicity` {multiplicity} does not fit {count} electrons (charge {charge}); "
            f"it may be {possible}."
        )
    return charge, unpaired


def _whole(atoms: ase.Atoms, name: str, default: int) -> int:
    """A whole number that a structure has in its `info`."""
    value = atoms.info.get(name, default)
    try:
        whole = int(value)
    except (TypeError, ValueError, OverflowError):
        whole = None
    if whole is None or whole != value:
        raise InputError(f"`{name}` of a structure must be a whole number, but is {value!r}.")
    return whole
