"""From a config to a potential: the one dictionary of kinds."""

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import ase
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from ase.data import chemical_symbols
from jaxtyping import PRNGKeyArray

from .._checks import InputError, check_known
from .._records import dotted, from_table
from ..atoms.properties import labels
from ..atoms.reference import fit_reference, per_element
from ..quantum.circuit import is_circuit
from ..quantum.engine import choose
from .classical import Classical
from .design import DESIGNS
from .ensemble import Ensemble
from .fragments import Fragments
from .generic import Generic
from .hybrid import Hybrid
from .local import Local
from .molecule import Molecule
from .pairs import Pairs
from .potential import AbstractPotential, ScaleShift, ScaleShiftSettings, Sum, nested
from .predict import enable_x64, predict
from .triplets import CartesianTriplets, RadialTriplets

MOST_POTENTIALS, MOST_WEIGHTS = 100, 10**7
"""Of one model: so that its structure is made in seconds, and a training of it has 1 GB at most."""

POTENTIALS: dict[str, type[AbstractPotential]] = {
    "scale_shift": ScaleShift,
    "sum": Sum,
    "ensemble": Ensemble,
    "generic": Generic,
    "fragments": Fragments,
    "hybrid": Hybrid,
    "local": Local,
    "classical": Classical,
    "pairs": Pairs,
    "cartesian_triplets": CartesianTriplets,
    "radial_triplets": RadialTriplets,
    **dict.fromkeys(DESIGNS, Molecule),
}


def build(config: Mapping[str, Any], key: PRNGKeyArray) -> AbstractPotential:
    """Make the potential that `config` describes; the inverse of `AbstractPotential.config`.

    Args:
        config: the settings of the potential, of which `kind` is one, and configs of the
            potentials that it is made of.
        key: of random initial weights.

    Returns:
        The potential, with random weights.

    Raises:
        InputError: the kind or an argument is unknown, missing or wrong.
    """
    kind, settings, parts = _split(config)
    built = {
        name: _build_all(name, part, jax.random.fold_in(key, n))
        for n, (name, part) in enumerate(parts.items())
    }
    make: Any = kind
    takes_key = "key" in inspect.signature(make).parameters
    return make(**built, settings=settings, **({"key": key} if takes_key else {}))


def skeleton(config: Mapping[str, Any]) -> AbstractPotential:
    """The structure that `config` describes, with shapes in place of weights: nothing is computed.

    Raises:
        InputError: as `build`; or it is of too many potentials or weights.
    """
    if _count(config) > MOST_POTENTIALS:
        raise InputError(f"A model must be of at most {MOST_POTENTIALS} potentials, but has more.")
    with enable_x64(True):
        found = eqx.filter_eval_shape(lambda: build(config, jax.random.key(0)))
    n_weights = sum(leaf.size for leaf in jax.tree.leaves(found))
    if n_weights > MOST_WEIGHTS:
        raise InputError(
            f"A model must have at most {MOST_WEIGHTS} weights, but would have {n_weights}; choose "
            "smaller sizes."
        )
    return found


def _count(config: Any) -> int:
    """Number of potentials that a config describes."""
    found, left = 0, [config]
    while left:
        node = left.pop()
        if isinstance(node, Mapping):
            found += "kind" in node
            left += node.values()
        elif isinstance(node, (list, tuple)):
            left += node
    return found


def check_engines(config: Mapping[str, Any]) -> None:
    """Raise InputError unless every circuit that `config` describes can be simulated here."""
    for node in jax.tree.leaves(skeleton(config), is_leaf=is_circuit):
        if is_circuit(node):
            choose(node.engine, node.program)


