"""From a config to a potential: the one dictionary of kinds."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import ase
import jax
import jax.numpy as jnp
import numpy as np
from ase.data import chemical_symbols
from jaxtyping import PRNGKeyArray

from .._checks import InputError, check_known, typed
from ..atoms.data.dataset import labels
from ..atoms.reference import fit_reference, per_element
from .classical import Classical
from .design import DESIGNS
from .ensemble import Ensemble
from .fragments import Fragments
from .generic import Generic
from .hybrid import Hybrid
from .local import Local
from .molecule import Molecule
from .potential import AbstractPotential, ScaleShift, Sum
from .predict import enable_x64, predict
from .triplets import CartesianTriplets, RadialTriplets

POTENTIALS: dict[str, Callable[..., AbstractPotential]] = {
    "scale_shift": ScaleShift,
    "sum": Sum,
    "ensemble": Ensemble,
    "generic": Generic,
    "fragments": Fragments,
    "hybrid": Hybrid,
    "local": Local,
    "classical": Classical,
    "cartesian_triplets": CartesianTriplets,
    "radial_triplets": RadialTriplets,
    **{kind: partial(Molecule, kind) for kind in DESIGNS},
}


def build(config: Mapping[str, Any], key: PRNGKeyArray) -> AbstractPotential:
    """Make the potential that `config` describes; the inverse of `AbstractPotential.config`.

    Args:
        config: `kind` and the arguments of its constructor; potentials in it are configs too.
        key: of random initial weights.

    Raises:
        InputError: the kind or an argument is unknown or missing.
    """
    constructor, kind, arguments = _constructor(config)
    parameters = inspect.signature(constructor).parameters
    for name in arguments:
        check_known(f"Model `{kind}`: argument", name, [p for p in parameters if p != "key"])
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and name not in {*arguments, "key"}
    ]
    if missing:
        raise InputError(f"Model `{kind}`: argument `{missing[0]}` is missing.")
    built = {
        name: typed(
            name, _build_nested(value, jax.random.fold_in(key, n)), parameters[name].annotation
        )
        for n, (name, value) in enumerate(arguments.items())
    }
    return constructor(**built, **({"key": key} if "key" in parameters else {}))


def with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config with the default of every argument that it does not give, spelled out."""
    constructor, _, _ = _constructor(config)
    parameters = inspect.signature(constructor).parameters.items()
    return dict(config) | {
        name: parameter.default
        for name, parameter in parameters
        if parameter.default is not parameter.empty and name not in config
    }


def build_for(
    frames: Sequence[ase.Atoms], config: Mapping[str, Any], *, seed: int, dtype: str = "float64"
) -> ScaleShift:
    """Make the potential that `config` describes, scaled and referenced to training frames.

    Args:
        frames: labelled frames of the training part.
        config: a dimensionless potential, see `build`.
        seed: of random initial weights.
        dtype: precision of the weights, and of all that is computed with them.

    Raises:
        InputError: as `build`; all energies of the frames are equal; or it is an ensemble.
    """
    reference = fit_reference(frames)
    with enable_x64(True):
        core = build(config, jax.random.key(seed))
        core = jax.tree.map(lambda weights: jnp.asarray(weights, dtype), core)
    if isinstance(core, Ensemble):
        raise InputError("Model `ensemble`: is of trained potentials; to train one set `members`.")
    energies = {chemical_symbols[z]: energy for z, energy in reference.energies.items()}
    return ScaleShift(core, reference.scale, energies)


def build_ensemble_for(
    frames: Sequence[ase.Atoms],
    config: Mapping[str, Any],
    *,
    members: int,
    seed: int,
    dtype: str = "float64",
) -> Ensemble:
    """Make `members` potentials that start as those that `build_for` makes of `seed`, `seed` + 1, …

    Raises:
        InputError: as `build_for`; or there are too few members.
    """
    return Ensemble([build_for(frames, config, seed=seed + n, dtype=dtype) for n in range(members)])


def referenced_to(potential: ScaleShift, frames: Sequence[ase.Atoms]) -> ScaleShift:
    """The potential with reference energies moved to labelled frames: where fine-tuning starts.

    The differences of energies and predictions are shared out among the elements, as
    `fit_reference` does with energies.

    Raises:
        InputError: the potential cannot describe a frame.
    """
    predictions = predict(potential, frames)
    off = [labels(a)["energy"] - p.energy for a, p in zip(frames, predictions, strict=True)]
    moved = per_element(frames, np.array(off)).energies
    energies = {chemical_symbols[z]: e + moved.get(z, 0.0) for z, e in potential.references}
    return ScaleShift(potential.potential, potential.scale, energies)


def _constructor(
    config: Mapping[str, Any],
) -> tuple[Callable[..., AbstractPotential], str, dict[str, Any]]:
    """The constructor that a config names, its kind and its arguments."""
    arguments = dict(config)
    kind = arguments.pop("kind", None)
    if not isinstance(kind, str):
        raise InputError(f"`kind` is missing; known: {', '.join(sorted(POTENTIALS))}.")
    check_known("Model kind", kind, POTENTIALS)
    return POTENTIALS[kind], kind, arguments


def _build_nested(value: Any, key: PRNGKeyArray) -> Any:
    if isinstance(value, Mapping) and "kind" in value:
        return build(value, key)
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        return [_build_nested(item, jax.random.fold_in(key, n)) for n, item in enumerate(value)]
    return value
