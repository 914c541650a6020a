"""What a data set holds, what is read of it and what is not, in lines of text."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ase
import numpy as np

from .._files import read_record
from ..atoms.data.dataset import columns, file_hash, find_label, labelled, read_raw, units_of
from ..atoms.data.formats import locate
from ..atoms.data.plausible import implausible
from ..atoms.data.source import RawFrames, Source
from ..atoms.data.split import equal_frames
from ..atoms.data.units import declared
from ..atoms.frames import WEIGHTS
from ..atoms.graph import cell_of
from ..atoms.neighbours import pairs_within
from ..atoms.properties import PROPERTIES, Property, labels
from ..atoms.reference import is_isolated_atom
from ..training.comparison import has_free_constant

_SHOWN = 8  # formulas, at most
_FAR = 1e4  # Å; no pair of atoms is looked for beyond it


def data_lines(source: Source) -> dict[str, Any]:
    """What a data set holds, the names of its labels, what is not read or plausible, its hash."""
    raw = read_raw(source)
    frames = labelled(raw, source)
    roles = _roles(raw, frames, source)
    formulas = Counter(atoms.get_chemical_formula() for atoms in frames).most_common()
    shown = [f"{formula} × {n}" for formula, n in formulas[:_SHOWN]]
    rest = [f"{len(formulas) - _SHOWN} others"] if len(formulas) > _SHOWN else []
    nearest = min(map(closest_pair, frames))
    lines: dict[str, Any] = {
        "frames": len(frames),
        "molecules": ", ".join(shown + rest),
        "closest pair": f"{nearest:.3f} Å" if np.isfinite(nearest) else "none",
        "units": _listed(_units(atoms, raw, source) for atoms in raw.frames),
        "cells": f"{n} frames" if (n := sum(bool(a.pbc.any()) for a in frames)) else "none",
    }
    for key, one in PROPERTIES.items():
        values = [np.ravel(labels(atoms)[key]) for atoms in frames if key in labels(atoms)]
        if values:
            size = _size(one, np.concatenate(values))
            lines[key] = f"{size} ({len(values)} frames), from {_names(roles[f'read {key}'])}"
        elif not one.needs_cell:
            lines[key] = "no label"
    for role in ("weights", "not used", "could be read", "kept"):
        if roles[role]:
            lines[role] = _names(roles[role])
    if raw.ignored:
        lines["not read"] = ", ".join(f"`{name}`" for name in raw.ignored)
    if isolated := [a.get_chemical_formula() for a in frames if is_isolated_atom(a)]:
        lines["isolated atoms"] = f"{', '.join(isolated)}: their energies are reference energies"
    if kinds := Counter(type(c).__name__ for atoms in frames for c in atoms.constraints):
        lines["constraints"] = f"{_names(kinds)}: no part of the labels; dynamics hold `FixAtoms`"
    if same := equal_frames(frames):
        lines["equal frames"] = f"{sum(map(len, same)) - len(same)} are copies of others"
    for number, text in enumerate(implausible(frames, units_of(raw.frames[0], raw, source))):
        lines["implausible" + f" {number + 1}" * (number > 0)] = text
    lines["sha256"] = file_hash(source.path)
    record = read_record(locate(source.path).with_suffix(".json"))
    return lines | {name: _in_words(value) for name, value in record.items() if name != "units"}


def _in_words(value: Any) -> Any:
    """Counts by their names, if a value of a record has any."""
    if not isinstance(value, Mapping):
        return value
    return ", ".join(f"{name}: {count}" for name, count in value.items())


def closest_pair(atoms: ase.Atoms) -> float:
    """The shortest distance of two atoms, or of an atom and an image, in Å; infinite without."""
    cutoff, shortest = 1.0, np.inf
    while not np.isfinite(shortest) and cutoff < _FAR and (len(atoms) > 1 or atoms.pbc.any()):
        pairs = pairs_within(cutoff, atoms.positions, cell_of(atoms), atoms.pbc)
        shortest, cutoff = pairs.distances.min(initial=np.inf), 2 * cutoff
    return float(shortest)


def _roles(raw: RawFrames, frames: Sequence[ase.Atoms], source: Source) -> dict[str, Counter[str]]:
    """How many frames have each column, by what becomes of it."""
    roles = {f"read {key}": Counter[str]() for key in PROPERTIES}
    roles |= {role: Counter[str]() for role in ("weights", "not used", "could be read", "kept")}
    weights = {*WEIGHTS, *(name for one in PROPERTIES.values() for name in one.weight_names)}
    for atoms, found in zip(raw.frames, frames, strict=True):
        named = {key: find_label(atoms, one, source.key_of(one)) for key, one in PROPERTIES.items()}
        plain = {"numbers", "positions", *filter(declared, atoms.info)}
        for name in columns(atoms).keys() - plain:
            key = next((key for key, label in named.items() if label == name), "")
            if key and key in labels(found):
                roles[f"read {key}"][raw.names.get(name, name)] += 1
            elif key:
                roles["not used"][f"{name} (no cell)"] += 1
            elif other := next((k for k, one in PROPERTIES.items() if name in one.names()), ""):
                instead = named[other]
                roles["not used"][f"{name} (`{instead}` is read)" if instead else name] += 1
            elif name in weights:
                roles["weights"][name] += 1
            elif like := _likely(name, atoms):
                roles["could be read"][f"{name} (--{like}-key {name})"] += 1
            else:
                roles["kept"][name] += 1
    return roles


def _likely(name: str, atoms: ase.Atoms) -> str:
    """The property that a column of another name may be, by name and shape; empty for none."""
    for key, one in PROPERTIES.items():
        try:
            shape = one.standardised(np.asarray(columns(atoms)[name], float)).shape
        except (TypeError, ValueError):
            return ""
        if re.search(one.words, name.lower()) and shape == one.full_shape(len(atoms)):
            return key
    return ""


def _units(atoms: ase.Atoms, raw: RawFrames, source: Source) -> str:
    units = units_of(atoms, raw, source)
    return ", ".join(f"{kind} {unit}" for kind, unit in units.items() if unit)


def _listed(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(texts))


def _names(counts: Counter[str]) -> str:
    """Names and how many frames have each."""
    shown = lambda name: f"`{name}`" if " " not in name else f"`{name.replace(' ', '` ', 1)}"
    return ", ".join(f"{shown(name)} × {n}" for name, n in sorted(counts.items()))


def _size(one: Property, values: np.ndarray) -> str:
    """The range of a property defined up to a constant, or the root mean square of another."""
    if has_free_constant(one.key):
        return f"{values.min():.3f} to {values.max():.3f} {one.unit}"
    return f"{np.sqrt(np.mean(values**2)):.3g} {one.unit} root mean square"
