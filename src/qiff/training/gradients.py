"""Estimators of the gradient of the loss, a registry."""

from collections.abc import Callable
from typing import Protocol

import jax
from jaxtyping import Array, Float, PRNGKeyArray

from ..model.potential import AbstractPotential

LossAndGradient = tuple[Float[Array, ""], AbstractPotential]
"""The loss, and its gradient as a potential whose arrays are the derivatives."""

LossOfPotential = Callable[[AbstractPotential], Float[Array, ""]]


class GradientEstimator(Protocol):
    """From a loss to its value and gradient.

    Args:
        loss: a function of the potential.
        potential: where the gradient is taken.
        key: of random numbers.
        perturbation: size of finite changes of the weights.
    """

    def __call__(
        self,
        loss: LossOfPotential,
        potential: AbstractPotential,
        key: PRNGKeyArray,
        perturbation: float,
    ) -> LossAndGradient:
        """The loss and its gradient."""
        ...


def derivative(
    loss: LossOfPotential, potential: AbstractPotential, key: PRNGKeyArray, perturbation: float
) -> LossAndGradient:
    """By automatic differentiation; the engine decides how circuits are differentiated."""
    return jax.value_and_grad(loss)(potential)


def spsa(
    loss: LossOfPotential, potential: AbstractPotential, key: PRNGKeyArray, perturbation: float
) -> LossAndGradient:
    r"""Simultaneous perturbation: two values of the loss, however many weights there are.

    $$ g = \frac{L(w + c\Delta) - L(w - c\Delta)}{2c}\, \Delta, \qquad \Delta_i = \pm 1 $$

    Unbiased up to $O(c^2)$; the loss returned is the mean of the two.

    Reference: Spall, IEEE Trans. Autom. Control 37, 332 (1992).
    """
    leaves, structure = jax.tree.flatten(potential)
    keys = jax.random.split(key, len(leaves))
    signs = [jax.random.rademacher(k, w.shape, w.dtype) for k, w in zip(keys, leaves, strict=True)]
    direction = jax.tree.unflatten(structure, signs)
    ahead, behind = (
        loss(jax.tree.map(lambda w, s: w + c * s, potential, direction))  # noqa: B023
        for c in (perturbation, -perturbation)
    )
    slope = (ahead - behind) / (2 * perturbation)
    return (ahead + behind) / 2, jax.tree.map(lambda s: slope * s, direction)


GRADIENTS: dict[str, GradientEstimator] = {"derivative": derivative, "spsa": spsa}
