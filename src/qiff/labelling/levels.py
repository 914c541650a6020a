"""Levels of theory by name, a registry of engines.

| name | engine |
|---|---|
| `gfn1`, `gfn2` | tblite |
| `METHOD/BASIS`, such as `pbe0/def2-svp` | PySCF |
| `MODULE:CLASS`, such as `ase.calculators.emt:EMT` | a calculator of ASE |
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from .._checks import InputError
from .engines import ase, pyscf, tblite
from .level import Level


class Engine(NamedTuple):
    """A program that computes labels.

    Args:
        form: how its levels are named, in words.
        pattern: what their names match.
        level: the level of a name and settings.
    """

    form: str
    pattern: str
    level: Callable[[str, Mapping[str, Any]], Level]


ENGINES: dict[str, Engine] = {
    "tblite": Engine("gfn1 or gfn2", r"(?i:gfn[12])", tblite.level),
    "PySCF": Engine("METHOD/BASIS, such as pbe0/def2-svp", r"[^/]+/[^/]+", pyscf.level),
    "ASE": Engine("MODULE:CLASS of a calculator", r"[^:/]+:[^:/]+", ase.level),
}


def find_level(name: str, settings: Mapping[str, Any] = MappingProxyType({})) -> Level:
    """The level of theory of a name.

    Args:
        name: `gfn1` or `gfn2` (tblite), `METHOD/BASIS` such as `pbe0/def2-svp` (PySCF), or
            `MODULE:CLASS` of a calculator of ASE.
        settings: of the engine, such as `charge`; arguments of the class of a calculator.

    Raises:
        InputError: the name or a setting is not known.
        MissingExtraError: the program is not installed.
    """
    for engine in ENGINES.values():
        if re.fullmatch(engine.pattern, name):
            return engine.level(name, settings)
    forms = "; ".join(f"{engine.form} ({program})" for program, engine in ENGINES.items())
    raise InputError(f"Level `{name}` is not known; known: {forms}.")
