"""Older model files: what has been renamed since, one step for each format number."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

Arrays = dict[str, np.ndarray]


class Migration(NamedTuple):
    """From one format to the next.

    Args:
        kinds: renamed kinds of potentials.
        arguments: renamed arguments, by the kind of potential.
        paths: renamed parts of the paths of arrays, regular expressions and what replaces them.
        arrays: other changes of the arrays, given the model of the header.
    """

    kinds: Mapping[str, str]
    arguments: Mapping[str, Mapping[str, str]]
    paths: Mapping[str, str]
    arrays: Callable[[Mapping[str, Any], Arrays], Arrays]


def migrated(number: int, model: Any, arrays: Arrays) -> tuple[Any, Arrays]:
    """The model of a header and the arrays of a file of format `number`, in the present format."""
    for step in range(number, FORMAT):
        change = MIGRATIONS[step]
        arrays = change.arrays(model, arrays)
        arrays = {_renamed(path, change.paths): array for path, array in arrays.items()}
        model = _renamed_model(model, change)
    return model, arrays


def _renamed(path: str, paths: Mapping[str, str]) -> str:
    for pattern, replacement in paths.items():
        path = re.sub(pattern, replacement, path)
    return path


def _renamed_model(node: Any, change: Migration) -> Any:
    """A config, and the configs in it, with the new names."""
    if isinstance(node, list):
        return [_renamed_model(item, change) for item in node]
    if not (isinstance(node, dict) and "kind" in node):
        return node
    names = change.arguments.get(node["kind"], {})
    renamed = {names.get(name, name): value for name, value in node.items()}
    nested = {name: _renamed_model(value, change) for name, value in renamed.items()}
    return nested | {"kind": change.kinds.get(node["kind"], node["kind"])}


def _vector_readouts(model: Mapping[str, Any], arrays: Arrays) -> Arrays:
    """In 0.1.0 the read-out of a molecule was a single number, without an axis."""
    if _kinds(model) - {"scaled", "sum", "diatomic", "triatomic"}:
        return arrays
    return {
        path: np.atleast_1d(array) if path.endswith("readout") else array
        for path, array in arrays.items()
    }


def _kinds(node: Any) -> set[str]:
    """Every kind in a config."""
    if isinstance(node, list):
        return set().union(*map(_kinds, node))
    if not isinstance(node, dict):
        return set()
    return {str(node["kind"])} | _kinds(list(node.values())) if "kind" in node else set()


_NO_CHANGE = Migration({}, {}, {}, lambda model, arrays: arrays)

MIGRATIONS: dict[int, Migration] = {
    1: Migration(
        kinds={
            "scaled": "scale_shift",
            "original": "cartesian_triplets",
            "revised": "radial_triplets",
        },
        arguments={
            "local": {
                "n_rounds": "n_interactions",
                "n_copies": "n_circuits",
                "n_kinds": "n_embedding",
            },
            "scaled": {"references": "reference_energies"},
            "classical": {"n_rounds": "n_interactions", "n_kinds": "n_embedding"},
            "fragments": {"cutoff": "pair_cutoff"},
        },
        paths={
            r"\brounds\.rounds\.(\d+)\.measured$": r"message_passing.interactions.\1.projections",
            r"\brounds\.rounds\.(\d+)\.scalars$": r"message_passing.interactions.\1.channels.0",
            r"\brounds\.rounds\.(\d+)\.vectors$": r"message_passing.interactions.\1.channels.1",
            r"\brounds\.rounds\.(\d+)\.quadrupoles$": r"message_passing.interactions.\1.channels.2",
            r"\brounds\.rounds\b": "message_passing.interactions",
            r"\brounds\b": "message_passing",
            r"^members\b": "stacked",
        },
        arrays=_vector_readouts,
    ),
    2: _NO_CHANGE,  # of models; without a checksum
    3: _NO_CHANGE,  # states of optimisers were trees
    4: _NO_CHANGE,  # states of Muon had moments of Adam for matrices too
}

FORMAT = 1 + max(MIGRATIONS)
"""Number of the format that is written."""
