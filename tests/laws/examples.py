"""One or more examples of every registered component: the laws run over all of them.

A component that is registered and has no example here fails `test_every_component_has_a_law`.
"""

from dataclasses import dataclass

import ase
import jax
import jax.numpy as jnp
import numpy as np

from qiff.model.build import POTENTIALS, build
from qiff.model.predict import enable_x64
from qiff.quantum.ansatz import ANSATZE, CommonRz, Exchange, Sequence
from qiff.quantum.encoding import ENCODINGS, Spin
from qiff.quantum.observable import OBSERVABLES, pair_exchange
from qiff.quantum.symmetry import GROUPS, Permutations, Product, Rotations

CHAIN = ((0, 1), (2, 3), (1, 2))

ROTATIONS = Rotations(2)
SWAP = Permutations(("H", "H"))
WATER = Product((ROTATIONS, SWAP))
CYCLE = Permutations(("H", "H", "H"))

GROUP_EXAMPLES = {"rotations": [ROTATIONS], "permutations": [SWAP, CYCLE], "product": [WATER]}
"""Groups that the components below respect."""

ENCODING_EXAMPLES = {"spin": [Spin(WATER, 4)]}
ANSATZ_EXAMPLES = {
    "exchange": [Exchange(WATER, 4, CHAIN), Exchange(ROTATIONS, 4, CHAIN)],
    "common_rz": [CommonRz(4)],
    "sequence": [Sequence((Exchange(WATER, 4, CHAIN), Exchange(WATER, 4, CHAIN)))],
}
OBSERVABLE_EXAMPLES = {"pair_exchange": [pair_exchange((0, 1), 4), pair_exchange((2, 3), 4)]}

TRIATOMIC = {"kind": "triatomic", "elements": ["O", "H", "H"], "n_layers": 3, "n_repeats": 2}
DIATOMIC = {"kind": "diatomic", "elements": ["Li", "H"], "n_layers": 3, "n_repeats": 2}
REFERENCES = {"O": -2040.0, "H": -15.0, "Li": -200.0}


@dataclass(frozen=True)
class Example:
    """A potential, the molecule it describes and the symmetries it claims."""

    name: str
    config: dict
    molecule: ase.Atoms
    rotations: bool = True
    swaps: tuple[tuple[int, int], ...] = ((1, 2),)

    def fresh(self):
        """The potential as it starts."""
        with enable_x64(True):
            return build(self.config, jax.random.key(7))

    def random(self):
        """The potential with large random weights."""
        with enable_x64(True):
            potential = self.fresh()
            leaves, structure = jax.tree.flatten(potential)
            rng = np.random.default_rng(3)
            return jax.tree.unflatten(
                structure, [jnp.asarray(rng.normal(size=leaf.shape)) for leaf in leaves]
            )


def _bent(symbols: str) -> ase.Atoms:
    return ase.Atoms(symbols, [[0.31, -0.12, 0.45], [1.22, 0.14, 0.31], [0.05, 0.83, 0.72]])


OHH, LIH = _bent("OHH"), ase.Atoms("LiH", [[0.1, 0.2, -0.3], [0.7, 1.3, 0.4]])

POTENTIAL_EXAMPLES = {
    "diatomic": [
        Example("lithium hydride", DIATOMIC, LIH, swaps=()),
        Example("hydrogen", DIATOMIC | {"elements": ["H", "H"]}, _bent("HHH")[:2], swaps=((0, 1),)),
    ],
    "triatomic": [
        Example("water", TRIATOMIC, OHH),
        Example(
            "hydrogen cyanide", TRIATOMIC | {"elements": ["C", "H", "N"]}, _bent("CHN"), swaps=()
        ),
        Example("broken water", TRIATOMIC | {"symmetry_breaking": True}, OHH, rotations=False),
    ],
    "scaled": [
        Example(
            "scaled water",
            {"kind": "scaled", "potential": TRIATOMIC, "scale": 1.7, "references": REFERENCES},
            OHH,
        )
    ],
    "sum": [Example("sum", {"kind": "sum", "potentials": [TRIATOMIC, TRIATOMIC]}, OHH)],
}

REGISTRIES = {
    "groups": (GROUPS, GROUP_EXAMPLES),
    "encodings": (ENCODINGS, ENCODING_EXAMPLES),
    "ansätze": (ANSATZE, ANSATZ_EXAMPLES),
    "observables": (OBSERVABLES, OBSERVABLE_EXAMPLES),
    "potentials": (POTENTIALS, POTENTIAL_EXAMPLES),
}


def every(examples: dict[str, list]) -> list:
    """All examples of a registry."""
    return [example for several in examples.values() for example in several]