def with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config with the default of every argument that it does not give, spelled out."""
    _, settings, _ = _split(config)
    return {**dataclasses.asdict(settings), **config}


def _split(
    config: Mapping[str, Any],
) -> tuple[type[AbstractPotential], Any, dict[str, Any]]:
    """The class of a config, its settings, and the configs of its parts."""
    name = config.get("kind") if isinstance(config, Mapping) else None
    if not isinstance(name, str):
        raise InputError(f"`kind` is missing; known: {', '.join(sorted(POTENTIALS))}.")
    check_known("Model kind", name, POTENTIALS)
    kind = POTENTIALS[name]
    fields = [field.name for field in dataclasses.fields(kind.Settings)]
    for argument in config:
        check_known(f"Model `{name}`: argument", argument, [*fields, *nested(kind)])
    for part in nested(kind):
        if part not in config:
            raise InputError(f"Model `{name}`: argument `{part}` is missing.")
    own = {argument: value for argument, value in config.items() if argument in fields}
    words = lambda path: f"Model `{name}`" + (f": argument {dotted(path)}" if path else "")
    settings = from_table(kind.Settings, own, words)
    return kind, settings, {part: config[part] for part in nested(kind)}


def _build_all(name: str, part: Any, key: PRNGKeyArray) -> Any:
    """The potential of a config, or those of a list of configs."""
    if isinstance(part, Mapping):
        return build(part, key)
    if not isinstance(part, (list, tuple)):
        raise InputError(f"`{name}` must be a model or a list of models, but is {part!r}.")
    return [_build_all(name, item, jax.random.fold_in(key, n)) for n, item in enumerate(part)]


def build_for(
    frames: Sequence[ase.Atoms],
    config: Mapping[str, Any],
    *,
    seed: int,
    dtype: str = "float64",
    isolated: Mapping[int, float] = MappingProxyType({}),
) -> ScaleShift:
    """Make the potential that `config` describes, with scale and shift fitted to frames.

    Args:
        frames: labelled frames of the training part.
        config: a dimensionless potential, see `build`.
        seed: of random initial weights.
        dtype: precision of the weights, and of all that is computed with them.
        isolated: energies of isolated atoms, see `fit_reference`.

    Returns:
        The potential in eV, with random weights.

    Raises:
        InputError: as `build`; all energies of the frames are equal; or it is an ensemble.
    """
    reference = fit_reference(frames, isolated)
    with enable_x64(True):
        core = build(config, jax.random.key(seed))
        core = jax.tree.map(lambda weights: jnp.asarray(weights, dtype), core)
    if core.calibration:
        raise InputError("Model `ensemble`: is of trained potentials; to train one set `members`.")
    energies = {chemical_symbols[z]: energy for z, energy in reference.energies.items()}
    return ScaleShift(core, ScaleShiftSettings(scale=reference.scale, reference_energies=energies))


def build_ensemble_for(
    frames: Sequence[ase.Atoms],
    config: Mapping[str, Any],
    *,
    members: int,
    seed: int,
    dtype: str = "float64",
    isolated: Mapping[int, float] = MappingProxyType({}),
) -> Ensemble:
    """Make `members` potentials with the initial weights of seeds `seed`, `seed` + 1, …

    Args:
        frames: labelled frames of the training part.
        config: a dimensionless potential, see `build`.
        members: how many potentials, at least two.
        seed: of the random initial weights of the first member.
        dtype: precision of the weights, and of all that is computed with them.
        isolated: energies of isolated atoms, see `fit_reference`.

    Returns:
        The ensemble in eV, with random weights and no calibration.

    Raises:
        InputError: as `build_for`; or there are too few members.
    """
    settings: Any = {"dtype": dtype, "isolated": isolated}
    return Ensemble([build_for(frames, config, seed=seed + n, **settings) for n in range(members)])


N_REFERENCE = 2000
"""Frames at most that the reference energies of a model are fitted to."""


def with_references_of(
    potential: AbstractPotential, frames: Sequence[ase.Atoms]
) -> AbstractPotential:
    """The potential with its reference energies fitted to frames with energies, to fine-tune it.

    The differences of energies and predictions are distributed among the elements, as
    `fit_reference` does with energies; of many frames, of `N_REFERENCE` at equal distances. The
    members of an ensemble share them.

    Args:
        potential: a `ScaleShift`, or an ensemble of them.
        frames: labelled.

    Raises:
        InputError: the potential cannot describe a frame.
    """
    frames = [atoms for atoms in frames if "energy" in labels(atoms)]
    frames = frames[:: -(-len(frames) // N_REFERENCE) or 1]
    predictions = predict(potential, frames)
    off = [labels(a)["energy"] - p.energy for a, p in zip(frames, predictions, strict=True)]
    moved = per_element(frames, np.array(off)).energies
    members = [_moved(member, moved) for member in potential.members]
    return Ensemble(members) if len(members) > 1 else members[0]


def _moved(potential: Any, by: Mapping[int, float]) -> ScaleShift:
    """A `ScaleShift` with other reference energies, by atomic number in eV."""
    energies = {
        symbol: energy + by.get(chemical_symbols.index(symbol), 0.0)
        for symbol, energy in potential.settings.reference_energies.items()
    }
    settings = dataclasses.replace(potential.settings, reference_energies=energies)
    return ScaleShift(potential.potential, settings)
