"""Any calculator of ASE by its import path, such as `ase.calculators.emt:EMT`.

A calculator is built once in each thread that labels. One that writes files does so in a temporary
folder, so that several at a time do not overwrite each other's.
"""

import inspect
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import get_ident
from typing import Any

import ase
from ase.calculators.calculator import (
    BaseCalculator,
    FileIOCalculator,
    PropertyNotImplementedError,
)
from ase.calculators.genericfileio import GenericFileIOCalculator

from ..._checks import InputError, check_known
from ...atoms.graph import has_volume
from ..level import LabelError, Level, Results, results_of


@dataclass(frozen=True)
class Calculated:
    """Energy, forces and, where there is a cell, the stress that a calculator gives.

    The energy is the one that the forces are derivatives of (`free_energy`, if there is one).

    Args:
        path: `MODULE:CLASS`, or a function that returns a calculator.
        settings: arguments of the class, as JSON.
    """

    path: str
    settings: str

    def __call__(self, atoms: ase.Atoms) -> Results:
        try:
            return results_of(self.path, self._results, atoms)
        except LabelError:
            _calculator.cache_clear()  # a calculator that failed may be left in any state
            raise

    def _results(self, atoms: ase.Atoms) -> Results:
        with TemporaryDirectory(prefix="qiff-") as folder:
            calculator = _calculator(self.path, self.settings, get_ident())
            if isinstance(calculator, (FileIOCalculator, GenericFileIOCalculator)):
                calculator.directory = Path(folder)
            copy = atoms.copy()
            copy.calc = calculator
            energy = copy.get_potential_energy(apply_constraint=False)
            results = {
                "energy": float(calculator.results.get("free_energy", energy)),
                "forces": copy.get_forces(apply_constraint=False),
            }
            if has_volume(atoms):
                with suppress(PropertyNotImplementedError):
                    results["stress"] = copy.get_stress(apply_constraint=False)
        return results


def level(name: str, settings: Mapping[str, Any]) -> Level:
    """The level `MODULE:CLASS`.

    Raises:
        InputError: there is no such class, or it does not take the settings.
    """
    try:
        text = json.dumps(dict(settings), sort_keys=True)
    except TypeError as error:
        raise InputError(f"{name}: settings must be such as TOML has: {error}.") from None
    _build(name, text)
    label = Calculated(name, text)
    return Level(name, label, _Program(name), dict(settings))


@dataclass(frozen=True)
class _Program:
    """Name and version of the package that a calculator is from."""

    path: str

    def __call__(self) -> str:
        package = self.path.partition(":")[0].partition(".")[0]
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            names = packages_distributions().get(package, ())
            return f"{names[0]} {version(names[0])}" if names else f"{package}, no version"


@lru_cache(maxsize=16)
def _calculator(path: str, settings: str, thread: int) -> BaseCalculator:
    """The calculator of a thread."""
    del thread
    return _build(path, settings)


def _build(path: str, settings: str) -> BaseCalculator:
    module_name, _, name = path.partition(":")
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise InputError(f"Level `{path}`: the module is not found: {error}.") from None
    except ValueError:
        raise InputError(f"Level `{path}`: must be MODULE:CLASS.") from None
    found = {key: value for key, value in vars(module).items() if callable(value)}
    classes = [key for key, value in found.items() if _is_class_of(module_name, value)]
    check_known(f"Level `{path}`: class", name, found if name in found else classes or found)
    try:
        calculator = found[name](**json.loads(settings))
    except Exception as error:
        raise InputError(
            f"Level `{path}`: cannot be built with {settings}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(calculator, BaseCalculator):
        raise InputError(f"Level `{path}`: is no calculator of ASE, but {type(calculator)}.")
    return calculator


def _is_class_of(module: str, value: Any) -> bool:
    """Whether something is the class of a calculator, from a module or below it."""
    calculators = inspect.isclass(value) and issubclass(value, BaseCalculator)
    return calculators and value.__module__.startswith(module)
