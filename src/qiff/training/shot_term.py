"""The term of the loss with `shot_weight`: errors of forces that are measured with few shots."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import InputError
from ..atoms.frames import Frames
from ..model.potential import AbstractPotential
from ..model.shot_cost import ShotCost, shot_cost
from .settings import Training


@dataclass(frozen=True)
class ShotTerm:
    r"""$w\,\langle \epsilon^2 \rangle$ with the mean square $\epsilon^2$ of standard errors.

    On several devices each computes all of it.

    Args:
        cost: of the configurations.
        weight: $w$, `shot_weight` of `Training`.
        n_drawn: `shot_circuits` of `Training`.
    """

    cost: ShotCost
    weight: float
    n_drawn: int

    def __call__(
        self, potential: AbstractPotential, frames: Frames, key: PRNGKeyArray
    ) -> Float[Array, ""]:
        """An unbiased estimate for a single potential, from circuits that are drawn by a key."""
        return self.weight * self._squares(potential, frames, key).mean()

    def sums(
        self, potential: AbstractPotential, frames: Frames, key: PRNGKeyArray
    ) -> Float[Array, "2"]:
        """The sum over labelled frames, the mean over members, and the number of these frames."""
        labels = [jnp.asarray(values).reshape(len(frames), -1) for values in frames.labels.values()]
        is_real = jnp.any(~jnp.isnan(jnp.concatenate(labels, 1)), 1)
        found = [self._squares(member, frames, key) for member in potential.members]
        mean = jnp.stack(found).mean(0)
        return jnp.stack([self.weight * mean.sum(where=is_real), is_real.sum()])

    def _squares(
        self, potential: AbstractPotential, frames: Frames, key: PRNGKeyArray
    ) -> Float[Array, " n_frames"]:
        one = lambda graph, key: self.cost.mean_square(potential, graph, key, self.n_drawn)
        return jax.vmap(one)(frames.graph, jax.random.split(key, len(frames)))


def shot_term(potential: AbstractPotential, frames: Frames, training: Training) -> ShotTerm | None:
    """The term for potentials of one structure; None without `shot_weight`.

    Raises:
        InputError: the circuits of the potential cannot be sent, or the frames differ in atoms.
    """
    if not training.shot_weight:
        return None
    numbers = np.asarray(frames.graph.numbers)
    if other := np.flatnonzero((numbers != numbers[0]).any(1)).tolist():
        raise InputError(
            f"`shot_weight` needs frames of the same atoms, but those of frames 0 and {other[0]} "
            "for training differ; set it to 0."
        )
    first = jax.tree.map(lambda values: np.asarray(values)[0], frames.graph)
    cost = shot_cost(potential.members[0], first)
    return ShotTerm(cost, training.shot_weight, training.shot_circuits)
