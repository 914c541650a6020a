"""The loss: weighted mean squared errors of the properties that are learned."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ase.data import chemical_symbols
from jaxtyping import Array, Bool, Float

from .._checks import InputError, check_at_least, check_known
from .._types import AnyArray
from ..atoms.frames import Frames
from ..atoms.graph import Graph
from ..atoms.properties import PROPERTIES
from ..model.density import one_hot
from ..model.derivatives import derivatives, energy
from ..model.potential import AbstractPotential
from .comparison import PER_ATOM, has_free_constant
from .parallel import Total, over_devices


@dataclass(frozen=True, eq=False)
class Loss:
    r"""$L = \sum_p w_p\,\langle (p - \hat p)^2 \rangle$ over properties $p$: energy, forces, …

    The mean is over all components of a batch, of all its atoms, and every square is multiplied
    by the weight of its configuration; labels that are NaN are left out. A property of weight zero
    is not computed; without the energy it is learned up to a constant.

    With `huber` $\delta$ the square of each component $e$ is Huber's function instead: $e^2$ up to
    $\sqrt{w_p}\,|e| = \delta$, and linear with the same slope beyond. Configurations that fit badly
    count less then: mean absolute errors get smaller, and root mean squares larger.

    With `fit_references` energies are compared beyond the reference energies $e_z$ that fit the
    batch best. With $n_{kz}$ atoms of element $z$ in configuration $k$, $n_k$ in all, these are

    $$ \arg\min_e\ \sum_k \Big(\frac{\hat E_k - E_k - \sum_z n_{kz} e_z}{n_k}\Big)^2
       + \lambda \sum_z e_z^2, \qquad \lambda = 0.01. $$

    A step of an optimiser moves the energies of all atoms of an element together; what it is off
    by does not enter the gradient then.

    Args:
        weights: $w_p$ by key of `PROPERTIES`, in the inverse square of the unit of the property;
            zero for those left out.
        per_atom: whether errors of properties of a whole configuration with a free constant, that
            is of the energy, are divided by its number of atoms.
        huber: $\delta$, without a unit; 0 for squares throughout.
        fit_references: whether reference energies are fitted to the frames of each batch; of use
            where batches have many more frames than elements.

    Raises:
        InputError: a property is unknown, a number is negative, or all weights are zero; or, when
            called, a property with a weight has no labels or, without a cell, cannot be predicted.

    Reference: Le et al. 2023, Sec. III.3; P. J. Huber, Ann. Math. Stat. 35, 73 (1964).
    """

    weights: Mapping[str, float]
    per_atom: bool = False
    huber: float = 0.0
    fit_references: bool = False

    def __post_init__(self):
        for key, weight in self.weights.items():
            check_known("Property", key, PROPERTIES)
            check_at_least(f"{key}_weight", weight, 0)
        check_at_least("huber", self.huber, 0)
        if not self.learned:
            names = ", ".join(f"`{key}_weight`" for key in PROPERTIES)
            raise InputError(f"{names} must not all be 0.")

    @property
    def learned(self) -> tuple[str, ...]:
        """Keys of the properties with a weight, in the order of `PROPERTIES`."""
        return tuple(key for key in PROPERTIES if self.weights.get(key))

    def __call__(self, potential: AbstractPotential, frames: Frames) -> Float[Array, ""]:
        """The loss that training lowers; energies of the frames are `relative` to the potential."""
        return over_devices(self._squares)(potential, frames)

    def _squares(
        self, potential: AbstractPotential, frames: Frames, total: Total
    ) -> Float[Array, ""]:
        found = self._errors(potential, frames, total)
        return self._sum(
            {
                key: _mean(own * self._square(key, error), real, total)
                for key, (error, real, own) in found.items()
            }
        )

    def _square(self, key: str, error: Float[Array, "..."]) -> Float[Array, "..."]:
        """Of errors of a property, or what takes its place with `huber`."""
        if not self.huber:
            return error**2
        weight = self.weights[key]
        return 2 * optax.losses.huber_loss(weight**0.5 * error, delta=self.huber) / weight

    def sums(self, potential: AbstractPotential, frames: Frames) -> dict[str, Float[Array, " 4"]]:
        """What `validation` is made from, by property; those of parts of the frames can be added.

        Sums over components: absolute errors times the weight of the configuration, absolute
        errors, squared errors, and the number of components.
        """
        return over_devices(self._sums)(potential, frames)

    def _sums(
        self, potential: AbstractPotential, frames: Frames, total: Total
    ) -> dict[str, Float[Array, " 4"]]:
        found = {}
        for key, (error, real, own) in self._errors(potential, frames, total).items():
            terms = own * jnp.abs(error), jnp.abs(error), error**2, jnp.ones_like(error)
            sums = [jnp.sum(term, where=jnp.broadcast_to(real, term.shape)) for term in terms]
            found[key] = total(jnp.stack(sums))
        return found

    def validation(
        self, sums: Mapping[str, Float[AnyArray, " 4"]]
    ) -> tuple[float, dict[str, float]]:
        """The same of squared mean absolute errors, what validations are compared by, and errors.

        A mean square over a small validation part is decided by its one or two worst frames. The
        errors are mean absolute and root mean square ones by the names that `metrics.errors` gives
        them, without the weights of configurations.

        Args:
            sums: over all frames, see `sums`.
        """
        loss, errors = 0.0, {}
        for key in self.learned:
            *found, n = np.asarray(sums[key], float)
            weighted, absolute, squared = (float(value / max(n, 1)) for value in found)
            name = key + PER_ATOM * (self.per_atom and has_free_constant(key))
            loss += self.weights[key] * weighted**2
            errors |= {f"{name}_mae": absolute, f"{name}_rmse": squared**0.5}
        return loss, errors

    def _sum(self, terms: Mapping[str, Float[Array, ""]]) -> Float[Array, ""]:
        first, *others = (self.weights[key] * terms[key] for key in self.learned)
        return sum(others, start=first)

    def _errors(
        self, potential: AbstractPotential, frames: Frames, total: Total
    ) -> dict[str, tuple[Array, Bool[Array, "..."], Array]]:
        """By property: errors, which of them are real, and the weight of each configuration."""
        labels = frames.labels
        for key in self.learned:
            if key not in labels:
                raise InputError(
                    f"`frames` must have {key} to learn from, but have none; label them or set "
                    f"`{key}_weight` to 0."
                )
        found = _predicted(potential, frames.graph, self.learned)
        if absent := [key for key in self.learned if key not in found]:
            raise InputError(f"`{absent[0]}_weight` must be 0: without a cell it is not predicted.")
        errors = {}
        for key in self.learned:
            label = jnp.asarray(labels[key], found[key].dtype)
            real = ~jnp.isnan(label) & _real(key, frames.graph)
            error = jnp.where(real, found[key] - label, 0)
            own = jnp.ones((), error.dtype)
            if key in frames.weights:
                own = _beside(jnp.asarray(frames.weights[key], error.dtype), error.ndim)
            if self.fit_references and has_free_constant(key):
                elements = jnp.where(real[:, None], _compositions(frames.graph), 0)
                error -= _of_references(error, own, elements, total)
            if self.per_atom and has_free_constant(key):
                error /= (jnp.asarray(frames.graph.numbers) > 0).sum(-1)
            errors[key] = error, real, own
        return errors


def _compositions(graph: Graph) -> Float[Array, "n_frames n_elements"]:
    """Atoms of each element in each frame."""
    every = tuple(chemical_symbols[1:])
    return jax.vmap(lambda one: one_hot(one, every).sum(0))(graph)


def _of_references(
    energies: Float[Array, " n_frames"],
    weights: Float[Array, "..."],
    elements: Float[Array, "n_frames n_elements"],
    total: Total,
) -> Float[Array, " n_frames"]:
    """What the reference energies that fit energies of frames best give each of them."""
    n_atoms = jnp.maximum(elements.sum(-1), 1)
    shares = elements / n_atoms[:, None]
    weighted = shares * jnp.broadcast_to(weights, energies.shape)[:, None]
    ridge = _RIDGE * jnp.eye(elements.shape[-1], dtype=elements.dtype)
    normal, right = total(weighted.T @ shares), total(weighted.T @ (energies / n_atoms))
    found = jax.scipy.linalg.solve(normal + ridge, right, assume_a="pos")
    return jax.lax.stop_gradient(elements @ found)


_RIDGE = 0.01
"""The square of an error of a frame, over that of an error of a reference energy."""


def relative(frames: Frames, potential: AbstractPotential) -> Frames:
    """Frames with energies beyond `reference_energy` of a potential: small enough for float32."""
    isolated = potential.reference_energies(np.asarray(frames.graph.numbers)).sum(-1)
    energies = np.asarray(frames.labels["energy"]) - isolated
    return Frames(frames.graph, {**frames.labels, "energy": energies}, frames.weights)


def _predicted(
    potential: AbstractPotential, graph: Graph, keys: Collection[str]
) -> dict[str, Float[Array, "..."]]:
    """Properties of every configuration; derivatives of the energy only if they are asked for."""
    if set(keys) == {"energy"}:
        return {"energy": energy(potential, graph)}
    return derivatives(potential, graph).properties()


def _real(key: str, graph: Graph) -> Bool[Array, "..."]:
    """Which values of a stack are of real atoms: all, if the property is not one of atoms."""
    one = PROPERTIES[key]
    real = jnp.asarray(graph.numbers) > 0
    if not one.per_atom:
        real = real.any(-1)
    return jnp.expand_dims(real, tuple(range(-len(one.shape), 0)))


def _mean(values: Array, real: Bool[Array, "..."], total: Total) -> Float[Array, ""]:
    """The mean over the real ones of all devices; zero if there are none."""
    real = jnp.broadcast_to(real, values.shape)
    return total(jnp.sum(values, where=real)) / jnp.maximum(total(real.sum()), 1)


def _beside(values: Array, n_axes: int) -> Array:
    """Values of each configuration, with as many axes."""
    return values.reshape(-1, *[1] * (n_axes - 1))
